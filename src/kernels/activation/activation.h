// Elementwise activation functions and their derivatives.
//
// Contract: tensors are contiguous, of equal shape and of the same type, f32 or bf16 (computed in f32). `y` may be `x`.
#pragma once

#include <string_view>

#include "tensor/tensor.h"

namespace fovea::kernels {

// Named as `hidden_act` in config.json: "relu", "relu6", "silu" ("swish"), "gelu", "gelu_new" ("gelu_pytorch_tanh"),
// "quick_gelu", "sigmoid", "tanh", "linear" (identity).
enum class Act : uint8_t { kIdentity, kRelu, kRelu6, kSilu, kGelu, kGeluTanh, kQuickGelu, kSigmoid, kTanh };

// Throws kUnimplemented naming `who` for a name not in the list above.
Act ActFromName(std::string_view name, std::string_view who);
std::string_view ActName(Act act);

// y = act(x).
void Activate(Act act, const Tensor& x, Tensor& y);
// dx = dy * act'(x).
void ActivateBackward(Act act, const Tensor& x, const Tensor& dy, Tensor& dx);

namespace ref {
void Activate(Act act, const Tensor& x, Tensor& y);
void ActivateBackward(Act act, const Tensor& x, const Tensor& dy, Tensor& dx);
}  // namespace ref

}  // namespace fovea::kernels
