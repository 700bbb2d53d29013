// `fovea quantize`: a smaller model, and the receipt.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "commands/common.h"

namespace fovea::cli {

Exit Quantize(const Arguments& arguments, Console& console) {
  const Model model = LoadModel(arguments);
  const std::vector<TensorError> errors = model.Quantize(arguments.output, arguments.type);
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
  const auto size = [&](const std::string& folder) {
    return static_cast<int64_t>(std::filesystem::file_size(folder + "/model.safetensors", ignored));
  };
  console.Line(Printable(arguments.output) + ": " + Count(count) + " of " + Count(static_cast<int64_t>(errors.size())) +
               " tensors as " + arguments.type + ", " + Bytes(size(arguments.output)));
  if (worst != nullptr) {
    char share[32];
    std::snprintf(share, sizeof share, "%.2g", worst->error);
    console.Line("largest error " + std::string(share) + " of the norm, in " + Printable(worst->tensor));
  }
  return ExitFor(0, console);
}

}  // namespace fovea::cli
