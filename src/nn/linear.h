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

// The type in which a layer packs `weight` for inputs of type `input`: that of the input, but a bf16 weight stays bf16,
// which is exact for f32 inputs and half the memory.
inline DType PackedType(const Parameter& weight, DType input) {
  return weight.value().dtype() == DType::kBF16 ? DType::kBF16 : input;
}

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
