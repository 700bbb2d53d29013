// Arithmetic on tensors, recorded on the tape. All inputs are f32 or bf16 and of one type; results have that type.
//
// Two tensors broadcast by NumPy's rule: shapes are aligned at the end, axes of size 1 stretch. Gradients are summed
// back over stretched axes. Strided views are read in place.
#pragma once

#include "tensor/tensor.h"

namespace fovea {

Tensor Add(const Tensor& a, const Tensor& b);
Tensor Sub(const Tensor& a, const Tensor& b);
Tensor Mul(const Tensor& a, const Tensor& b);
Tensor Div(const Tensor& a, const Tensor& b);

// x * scale + shift, with constants that get no gradient.
Tensor Affine(const Tensor& x, float scale, float shift);

Tensor Neg(const Tensor& x);
Tensor Exp(const Tensor& x);
Tensor Log(const Tensor& x);   // natural logarithm; NaN below 0, -inf at 0
Tensor Sqrt(const Tensor& x);  // NaN below 0
Tensor Square(const Tensor& x);

// mask ? a : b, elementwise; `mask` is bool, all three broadcast.
Tensor Where(const Tensor& mask, const Tensor& a, const Tensor& b);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return Add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return Sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return Mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return Div(a, b); }
inline Tensor operator-(const Tensor& x) { return Neg(x); }
inline Tensor operator+(const Tensor& x, float c) { return Affine(x, 1.0f, c); }
inline Tensor operator+(float c, const Tensor& x) { return Affine(x, 1.0f, c); }
inline Tensor operator-(const Tensor& x, float c) { return Affine(x, 1.0f, -c); }
inline Tensor operator-(float c, const Tensor& x) { return Affine(x, -1.0f, c); }
inline Tensor operator*(const Tensor& x, float c) { return Affine(x, c, 0.0f); }
inline Tensor operator*(float c, const Tensor& x) { return Affine(x, c, 0.0f); }
inline Tensor operator/(const Tensor& x, float c) { return Affine(x, 1.0f / c, 0.0f); }

}  // namespace fovea
