// Matrix products: MatMul for two activations, Linear for an activation and a weight. Both take f32 or bf16; sums are
// in f32.
#pragma once

#include <span>

#include "kernels/block_matrix/block_matrix.h"
#include "kernels/matmul/matmul.h"
#include "ops/activation.h"
#include "tensor/tensor.h"

namespace fovea {

struct MatMulOptions {
  bool transpose_a = false;  // a is [...,K,M]
  bool transpose_b = false;  // b is [...,N,K]
};

// a [...,M,K] times b [...,K,N] -> [...,M,N]. Leading axes broadcast as in NumPy. Strided views (Permuted, Expanded,
// Sliced) are taken as they are where a row or a column lies dense. Throws kInvalidArgument unless both have at least
// two axes, one type, and equal K.
Tensor MatMul(const Tensor& a, const Tensor& b, const MatMulOptions& options = {});

// act(x [...,I] weight [O,I]^T + bias [O]) -> [...,O]. The weight is in PyTorch's order; `bias` may be undefined, or
// f32 beside a bf16 x. Bias and activation are fused into the product unless the tape records. Throws kInvalidArgument
// when sizes or types do not fit.
Tensor Linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, Act act = Act::kIdentity);

// The same with a weight packed once for this CPU (inference: the weight must not change afterwards); it may be bf16
// for an f32 x.
Tensor Linear(const Tensor& x, const kernels::PackedLinear& weight, const Tensor& bias = {}, Act act = Act::kIdentity);

// The same with weights in blocks, one matrix below the other (kernels/block_linear). Throws kUnimplemented when the
// tape records x: weights in blocks are for inference.
Tensor Linear(const Tensor& x, std::span<const kernels::BlockMatrix* const> weights, const Tensor& bias = {},
              Act act = Act::kIdentity);

}  // namespace fovea
