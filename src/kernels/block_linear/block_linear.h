// The linear layer on a matrix of blocks (block_matrix.h): the weights are read as they are stored, the inputs are
// rounded to 16 bits in groups of 32 (scale = largest magnitude / 32512) and split into two bytes, products are summed
// in 32-bit integers, and each group's sum is scaled in f32.
//
// ggml rounds its inputs to 8 bits, in groups of 32 or 256. That costs more than the weights' own rounding seems to
// allow: on Gemma 3 270M in Q4_K_M the distributions of the next token are 7e-3 (KL) from those of the same weights
// with inputs in f32 (tools/compare_llama.py). The second byte is another multiplication of what was loaded and
// unpacked anyway: a few input vectors (decoding) are bound by memory. Many (a prompt) unpack a tile of weights to
// bytes once and multiply all of them with it.
//
// Contract: x [M,I], y [M,O] f32, contiguous; bias [O] f32 or undefined; I = weight.columns(), O = weight.rows(). A
// value of x that is not finite makes its row of y NaN.
#pragma once

#include <span>

#include "kernels/activation/activation.h"
#include "kernels/block_matrix/block_matrix.h"
#include "tensor/tensor.h"

namespace fovea::kernels {

// y = act(x W^T + bias).
void BlockLinear(const Tensor& x, const BlockMatrix& weight, const Tensor& bias, Act act, Tensor& y);
// The same with the rows of several matrices, one below the other, as one W: x is rounded once. Their types may differ.
void BlockLinear(const Tensor& x, std::span<const BlockMatrix* const> weights, const Tensor& bias, Act act, Tensor& y);

namespace ref {
// x with each group of 32 columns rounded as BlockLinear rounds it.
Tensor RoundedInputs(const Tensor& x);
// The same product in double precision.
void BlockLinear(const Tensor& x, const BlockMatrix& weight, const Tensor& bias, Act act, Tensor& y);
void BlockLinear(const Tensor& x, std::span<const BlockMatrix* const> weights, const Tensor& bias, Act act, Tensor& y);
}  // namespace ref

}  // namespace fovea::kernels
