#include "ops/softmax.h"

#include "kernels/softmax/softmax.h"
#include "ops/checks.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

using Forward = void (*)(const Tensor&, Tensor&);
using Backward = void (*)(const Tensor&, const Tensor&, Tensor&);

Tensor AlongLastAxis(const Tensor& x, Forward forward, Backward backward, const char* who) {
  ops::RequireFloat(x, who);
  Require(x.rank() >= 1 && x.dim(-1) > 0, "[", who, "] expected at least one element along the last axis, got ",
          x.shape());
  const Shape rows{x.numel() / x.dim(-1), x.dim(-1)};
  Tensor y = Tensor::Empty(rows, x.dtype());
  forward(x.Contiguous().View(rows), y);
  return Record({&x}, y.View(x.shape()), [y, backward, shape = x.shape()](const Tensor& dy, const Needs&) {
    Tensor dx = Tensor::Empty(y.shape(), y.dtype());
    backward(y, dy.View(y.shape()), dx);
    return InputGradients{dx.View(shape)};
  });
}

}  // namespace

Tensor Softmax(const Tensor& x) { return AlongLastAxis(x, kernels::Softmax, kernels::SoftmaxBackward, "softmax"); }

Tensor LogSoftmax(const Tensor& x) {
  return AlongLastAxis(x, kernels::LogSoftmax, kernels::LogSoftmaxBackward, "log_softmax");
}

}  // namespace fovea
