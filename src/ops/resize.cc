// Both axes are resampled one after the other with a banded matrix of weights each. Indices and weights are computed in
// f32 like PyTorch's, whose rounding of source positions would otherwise show in the results.
#include "ops/resize.h"

#include <algorithm>
#include <cmath>

#include "kernels/resize2d/resize2d.h"
#include "ops/checks.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

using kernels::BandedMatrix;

constexpr float kCubic = -0.75f;
constexpr float kCubicAntialias = -0.5f;

// Keys' cubic convolution kernel at distance `x`.
float CubicWeight(float x, float a) {
  x = std::fabs(x);
  if (x < 1.0f) return ((a + 2.0f) * x - (a + 3.0f)) * x * x + 1.0f;
  if (x < 2.0f) return ((a * x - 5.0f * a) * x + 8.0f * a) * x - 4.0f * a;
  return 0.0f;
}

float TriangleWeight(float x) { return std::max(0.0f, 1.0f - std::fabs(x)); }

// Adds the row that gives weights[i] to input first + i, where inputs outside the image stand for its border.
void AppendRow(BandedMatrix& matrix, int64_t first, const std::vector<float>& weights) {
  const int64_t last = matrix.inputs - 1;
  const int64_t begin = std::clamp<int64_t>(first, 0, last);
  const int64_t end = std::clamp<int64_t>(first + static_cast<int64_t>(weights.size()) - 1, 0, last) + 1;
  std::vector<float> inside(static_cast<size_t>(end - begin), 0.0f);
  for (size_t i = 0; i < weights.size(); ++i)
    inside[std::clamp<int64_t>(first + static_cast<int64_t>(i), 0, last) - begin] += weights[i];
  matrix.first.push_back(begin);
  matrix.weights.insert(matrix.weights.end(), inside.begin(), inside.end());
  matrix.offset.push_back(static_cast<int64_t>(matrix.weights.size()));
}

void AppendAntialiased(BandedMatrix& matrix, int64_t out, float scale, ResizeMode mode) {
  const float reach = mode == ResizeMode::kBilinear ? 1.0f : 2.0f;
  const float stretch = std::max(scale, 1.0f);
  const float center = scale * (static_cast<float>(out) + 0.5f);
  const int64_t begin = std::max<int64_t>(0, static_cast<int64_t>(center - reach * stretch + 0.5f));
  const int64_t end = std::min(matrix.inputs, static_cast<int64_t>(center + reach * stretch + 0.5f));
  std::vector<float> weights;
  float total = 0.0f;
  for (int64_t in = begin; in < end; ++in) {
    const float distance = (static_cast<float>(in) - center + 0.5f) / stretch;
    weights.push_back(mode == ResizeMode::kBilinear ? TriangleWeight(distance)
                                                    : CubicWeight(distance, kCubicAntialias));
    total += weights.back();
  }
  for (float& weight : weights) weight /= total;
  AppendRow(matrix, begin, weights);
}

void AppendInterpolated(BandedMatrix& matrix, int64_t out, float scale, const ResizeOptions& options) {
  float position =
      options.align_corners ? scale * static_cast<float>(out) : scale * (static_cast<float>(out) + 0.5f) - 0.5f;
  if (options.mode == ResizeMode::kBilinear) {
    position = std::max(position, 0.0f);
    const int64_t first = static_cast<int64_t>(position);
    const float share = position - static_cast<float>(first);
    AppendRow(matrix, first, {1.0f - share, share});
  } else {
    const float floor = std::floor(position), share = position - floor;
    AppendRow(matrix, static_cast<int64_t>(floor) - 1,
              {CubicWeight(share + 1.0f, kCubic), CubicWeight(share, kCubic), CubicWeight(1.0f - share, kCubic),
               CubicWeight(2.0f - share, kCubic)});
  }
}

BandedMatrix AxisWeights(int64_t inputs, int64_t outputs, const ResizeOptions& options) {
  BandedMatrix matrix{.inputs = inputs, .first = {}, .offset = {0}, .weights = {}};
  float scale = static_cast<float>(inputs) / static_cast<float>(outputs);
  if (options.align_corners)
    scale = outputs > 1 ? static_cast<float>(inputs - 1) / static_cast<float>(outputs - 1) : 0.0f;
  for (int64_t out = 0; out < outputs; ++out) {
    options.antialias ? AppendAntialiased(matrix, out, scale, options.mode)
                      : AppendInterpolated(matrix, out, scale, options);
  }
  return matrix;
}

// x [B,Y,X,C] f32 along X, then along Y.
Tensor Apply(const Tensor& x, const BandedMatrix& rows, const BandedMatrix& columns) {
  const auto [B, Y, X, C] = x.Dims<4>("resize2d");
  Tensor wide = Tensor::Empty({B * Y, columns.outputs(), C});
  kernels::BandedProduct(columns, x.View({B * Y, X, C}), wide);
  Tensor y = Tensor::Empty({B, rows.outputs(), columns.outputs() * C});
  kernels::BandedProduct(rows, wide.View({B, Y, columns.outputs() * C}), y);
  return y.View({B, rows.outputs(), columns.outputs(), C});
}

}  // namespace

Tensor Resize2d(const Tensor& x, std::array<int64_t, 2> size, const ResizeOptions& options) {
  ops::RequireFloat(x, "resize2d");
  Require(x.rank() == 4 && x.dim(1) > 0 && x.dim(2) > 0 && x.dim(3) > 0,
          "[resize2d] expected x [B,Y,X,C] with pixels, got ", x.shape());
  Require(size[0] > 0 && size[1] > 0, "[resize2d] expected a size > 0, got ", size[0], " x ", size[1]);
  Require(!(options.antialias && options.align_corners), "[resize2d] expected antialias or align_corners, got both");
  const Shape result{x.dim(0), size[0], size[1],
                     x.dim(3)};  // checks the number of elements before the weights are made
  if (x.dim(0) == 0) return Tensor::Empty(result, x.dtype());
  const BandedMatrix rows = AxisWeights(x.dim(1), size[0], options), columns = AxisWeights(x.dim(2), size[1], options);
  const Tensor y = Apply(x.Contiguous().To(DType::kF32), rows, columns).To(x.dtype());
  FOVEA_DCHECK(y.shape() == result);
  return Record({&x}, y, [rows, columns](const Tensor& dy, const Needs&) {
    return InputGradients{
        Apply(dy.To(DType::kF32), kernels::Transposed(rows), kernels::Transposed(columns)).To(dy.dtype())};
  });
}

}  // namespace fovea
