#include "ops/rotary.h"

#include "kernels/rotary/rotary.h"
#include "ops/checks.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

Tensor Turned(const Tensor& x, const Tensor& cos, const Tensor& sin, bool is_inverse) {
  const Tensor rows = x.strides()[3] == 1 || x.dim(3) == 1 ? x : x.Contiguous();
  Tensor y = Tensor::Empty(x.shape(), x.dtype());
  kernels::Rotary(rows, cos, sin, is_inverse, y);
  return y;
}

}  // namespace

Tensor Rotary(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  ops::RequireFloat(x, "rotary");
  const auto [B, H, T, E] = x.Dims<4>("rotary");
  Require(cos.defined() && sin.defined() && cos.dtype() == DType::kF32 && sin.dtype() == DType::kF32 &&
              cos.rank() == 3 && cos.shape() == sin.shape() && (cos.dim(0) == B || cos.dim(0) == 1) &&
              cos.dim(1) == T && 2 * cos.dim(2) <= E,
          "[rotary] expected x [B,H,T,E] and f32 cos, sin [B,T,R] with 2R <= E, got shapes ", x.shape(), ", ",
          cos.shape(), " and ", sin.shape());
  const Tensor c = cos.Contiguous(), s = sin.Contiguous();
  return Record({&x}, Turned(x, c, s, /*is_inverse=*/false), [c, s](const Tensor& dy, const Needs&) {
    return InputGradients{Turned(dy, c, s, /*is_inverse=*/true)};
  });
}

}  // namespace fovea
