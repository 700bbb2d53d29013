// Elementwise arithmetic: two tensors with broadcasting, one tensor, or one tensor and constants.
//
// Contract: inputs and outputs f32 or bf16, all of one type (computed in f32); outputs contiguous. Inputs of Binary and
// Select may be strided; the others are contiguous.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace fovea::kernels {

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv };

// y = a op b. `a` and `b` have the shape of `y`; broadcast axes have stride 0 (Tensor::Expanded).
void Binary(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y);

enum class UnaryOp : uint8_t { kExp, kLog, kSqrt, kSquare };

// y = op(x), with the values of std::log etc. outside their domain (NaN, -inf). `y` may be `x`.
void Unary(UnaryOp op, const Tensor& x, Tensor& y);

// y = x * scale + shift. `y` may be `x`.
void Affine(const Tensor& x, float scale, float shift, Tensor& y);

// y = mask ? a : b, elementwise. `mask` is bool; all have the shape of `y`, broadcast axes have stride 0.
void Select(const Tensor& mask, const Tensor& a, const Tensor& b, Tensor& y);

namespace ref {
void Binary(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y);
void Unary(UnaryOp op, const Tensor& x, Tensor& y);
void Affine(const Tensor& x, float scale, float shift, Tensor& y);
}  // namespace ref

}  // namespace fovea::kernels
