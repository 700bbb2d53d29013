#include "ops/arithmetic.h"

#include "kernels/elementwise/elementwise.h"
#include "ops/checks.h"
#include "ops/reduce.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

using kernels::BinaryOp;
using kernels::UnaryOp;

Tensor Binary(BinaryOp op, const Tensor& a, const Tensor& b, const char* who) {
  ops::RequireSameFloat(a, b, who);
  const Shape shape = BroadcastShapes(a.shape(), b.shape(), who);
  Tensor y = Tensor::Empty(shape, a.dtype());
  kernels::Binary(op, a.Expanded(shape), b.Expanded(shape), y);
  return y;
}

Tensor Unary(UnaryOp op, const Tensor& x, const char* who) {
  ops::RequireFloat(x, who);
  Tensor y = Tensor::Empty(x.shape(), x.dtype());
  kernels::Unary(op, x.Contiguous(), y);
  return y;
}

}  // namespace

Tensor Add(const Tensor& a, const Tensor& b) {
  return Record(
      {&a, &b}, Binary(BinaryOp::kAdd, a, b, "add"),
      [a_shape = a.shape(), b_shape = b.shape()](const Tensor& dy, const Needs& needs) {
        return InputGradients{needs[0] ? SumTo(dy, a_shape) : Tensor(), needs[1] ? SumTo(dy, b_shape) : Tensor()};
      });
}

Tensor Sub(const Tensor& a, const Tensor& b) {
  return Record(
      {&a, &b}, Binary(BinaryOp::kSub, a, b, "sub"),
      [a_shape = a.shape(), b_shape = b.shape()](const Tensor& dy, const Needs& needs) {
        return InputGradients{needs[0] ? SumTo(dy, a_shape) : Tensor(), needs[1] ? Neg(SumTo(dy, b_shape)) : Tensor()};
      });
}

Tensor Mul(const Tensor& a, const Tensor& b) {
  return Record({&a, &b}, Binary(BinaryOp::kMul, a, b, "mul"), [a, b](const Tensor& dy, const Needs& needs) {
    return InputGradients{needs[0] ? SumTo(Mul(dy, b), a.shape()) : Tensor(),
                          needs[1] ? SumTo(Mul(dy, a), b.shape()) : Tensor()};
  });
}

Tensor Div(const Tensor& a, const Tensor& b) {
  const Tensor y = Binary(BinaryOp::kDiv, a, b, "div");
  return Record({&a, &b}, y, [a_shape = a.shape(), b, y](const Tensor& dy, const Needs& needs) {
    const Tensor da = Div(dy, b);  // of the broadcast shape
    return InputGradients{needs[0] ? SumTo(da, a_shape) : Tensor(),
                          needs[1] ? Neg(SumTo(Mul(da, y), b.shape())) : Tensor()};
  });
}

Tensor Affine(const Tensor& x, float scale, float shift) {
  ops::RequireFloat(x, "affine");
  Tensor y = Tensor::Empty(x.shape(), x.dtype());
  kernels::Affine(x.Contiguous(), scale, shift, y);
  return Record({&x}, y, [scale](const Tensor& dy, const Needs&) { return InputGradients{Affine(dy, scale, 0.0f)}; });
}

Tensor Neg(const Tensor& x) { return Affine(x, -1.0f, 0.0f); }

Tensor Exp(const Tensor& x) {
  const Tensor y = Unary(UnaryOp::kExp, x, "exp");
  return Record({&x}, y, [y](const Tensor& dy, const Needs&) { return InputGradients{Mul(dy, y)}; });
}

Tensor Log(const Tensor& x) {
  return Record({&x}, Unary(UnaryOp::kLog, x, "log"),
                [x](const Tensor& dy, const Needs&) { return InputGradients{Div(dy, x)}; });
}

Tensor Sqrt(const Tensor& x) {
  const Tensor y = Unary(UnaryOp::kSqrt, x, "sqrt");
  return Record({&x}, y,
                [y](const Tensor& dy, const Needs&) { return InputGradients{Affine(Div(dy, y), 0.5f, 0.0f)}; });
}

Tensor Square(const Tensor& x) {
  return Record({&x}, Unary(UnaryOp::kSquare, x, "square"),
                [x](const Tensor& dy, const Needs&) { return InputGradients{Affine(Mul(dy, x), 2.0f, 0.0f)}; });
}

Tensor Where(const Tensor& mask, const Tensor& a, const Tensor& b) {
  ops::RequireSameFloat(a, b, "where");
  Require(mask.defined() && mask.dtype() == DType::kBool, "[where] expected a bool mask, got ", mask.dtype(),
          mask.shape());
  const Shape shape = BroadcastShapes(mask.shape(), BroadcastShapes(a.shape(), b.shape(), "where"), "where");
  Tensor y = Tensor::Empty(shape, a.dtype());
  kernels::Select(mask.Expanded(shape), a.Expanded(shape), b.Expanded(shape), y);
  return Record({&a, &b}, y, [mask, a_shape = a.shape(), b_shape = b.shape()](const Tensor& dy, const Needs& needs) {
    const Tensor zero = Tensor::Full({}, 0.0f, dy.dtype());
    return InputGradients{needs[0] ? SumTo(Where(mask, dy, zero), a_shape) : Tensor(),
                          needs[1] ? SumTo(Where(mask, zero, dy), b_shape) : Tensor()};
  });
}

}  // namespace fovea
