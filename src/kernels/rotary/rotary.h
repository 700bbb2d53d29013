// Rotary position embedding (Su et al. 2021, arXiv 2104.09864): pairs of elements of a query or key are turned by an
// angle that depends on the token's position, so that their product depends on the distance of the two tokens.
//
// The pairs are (i, i + R): the first half of the turned elements with the second half, as GPT-NeoX, LLaMA and all
// their descendants.
#pragma once

#include "tensor/tensor.h"

namespace fovea::kernels {

// y = x turned by the angles of `cos` and `sin`; elements from 2R on are copied. x and y [B,H,T,E], f32 or bf16 of one
// type (computed in f32), views whose last axis is dense; y must not overlap x. cos and sin f32 [B,T,R] or [1,T,R],
// contiguous, 2R <= E. `is_inverse` turns back: the gradient, as a rotation is orthogonal.
void Rotary(const Tensor& x, const Tensor& cos, const Tensor& sin, bool is_inverse, Tensor& y);

namespace ref {
void Rotary(const Tensor& x, const Tensor& cos, const Tensor& sin, bool is_inverse, Tensor& y);
}  // namespace ref

}  // namespace fovea::kernels
