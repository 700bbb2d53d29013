// `fovea quantize`: a smaller model, and the receipt.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "commands/common.h"
#include "fovea/gguf.h"

namespace fovea::cli {

namespace {

// Whether the type is one of blocks, which GGUF files hold and folders do not.
bool IsOfBlocks(const std::string& type) { return type == "q8_0" || type == "q4_0"; }

std::vector<TensorError> Written(const Arguments& arguments) {
  const bool is_file = arguments.output.ends_with(".gguf");
  if (IsOfBlocks(arguments.type) != is_file) {
    throw Error(ErrorCode::kInvalidArgument, is_file ? "a GGUF file holds q8_0 or q4_0, not " + arguments.type
                                                     : "the type " + arguments.type +
                                                           " is written as a file; hint: name it " +
                                                           Printable(arguments.output) + ".gguf");
  }
  if (is_file) return QuantizeGguf(arguments.model, arguments.output, arguments.type);
  return LoadModel(arguments).Quantize(arguments.output, arguments.type);
}

}  // namespace

Exit Quantize(const Arguments& arguments, Console& console) {
  const std::vector<TensorError> errors = Written(arguments);
  const TensorError* worst = nullptr;
  int64_t count = 0;
  for (const TensorError& error : errors) {
    if (arguments.json) console.Json({{"tensor", error.tensor}, {"type", error.type}, {"error", error.error}});
    if (error.type != arguments.type) continue;
    ++count;
    if (worst == nullptr || error.error > worst->error) worst = &error;
  }
  if (arguments.json) return ExitFor(0, console);
  std::error_code ignored;
  const std::string file = arguments.output + (IsOfBlocks(arguments.type) ? "" : "/model.safetensors");
  console.Line(Printable(arguments.output) + ": " + Count(count) + " of " + Count(static_cast<int64_t>(errors.size())) +
               " tensors as " + arguments.type + ", " +
               Bytes(static_cast<int64_t>(std::filesystem::file_size(file, ignored))));
  if (worst != nullptr) {
    char share[32];
    std::snprintf(share, sizeof share, "%.2g", worst->error);
    console.Line("largest error " + std::string(share) + " of the norm, in " + Printable(worst->tensor));
  }
  return ExitFor(0, console);
}

}  // namespace fovea::cli
