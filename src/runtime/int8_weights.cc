#include "runtime/int8_weights.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "base/parallel.h"

namespace fovea::runtime {
namespace {

constexpr float kLargest = 127.0f;
constexpr float kClippings[] = {1.0f, 0.96f, 0.92f, 0.88f, 0.84f, 0.8f};

int8_t Rounded(float value) { return static_cast<int8_t>(std::clamp(std::nearbyint(value), -kLargest, kLargest)); }

double SquaredError(const float* row, int64_t count, float scale) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float difference = row[i] - static_cast<float>(Rounded(row[i] / scale)) * scale;
    sum += static_cast<double>(difference) * difference;
  }
  return sum;
}

}  // namespace

Int8Rows QuantizeRows(const Tensor& weight_in, const std::string& name) {
  const Tensor weight = weight_in.To(DType::kF32).Contiguous();
  Require(weight.rank() >= 2, "[quantize] expected a matrix, got ", name, weight.shape());
  const int64_t O = weight.dim(0), count = O > 0 ? weight.numel() / O : 0;
  Int8Rows rows{.values = Tensor::Empty(weight.shape(), DType::kI8), .scale = Tensor::Empty({O}), .error = 0};
  double error = 0, norm = 0;
  for (int64_t o = 0; o < O; ++o) {
    const float* row = weight.data<float>() + o * count;
    float largest = 0;
    for (int64_t i = 0; i < count; ++i) {
      Require(std::isfinite(row[i]), "[quantize] ", name, " holds a number that is not finite, in row ", o);
      largest = std::max(largest, std::fabs(row[i]));
      norm += static_cast<double>(row[i]) * row[i];
    }
    float best_scale = largest / kLargest;
    if (best_scale > 0) {
      double best = INFINITY;
      for (const float clipping : kClippings) {
        const float scale = largest * clipping / kLargest;
        const double squared = scale > 0 ? SquaredError(row, count, scale) : INFINITY;
        if (squared < best) {
          best = squared;
          best_scale = scale;
        }
      }
      error += std::isfinite(best) ? best : 0;
    }
    rows.scale.mutable_data<float>()[o] = best_scale;
    auto* to = reinterpret_cast<int8_t*>(rows.values.mutable_raw()) + o * count;
    for (int64_t i = 0; i < count; ++i) to[i] = best_scale > 0 ? Rounded(row[i] / best_scale) : int8_t{0};
  }
  rows.error = norm > 0 ? std::sqrt(error / norm) : 0.0;
  return rows;
}

void ExpandInt8(std::vector<NamedTensor>& tensors, const std::string& source) {
  std::unordered_map<std::string, size_t> scales;
  bool has_int8 = false;
  for (size_t i = 0; i < tensors.size(); ++i) {
    has_int8 = has_int8 || tensors[i].tensor.dtype() == DType::kI8;
    if (tensors[i].name.ends_with(kScaleSuffix)) scales.emplace(tensors[i].name, i);
  }
  if (!has_int8) return;
  std::vector<bool> is_used(tensors.size());
  for (NamedTensor& stored : tensors) {
    if (stored.tensor.dtype() != DType::kI8) continue;
    const auto found = scales.find(stored.name + std::string(kScaleSuffix));
    if (found == scales.end())
      Fail(ErrorCode::kCorruptData, "[model] ", source, ": the int8 weight ", stored.name, " has no ", stored.name,
           kScaleSuffix);
    const Tensor scale = tensors[found->second].tensor.Contiguous(), values = stored.tensor.Contiguous();
    if (scale.dtype() != DType::kF32 || values.rank() < 1 || scale.shape() != Shape{values.dim(0)})
      Fail(ErrorCode::kCorruptData, "[model] ", source, ": expected ", found->first, " f32[rows] for the int8 weight ",
           values.shape(), ", got ", scale.dtype(), scale.shape());
    is_used[found->second] = true;
    Tensor expanded = Tensor::Empty(values.shape());
    const int64_t rows = values.dim(0), count = rows > 0 ? values.numel() / rows : 0;
    const auto* from = reinterpret_cast<const int8_t*>(values.raw());
    for (int64_t o = 0; o < rows; ++o) {
      const float factor = scale.data<float>()[o];
      if (!std::isfinite(factor))
        Fail(ErrorCode::kCorruptData, "[model] ", source, ": ", found->first, " is not finite in row ", o);
      for (int64_t i = o * count; i < (o + 1) * count; ++i)
        expanded.mutable_data<float>()[i] = static_cast<float>(from[i]) * factor;
    }
    stored.tensor = expanded;
  }
  size_t kept = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (is_used[i]) continue;
    if (kept != i) tensors[kept] = std::move(tensors[i]);
    ++kept;
  }
  tensors.resize(kept);
}

}  // namespace fovea::runtime
