// Softmax and its logarithm over rows.
//
// Contract: contiguous [R,N] tensors of one type, f32 or bf16 (computed in f32), N >= 1. `y` may be `x`, `dx` may be
// `dy`. A row that is -inf everywhere (everything masked) has no distribution: Softmax gives zeros instead of the NaN
// of PyTorch, so that a padded row cannot spoil a batch, and LogSoftmax gives -inf. NaN or +inf in a row make the row
// NaN.
#pragma once

#include "tensor/tensor.h"

namespace fovea::kernels {

void Softmax(const Tensor& x, Tensor& y);
// dx = y * (dy - sum(dy * y)), with y = softmax(x).
void SoftmaxBackward(const Tensor& y, const Tensor& dy, Tensor& dx);

void LogSoftmax(const Tensor& x, Tensor& y);
// dx = dy - exp(y) * sum(dy), with y = log softmax(x).
void LogSoftmaxBackward(const Tensor& y, const Tensor& dy, Tensor& dx);

namespace ref {
void Softmax(const Tensor& x, Tensor& y);
void SoftmaxBackward(const Tensor& y, const Tensor& dy, Tensor& dx);
void LogSoftmax(const Tensor& x, Tensor& y);
void LogSoftmaxBackward(const Tensor& y, const Tensor& dy, Tensor& dx);
}  // namespace ref

}  // namespace fovea::kernels
