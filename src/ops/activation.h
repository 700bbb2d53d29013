// Elementwise activation functions, recorded on the tape. Inputs f32 or bf16 of any shape; outputs have the input's
// shape and type. NaN stays NaN.
#pragma once

#include "kernels/activation/activation.h"
#include "tensor/tensor.h"

namespace fovea {

using kernels::Act;
using kernels::ActFromName;

// act(x). ActFromName turns the name in a config file into an Act.
Tensor Activate(const Tensor& x, Act act);

Tensor Relu(const Tensor& x);       // max(x, 0); derivative 0 at 0
Tensor Relu6(const Tensor& x);      // min(max(x, 0), 6); derivative 0 at 0 and 6
Tensor Silu(const Tensor& x);       // x sigmoid(x)
Tensor Gelu(const Tensor& x);       // x (1 + erf(x / sqrt 2)) / 2
Tensor GeluTanh(const Tensor& x);   // the tanh approximation of Gelu
Tensor QuickGelu(const Tensor& x);  // x sigmoid(1.702 x)
Tensor Sigmoid(const Tensor& x);
Tensor Tanh(const Tensor& x);

}  // namespace fovea
