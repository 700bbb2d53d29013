// What every operator asks of its inputs, with one wording for the errors.
#pragma once

#include "base/error.h"
#include "tensor/tensor.h"

namespace fovea::ops {

// `x` is defined and f32 or bf16.
inline void RequireFloat(const Tensor& x, const char* who) {
  Require(x.defined(), "[", who, "] expected a tensor, got an undefined one");
  Require(x.dtype() == DType::kF32 || x.dtype() == DType::kBF16, "[", who, "] expected f32 or bf16, got ", x.dtype(),
          x.shape());
}

// Both floating point and of one type.
inline void RequireSameFloat(const Tensor& a, const Tensor& b, const char* who) {
  RequireFloat(a, who);
  RequireFloat(b, who);
  Require(a.dtype() == b.dtype(), "[", who, "] expected inputs of one type, got ", a.dtype(), a.shape(), " and ",
          b.dtype(), b.shape());
}

}  // namespace fovea::ops
