// Reading integers and pieces out of untrusted bytes: every step is checked against the end, every error names the
// file.
//
// Also the one place that decides whether a tensor may point into the file (aligned, and somebody owns the bytes) or
// must be copied.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tensor/tensor.h"

namespace fovea::formats {

static_assert(std::endian::native == std::endian::little,
              "the formats of this room are little endian and read in place");

// The little-endian integer or float at `data`, which may have any alignment.
template <typename T>
T LoadLittle(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

inline std::string_view AsText(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Walks forward through bytes. Errors are kCorruptData and read "[who] SOURCE is cut short: ...".
class ByteCursor {
 public:
  // `who` and `source` must outlive the cursor; `source` is printable.
  ByteCursor(std::span<const uint8_t> bytes, const char* who, const std::string& source, size_t at = 0)
      : bytes_(bytes), who_(who), source_(source), at_(at) {
    RequireData(at <= bytes.size(), "[", who, "] ", source, " is cut short: expected data at byte ", at, ", got only ",
                bytes.size());
  }

  size_t at() const { return at_; }
  size_t remaining() const { return bytes_.size() - at_; }

  std::span<const uint8_t> Take(uint64_t count) {
    RequireData(count <= remaining(), "[", who_, "] ", source_, " is cut short: expected ", count, " bytes at byte ",
                at_, ", got only ", remaining());
    const auto piece = bytes_.subspan(at_, count);
    at_ += count;
    return piece;
  }
  std::string_view TakeText(uint64_t count) { return AsText(Take(count)); }

  // The text up to the next line feed, which is taken too.
  std::string_view TakeLine() {
    const auto rest = bytes_.subspan(at_);
    const auto end = std::find(rest.begin(), rest.end(), '\n');
    RequireData(end != rest.end(), "[", who_, "] ", source_, " is cut short: expected a line at byte ", at_);
    const std::string_view line = TakeText(static_cast<uint64_t>(end - rest.begin()));
    ++at_;
    return line;
  }

  template <typename T>
  T Read() {
    return LoadLittle<T>(Take(sizeof(T)).data());
  }

 private:
  std::span<const uint8_t> bytes_;
  const char* who_;
  const std::string& source_;
  size_t at_;
};

// A contiguous tensor over `bytes` (exactly shape.numel() items): borrowed when aligned for its type and `owner` is
// given, else copied. Booleans other than 0 and 1 are refused, since reading one as a C++ bool is undefined; errors
// start with "[who] WHAT".
Tensor TensorFromBytes(std::span<const uint8_t> bytes, const Shape& shape, DType dtype,
                       const std::shared_ptr<const void>& owner, const char* who, std::string_view what);

// Refuses, as kCorruptData, bytes other than 0 and 1 in a boolean tensor; nothing for other types.
void CheckBooleans(std::span<const uint8_t> bytes, DType dtype, const char* who, std::string_view what);

// The shape of `dims` when it has at most 8 dimensions, none negative, and at most 2^48 elements; else kCorruptData.
Shape CheckedShape(std::span<const int64_t> dims, const char* who, std::string_view what);

}  // namespace fovea::formats
