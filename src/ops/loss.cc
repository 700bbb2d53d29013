#include "ops/loss.h"

#include "ops/checks.h"
#include "ops/reduce.h"
#include "tensor/tape.h"

namespace fovea {

Tensor CrossEntropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options) {
  ops::RequireFloat(logits, "cross_entropy");
  const auto [N, V] = logits.Dims<2>("cross_entropy");
  Require(labels.defined() && labels.dtype() == DType::kI64 && labels.shape() == Shape{N} && V > 0,
          "[cross_entropy] expected logits [N,V] and labels i64[N], got ", logits.shape(), " and ", labels.dtype(),
          labels.shape());
  Require(options.label_smoothing >= 0.0f && options.label_smoothing <= 1.0f,
          "[cross_entropy] expected label_smoothing in [0,1], got ", options.label_smoothing);
  const Tensor rows = logits.Contiguous(), targets = labels.Contiguous();
  int64_t counted = 0;
  for (int64_t n = 0; n < N; ++n) {
    const int64_t label = targets.data<int64_t>()[n];
    if (label == options.ignore_index) continue;
    Require(label >= 0 && label < V, "[cross_entropy] expected labels in [0,", V, "), got ", label, " in row ", n);
    ++counted;
  }
  Tensor losses = Tensor::Empty({N}), log_sums = Tensor::Empty({N});
  kernels::CrossEntropy(rows, targets, options, losses, log_sums);
  const float share = counted > 0 ? 1.0f / static_cast<float>(counted) : 0.0f;
  float mean = 0.0f;
  {
    const Tape::Pause pause;
    mean = Sum(losses).item() * share;
  }
  return Record({&logits}, Tensor::Scalar(mean),
                [rows, targets, options, log_sums, share](const Tensor& dy, const Needs&) {
                  Tensor dlogits = Tensor::Empty(rows.shape(), rows.dtype());
                  kernels::CrossEntropyBackward(rows, targets, options, log_sums, dy.item() * share, dlogits);
                  return InputGradients{dlogits};
                });
}

}  // namespace fovea
