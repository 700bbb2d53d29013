// Pooling window by window in double precision.
#include <cmath>

#include "kernels/pool/pool.h"

namespace fovea::kernels::ref {
namespace {

// body(b, oy, ox, c, output index) for every output of a tensor [B,oY,oX,C].
template <typename Body>
void ForEachOutput(const Shape& shape, Body&& body) {
  for (int64_t i = 0; i < shape.numel(); ++i) {
    body(i / (shape[1] * shape[2] * shape[3]), i / (shape[2] * shape[3]) % shape[1], i / shape[3] % shape[2],
         i % shape[3], i);
  }
}

// visit(input index) for every element of a window of an image [B,Y,X,C].
template <typename Visit>
void ForEachInput(const Shape& shape, int64_t b, const PoolWindow& rows, const PoolWindow& columns, int64_t c,
                  Visit&& visit) {
  for (int64_t y = rows.begin; y < rows.end; ++y) {
    for (int64_t x = columns.begin; x < columns.end; ++x) visit(((b * shape[1] + y) * shape[2] + x) * shape[3] + c);
  }
}

int64_t Largest(const Tensor& x, int64_t b, const PoolWindow& rows, const PoolWindow& columns, int64_t c) {
  int64_t best = -1;
  ForEachInput(x.shape(), b, rows, columns, c, [&](int64_t at) {
    const float value = x.data<float>()[at];
    if (best < 0 || value > x.data<float>()[best] || (std::isnan(value) && !std::isnan(x.data<float>()[best])))
      best = at;
  });
  return best;
}

}  // namespace

void MaxPool(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y) {
  const Tensor source = x.To(DType::kF32), result = Tensor::Empty(y.shape());
  ForEachOutput(y.shape(), [&](int64_t b, int64_t oy, int64_t ox, int64_t c, int64_t at) {
    result.mutable_data<float>()[at] = source.data<float>()[Largest(source, b, rows[oy], columns[ox], c)];
  });
  y.CopyFrom(result.To(y.dtype()));
}

void MaxPoolBackward(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx) {
  const Tensor source = x.To(DType::kF32), above = dy.To(DType::kF32), result = Tensor::Zeros(x.shape());
  ForEachOutput(dy.shape(), [&](int64_t b, int64_t oy, int64_t ox, int64_t c, int64_t at) {
    result.mutable_data<float>()[Largest(source, b, rows[oy], columns[ox], c)] += above.data<float>()[at];
  });
  dx.CopyFrom(result.To(dx.dtype()));
}

void AvgPool(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y) {
  const Tensor source = x.To(DType::kF32), result = Tensor::Empty(y.shape());
  ForEachOutput(y.shape(), [&](int64_t b, int64_t oy, int64_t ox, int64_t c, int64_t at) {
    double sum = 0.0;
    ForEachInput(x.shape(), b, rows[oy], columns[ox], c, [&](int64_t from) { sum += source.data<float>()[from]; });
    result.mutable_data<float>()[at] =
        static_cast<float>(sum / static_cast<double>(rows[oy].count * columns[ox].count));
  });
  y.CopyFrom(result.To(y.dtype()));
}

void AvgPoolBackward(const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx) {
  const Tensor above = dy.To(DType::kF32), result = Tensor::Zeros(dx.shape());
  ForEachOutput(dy.shape(), [&](int64_t b, int64_t oy, int64_t ox, int64_t c, int64_t at) {
    const float share = above.data<float>()[at] / static_cast<float>(rows[oy].count * columns[ox].count);
    ForEachInput(dx.shape(), b, rows[oy], columns[ox], c,
                 [&](int64_t to) { result.mutable_data<float>()[to] += share; });
  });
  dx.CopyFrom(result.To(dx.dtype()));
}

}  // namespace fovea::kernels::ref
