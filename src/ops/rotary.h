// Rotary position embedding, recorded on the tape.
#pragma once

#include "tensor/tensor.h"

namespace fovea {

// x [B,H,T,E] with its pairs of elements (i, i + R) turned by the angles whose cosines and sines are given, elements
// from 2R on as they are; cos and sin f32 [B,T,R] or [1,T,R], 2R <= E, without gradient. x f32 or bf16, a view whose
// last axis is dense needs no copy. -> [B,H,T,E]. Throws kInvalidArgument when shapes or types do not fit.
Tensor Rotary(const Tensor& x, const Tensor& cos, const Tensor& sin);

}  // namespace fovea
