// The one exception type of Fovea.
//
// Everything that can go wrong because of the caller, a file or the machine is reported as `fovea::Error`, thrown where
// the fault is found and caught at the edges: one input of a batch, one file of an index job, one request, main. No
// other exception leaves the library; none is used for control flow.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace fovea {

// What kind of fault it is. A program decides by the code; a person reads the message.
enum class ErrorCode {
  kInvalidArgument,    // the caller passed something that cannot work (shapes, ranges, options)
  kNotFound,           // a file, model, tensor or key does not exist
  kCorruptData,        // bytes that break their own format: truncated, overlapping, out of range
  kUnimplemented,      // well formed, but Fovea does not support it; never run wrongly instead
  kResourceExhausted,  // larger than a limit (pixels, bytes, nesting), checked before anything is allocated
  kIo,                 // the operating system refused: permissions, disk full, broken pipe
  kCancelled,          // stopped on request
  kInternal,           // a bug in Fovea
};

// Name of a code as it is printed and sent in JSON, e.g. "corrupt_data".
std::string_view ErrorCodeName(ErrorCode code);

class Error : public std::exception {
 public:
  // `message` reads "[who] expected X, got Y", optionally followed by "; hint: ...".
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
};

}  // namespace fovea
