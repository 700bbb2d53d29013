// Normalisation. Two shapes of it: over rows (layer norm, RMS norm, L2) and over images in groups of channels (group
// norm, of which batch norm is the case of one group per channel with all pixels of the batch as one image).
//
// Contract: contiguous tensors. `x`, `y` and their gradients are of one type, f32 or bf16; gamma, beta, their gradients
// and all statistics are f32. An undefined gamma means 1, an undefined beta 0; undefined outputs of backward functions
// are not computed. Statistics are accumulated in double (simd_reduce.h), variances in a second pass over the centred
// values. Results do not depend on the number of threads.
#pragma once

#include "tensor/tensor.h"

namespace fovea::kernels {

// ---- rows: x [R,D], gamma and beta [D], statistics [R]

// y = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(variance + eps).
void LayerNorm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps, Tensor& y, Tensor& mean,
               Tensor& rstd);
void LayerNormBackward(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                       Tensor& dx, Tensor& dgamma, Tensor& dbeta);

// y = x * rstd * gamma, rstd = 1 / sqrt(mean(x^2) + eps).
void RmsNorm(const Tensor& x, const Tensor& gamma, float eps, Tensor& y, Tensor& rstd);
void RmsNormBackward(const Tensor& x, const Tensor& gamma, const Tensor& rstd, const Tensor& dy, Tensor& dx,
                     Tensor& dgamma);

// y = x / max(|x|, eps); scale [R] = 1 / max(|x|, eps).
void L2Normalize(const Tensor& x, float eps, Tensor& y, Tensor& scale);
// `eps` as in the forward: rows clamped by it have a constant scale.
void L2NormalizeBackward(const Tensor& y, const Tensor& scale, float eps, const Tensor& dy, Tensor& dx);

// ---- images: x [B,P,C] (P pixels), G groups of C/G neighbouring channels, gamma and beta [C], statistics [B,G]

// mean and (biased) variance of each group of each image.
void GroupMoments(const Tensor& x, Tensor& mean, Tensor& variance);
// y = (x - mean) * rstd * gamma + beta.
void GroupNormApply(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& gamma, const Tensor& beta,
                    Tensor& y);
// `through_moments`: mean and rstd came from `x` (training); otherwise they are constants (running statistics).
void GroupNormBackward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& gamma, const Tensor& dy,
                       bool through_moments, Tensor& dx, Tensor& dgamma, Tensor& dbeta);

namespace ref {
void LayerNorm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps, Tensor& y, Tensor& mean,
               Tensor& rstd);
void LayerNormBackward(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                       Tensor& dx, Tensor& dgamma, Tensor& dbeta);
void RmsNorm(const Tensor& x, const Tensor& gamma, float eps, Tensor& y, Tensor& rstd);
void RmsNormBackward(const Tensor& x, const Tensor& gamma, const Tensor& rstd, const Tensor& dy, Tensor& dx,
                     Tensor& dgamma);
void L2Normalize(const Tensor& x, float eps, Tensor& y, Tensor& scale);
void L2NormalizeBackward(const Tensor& y, const Tensor& scale, float eps, const Tensor& dy, Tensor& dx);
void GroupMoments(const Tensor& x, Tensor& mean, Tensor& variance);
void GroupNormApply(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& gamma, const Tensor& beta,
                    Tensor& y);
void GroupNormBackward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& gamma, const Tensor& dy,
                       bool through_moments, Tensor& dx, Tensor& dgamma, Tensor& dbeta);
}  // namespace ref

}  // namespace fovea::kernels
