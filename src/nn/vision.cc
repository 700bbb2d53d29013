#include "nn/vision.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/resize.h"
#include "ops/shape.h"
#include "tensor/tape.h"

namespace fovea::nn {

int64_t LabelCount(const base::Config& config, int64_t otherwise) {
  int64_t count = otherwise;
  config.Read("num_labels", count, 1, 1e6);
  if (config.Has("id2label")) count = static_cast<int64_t>(config.Object("id2label").Keys().size());
  Require(count >= 1 && count <= 1'000'000, "[config] ", config.source(),
          ": expected id2label with 1 to 1000000 classes, got ", count);
  return count;
}

int64_t ClassCount(const base::Config& config, std::string_view who, const Architectures& architectures) {
  const auto names = config.Get<std::vector<std::string>>("architectures", {});
  if (names.empty()) return config.Has("id2label") || config.Has("num_labels") ? LabelCount(config, 2) : 0;
  if (names[0] == architectures.backbone) return 0;
  if (names[0] == architectures.classifier) return LabelCount(config, 2);
  Fail(ErrorCode::kUnimplemented, "[", who, "] ", config.source(), ": architecture ", base::PrintableUtf8(names[0]),
       " is not supported; expected ", architectures.backbone, " or ", architectures.classifier);
}

std::array<int64_t, 2> ReadSides(const base::Config& config, std::string_view key, int64_t fallback, int64_t high) {
  std::vector<int64_t> sides = {fallback, fallback};
  const auto limit = static_cast<double>(high);
  if (config.Has(key) && !config.json().at(std::string(key)).is_array()) {
    config.Read(key, fallback, 1, limit);
    return {fallback, fallback};
  }
  config.Read(key, sides, 1, limit);
  Require(sides.size() == 2, "[config] ", config.source(), ": expected ", key, " with 1 or 2 numbers, got ",
          sides.size());
  return {sides[0], sides[1]};
}

int64_t ReadSquare(const base::Config& config, std::string_view who, std::string_view key, int64_t fallback,
                   int64_t high) {
  const auto [height, width] = ReadSides(config, key, fallback, high);
  if (height != width) {
    Fail(ErrorCode::kUnimplemented, "[", who, "] ", config.source(), ": ", key, " ", height, "x", width,
         " is not supported; expected a square");
  }
  return height;
}

Tensor ResizePositions(const Tensor& positions, std::array<int64_t, 2> from, std::array<int64_t, 2> to) {
  const auto [one, T, D] = positions.Dims<3>("positions");
  Require(T == 1 + from[0] * from[1], "[positions] expected 1 + ", from[0], " x ", from[1], " of them, got ",
          positions.shape());
  if (from == to) return positions;
  const Tensor grid = Reshape(Slice(positions, 1, 1, T), {one, from[0], from[1], D});  // [1,P,Q,D]
  const Tensor resized = Resize2d(grid, to, {.mode = ResizeMode::kBicubic});           // [1,P',Q',D]
  return Concat({Slice(positions, 1, 0, 1), Reshape(resized, {one, to[0] * to[1], D})}, 1);
}

Tensor DropPath(const Tensor& x, double rate) {
  if (rate <= 0 || !Tape::IsTraining()) return x;
  std::vector<int64_t> sizes(static_cast<size_t>(x.rank()), 1);  // [B,1,...]
  sizes[0] = x.dim(0);
  return x * Dropout(Tensor::Full(Shape(sizes), 1.0f, x.dtype()), rate);
}

}  // namespace fovea::nn
