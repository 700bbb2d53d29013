// Normalisation, recorded on the tape. Inputs f32 or bf16, computed in f32 with statistics in double; results have the
// input's shape and type. Parameters may be f32 or bf16 whatever the input is; an undefined gamma means 1, an undefined
// beta 0.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace fovea {

// Over the last axis of x [...,D]: (x - mean) / sqrt(variance + eps) * gamma + beta, gamma and beta [D].
Tensor LayerNorm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps = 1e-5f);

// Over the last axis of x [...,D]: x / sqrt(mean(x^2) + eps) * gamma, gamma [D].
Tensor RmsNorm(const Tensor& x, const Tensor& gamma, float eps = 1e-6f);

// Over the last axis of x [...,D]: x / max(|x|, eps); eps > 0. A zero row stays zero.
Tensor L2Normalize(const Tensor& x, float eps = 1e-12f);

// x [B,...,C], channels last: each image and group of C / groups neighbouring channels is normalised over all its
// pixels. gamma and beta [C].
Tensor GroupNorm(const Tensor& x, int64_t groups, const Tensor& gamma, const Tensor& beta, float eps = 1e-5f);

struct BatchNormParameters {
  Tensor gamma;             // [C], optional
  Tensor beta;              // [C], optional
  Tensor running_mean;      // [C] f32
  Tensor running_variance;  // [C] f32
};
struct BatchNormOptions {
  float eps = 1e-5f;
  float momentum = 0.1f;  // weight of the new batch in the running statistics, as in PyTorch
};

// x [...,C], channels last. While training (Tape::IsTraining()): normalised with the statistics of this batch, more
// than one value per channel; the running statistics, which must be writable then, move towards them in place (variance
// unbiased). Not safe to train from several threads. Otherwise: normalised with the running statistics.
Tensor BatchNorm(const Tensor& x, const BatchNormParameters& parameters, const BatchNormOptions& options);

}  // namespace fovea
