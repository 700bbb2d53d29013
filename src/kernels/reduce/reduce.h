// Reductions over one axis of a tensor seen as [A,N,C]: over N, for each of A x C. C = 1 reduces rows, A = 1 columns;
// src/ops brings every set of axes to this form.
//
// Contract: contiguous tensors with A, N, C >= 1; `x` f32 or bf16 of rank 3; `y` [A,C] of the type of `x`.
// Deterministic: the order of summation depends on the sizes alone. NaN propagates.
#pragma once

#include "tensor/tensor.h"

namespace fovea::kernels {

// y = scale * sum over N. Accumulated in double.
void ReduceSum(const Tensor& x, float scale, Tensor& y);

// y = the largest over N.
void ReduceMax(const Tensor& x, Tensor& y);
// dx [A,N,C]: dy shared in equal parts by all elements that equal the maximum `y`.
void ReduceMaxBackward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx);

// y [A,C] i64 = the first index over N of the largest element; NaN counts as largest.
void ArgMax(const Tensor& x, Tensor& y);

namespace ref {
void ReduceSum(const Tensor& x, float scale, Tensor& y);
void ReduceMax(const Tensor& x, Tensor& y);
}  // namespace ref

}  // namespace fovea::kernels
