// Elementwise arithmetic, one element at a time.
#include <cmath>

#include "kernels/elementwise/elementwise.h"

namespace fovea::kernels::ref {
namespace {

double Apply(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd: return a + b;
    case BinaryOp::kSub: return a - b;
    case BinaryOp::kMul: return a * b;
    case BinaryOp::kDiv: return a / b;
  }
  return 0.0;
}

double Apply(UnaryOp op, double x) {
  switch (op) {
    case UnaryOp::kExp: return std::exp(x);
    case UnaryOp::kLog: return std::log(x);
    case UnaryOp::kSqrt: return std::sqrt(x);
    case UnaryOp::kSquare: return x * x;
  }
  return 0.0;
}

// y[i] = f(inputs[i]...) in f64, for f32 and bf16.
template <typename Function>
void ForEach(Tensor& y, Function&& function) {
  for (int64_t i = 0; i < y.numel(); ++i) {
    const float value = static_cast<float>(function(i));
    if (y.dtype() == DType::kBF16) {
      y.mutable_data<BF16>()[i] = BF16(value);
    } else {
      y.mutable_data<float>()[i] = value;
    }
  }
}

}  // namespace

void Binary(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
  const Tensor left = a.Contiguous().To(DType::kF32), right = b.Contiguous().To(DType::kF32);
  ForEach(y, [&](int64_t i) { return Apply(op, left.data<float>()[i], right.data<float>()[i]); });
}

void Unary(UnaryOp op, const Tensor& x, Tensor& y) {
  const Tensor source = x.To(DType::kF32);
  ForEach(y, [&](int64_t i) { return Apply(op, source.data<float>()[i]); });
}

void Affine(const Tensor& x, float scale, float shift, Tensor& y) {
  const Tensor source = x.To(DType::kF32);
  ForEach(y, [&](int64_t i) { return static_cast<double>(source.data<float>()[i]) * scale + shift; });
}

}  // namespace fovea::kernels::ref
