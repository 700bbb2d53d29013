// The linear layer.
#pragma once

#include "nn/derived.h"
#include "nn/parameter.h"
#include "ops/matmul.h"

namespace fovea::nn {

struct LinearOptions {
  int64_t in_features, out_features;
  bool has_bias = true;
};

// weight [O,I] in PyTorch order, bias [O].
class Linear {
 public:
  explicit Linear(const LinearOptions& options);

  // act(x W^T + b): x [...,I] -> [...,O]. Computes in the type of x.
  Tensor operator()(const Tensor& x, kernels::Act act = kernels::Act::kIdentity) const;
  void Visit(Visitor& v);

  Parameter weight, bias;

 private:
  bool has_bias_;
  Derived<kernels::PackedLinear> packed_;
};

}  // namespace fovea::nn
