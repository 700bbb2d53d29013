// Softmax by its definition, in double precision.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/softmax/softmax.h"

namespace fovea::kernels::ref {
namespace {

// Row by row: function(a, b, out, N) on f64 copies of up to two inputs.
template <typename Function>
void ForEachRow(const Tensor& a, const Tensor& b, Tensor& out, Function&& function) {
  const auto [R, N] = a.Dims<2>("softmax");
  const Tensor first = a.To(DType::kF64), second = b.To(DType::kF64);
  const Tensor result = Tensor::Empty(a.shape(), DType::kF64);
  for (int64_t row = 0; row < R; ++row) {
    function(first.data<double>() + row * N, second.data<double>() + row * N, result.mutable_data<double>() + row * N,
             N);
  }
  out.CopyFrom(result.To(DType::kF32).To(out.dtype()));
}

// log(sum(exp(x))), -inf for a row of -inf.
double LogSumExp(const double* x, int64_t N) {
  const double best = *std::max_element(x, x + N);
  if (best == -INFINITY) return -INFINITY;
  double sum = 0.0;
  for (int64_t i = 0; i < N; ++i) sum += std::exp(x[i] - best);
  return best + std::log(sum);
}

}  // namespace

void Softmax(const Tensor& x, Tensor& y) {
  ForEachRow(x, x, y, [](const double* row, const double*, double* out, int64_t N) {
    const double total = LogSumExp(row, N);
    for (int64_t i = 0; i < N; ++i) out[i] = total == -INFINITY ? 0.0 : std::exp(row[i] - total);
  });
}

void LogSoftmax(const Tensor& x, Tensor& y) {
  ForEachRow(x, x, y, [](const double* row, const double*, double* out, int64_t N) {
    const double total = LogSumExp(row, N);
    for (int64_t i = 0; i < N; ++i) out[i] = total == -INFINITY ? -INFINITY : row[i] - total;
  });
}

void SoftmaxBackward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  ForEachRow(y, dy, dx, [](const double* row, const double* above, double* out, int64_t N) {
    double dot = 0.0;
    for (int64_t i = 0; i < N; ++i) dot += row[i] * above[i];
    for (int64_t i = 0; i < N; ++i) out[i] = row[i] * (above[i] - dot);
  });
}

void LogSoftmaxBackward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  ForEachRow(y, dy, dx, [](const double* row, const double* above, double* out, int64_t N) {
    double sum = 0.0;
    for (int64_t i = 0; i < N; ++i) sum += above[i];
    for (int64_t i = 0; i < N; ++i) out[i] = above[i] - std::exp(row[i]) * sum;
  });
}

}  // namespace fovea::kernels::ref
