// Cross-entropy by its definition, in double precision.
#include <algorithm>
#include <cmath>

#include "kernels/cross_entropy/cross_entropy.h"

namespace fovea::kernels::ref {
namespace {

double LogSumExp(const double* row, int64_t V) {
  const double best = *std::max_element(row, row + V);
  double sum = 0.0;
  for (int64_t v = 0; v < V; ++v) sum += std::exp(row[v] - best);
  return best + std::log(sum);
}

}  // namespace

void CrossEntropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options, Tensor& losses,
                  Tensor& log_sums) {
  const auto [N, V] = logits.Dims<2>("cross_entropy");
  const Tensor wide = logits.To(DType::kF64);
  for (int64_t n = 0; n < N; ++n) {
    const double* row = wide.data<double>() + n * V;
    const int64_t label = labels.data<int64_t>()[n];
    const double total = LogSumExp(row, V);
    log_sums.mutable_data<float>()[n] = static_cast<float>(total);
    double loss = 0.0;
    for (int64_t v = 0; v < V && label != options.ignore_index; ++v) {
      const double target =
          (v == label ? 1.0 - options.label_smoothing : 0.0) + options.label_smoothing / static_cast<double>(V);
      if (target != 0.0) loss -= target * (row[v] - total);
    }
    losses.mutable_data<float>()[n] = static_cast<float>(loss);
  }
}

void CrossEntropyBackward(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options,
                          const Tensor& log_sums, float scale, Tensor& dlogits) {
  const auto [N, V] = logits.Dims<2>("cross_entropy");
  const Tensor wide = logits.To(DType::kF64);
  Tensor result = Tensor::Zeros(logits.shape());
  for (int64_t n = 0; n < N; ++n) {
    const int64_t label = labels.data<int64_t>()[n];
    for (int64_t v = 0; v < V && label != options.ignore_index; ++v) {
      const double target =
          (v == label ? 1.0 - options.label_smoothing : 0.0) + options.label_smoothing / static_cast<double>(V);
      const double share = std::exp(wide.data<double>()[n * V + v] - log_sums.data<float>()[n]);
      result.mutable_data<float>()[n * V + v] = static_cast<float>(scale * (share - target));
    }
  }
  dlogits.CopyFrom(result.To(dlogits.dtype()));
}

}  // namespace fovea::kernels::ref
