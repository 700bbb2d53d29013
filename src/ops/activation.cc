#include "ops/activation.h"

#include "ops/checks.h"
#include "tensor/tape.h"

namespace fovea {

Tensor Activate(const Tensor& x, Act act) {
  ops::RequireFloat(x, kernels::ActName(act).data());
  const Tensor input = x.Contiguous();
  Tensor y = Tensor::Empty(x.shape(), x.dtype());
  kernels::Activate(act, input, y);
  return Record({&x}, y, [input, act](const Tensor& dy, const Needs&) {
    Tensor dx = Tensor::Empty(input.shape(), input.dtype());
    kernels::ActivateBackward(act, input, dy, dx);
    return InputGradients{dx};
  });
}

Tensor Relu(const Tensor& x) { return Activate(x, Act::kRelu); }
Tensor Relu6(const Tensor& x) { return Activate(x, Act::kRelu6); }
Tensor Silu(const Tensor& x) { return Activate(x, Act::kSilu); }
Tensor Gelu(const Tensor& x) { return Activate(x, Act::kGelu); }
Tensor GeluTanh(const Tensor& x) { return Activate(x, Act::kGeluTanh); }
Tensor QuickGelu(const Tensor& x) { return Activate(x, Act::kQuickGelu); }
Tensor Sigmoid(const Tensor& x) { return Activate(x, Act::kSigmoid); }
Tensor Tanh(const Tensor& x) { return Activate(x, Act::kTanh); }

}  // namespace fovea
