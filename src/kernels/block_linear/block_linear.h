// The linear layer on a matrix of blocks (block_matrix.h): the weights are read as they are stored, the inputs are
// rounded to int8 in groups of 32 (scale = largest magnitude / 127), products are summed in 32-bit integers, and each
// group's sum is scaled in f32.
//
// ggml rounds its inputs in groups of 32 for the types with blocks of 32, and of 256 for the others; ours are of 32
// always, so that an outlier spoils fewer neighbours. A few input vectors (decoding) read each weight once and are
// bound by memory; many (a prompt) unpack a tile of weights to bytes once and multiply all of them with it.
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
Tensor RoundedToInt8(const Tensor& x);
// The same product in double precision.
void BlockLinear(const Tensor& x, const BlockMatrix& weight, const Tensor& bias, Act act, Tensor& y);
void BlockLinear(const Tensor& x, std::span<const BlockMatrix* const> weights, const Tensor& bias, Act act, Tensor& y);
}  // namespace ref

}  // namespace fovea::kernels
