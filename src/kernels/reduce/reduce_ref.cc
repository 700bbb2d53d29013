// Reductions as three nested loops in double precision.
#include <cmath>

#include "kernels/reduce/reduce.h"

namespace fovea::kernels::ref {
namespace {

template <typename Start, typename Step>
void Reduce(const Tensor& x, float scale, Tensor& y, Start&& start, Step&& step) {
  const auto [A, N, C] = x.Dims<3>("reduce");
  const Tensor source = x.To(DType::kF32);
  Tensor result = Tensor::Empty({A, C});
  for (int64_t a = 0; a < A; ++a) {
    for (int64_t c = 0; c < C; ++c) {
      double value = start;
      for (int64_t n = 0; n < N; ++n)
        value = step(value, static_cast<double>(source.data<float>()[(a * N + n) * C + c]));
      result.mutable_data<float>()[a * C + c] = static_cast<float>(scale * value);
    }
  }
  y.CopyFrom(result.To(y.dtype()));
}

}  // namespace

void ReduceSum(const Tensor& x, float scale, Tensor& y) {
  Reduce(x, scale, y, 0.0, [](double sum, double value) { return sum + value; });
}

void ReduceMax(const Tensor& x, Tensor& y) {
  Reduce(x, 1.0f, y, -INFINITY,
         [](double best, double value) { return std::isnan(best) || best > value ? best : value; });
}

}  // namespace fovea::kernels::ref
