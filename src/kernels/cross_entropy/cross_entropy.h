// Cross-entropy of a softmax, fused: probabilities are never stored.
//
// Contract: logits [N,V] contiguous, f32 or bf16, V >= 1; labels [N] i64, each in [0,V) or equal to `ignore_index`;
// losses and log_sums [N] f32. With s = label_smoothing the target is (1 - s) on the label plus s / V everywhere.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace fovea::kernels {

struct CrossEntropyOptions {
  float label_smoothing = 0.0f;
  int64_t ignore_index = -100;
};

// losses[n] = the loss of row n, 0 for ignored rows; log_sums[n] = log(sum(exp(logits[n]))), for the backward.
void CrossEntropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options, Tensor& losses,
                  Tensor& log_sums);
// dlogits = scale * d losses / d logits; zero for ignored rows.
void CrossEntropyBackward(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options,
                          const Tensor& log_sums, float scale, Tensor& dlogits);

namespace ref {
void CrossEntropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options, Tensor& losses,
                  Tensor& log_sums);
void CrossEntropyBackward(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options,
                          const Tensor& log_sums, float scale, Tensor& dlogits);
}  // namespace ref

}  // namespace fovea::kernels
