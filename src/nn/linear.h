// The linear layer, and two ways of sharing: several layers with one input, and a layer that reads a table of vectors.
#pragma once

#include <initializer_list>

#include "nn/derived.h"
#include "nn/parameter.h"
#include "ops/matmul.h"

namespace fovea::nn {

struct LinearOptions {
  int64_t in_features, out_features;
  bool has_bias = true;
  bool is_transposed = false;  // the weight is [I,O], as TensorFlow's and GPT-2's
};

// The type in which a layer packs `weight` for inputs of type `input`: that of the input, but a bf16 weight stays bf16,
// which is exact for f32 inputs and half the memory.
inline DType PackedType(const Parameter& weight, DType input) {
  return weight.value().dtype() == DType::kBF16 ? DType::kBF16 : input;
}

// weight [O,I] in PyTorch order (or [I,O], see above), bias [O]. Weights may be blocks (Parameter::AssignBlocks), for
// all three layers of this header: the product reads them as they are.
class Linear {
 public:
  explicit Linear(const LinearOptions& options);

  // act(x W^T + b): x [...,I] -> [...,O]. Computes in the type of x.
  Tensor operator()(const Tensor& x, kernels::Act act = kernels::Act::kIdentity) const;
  void Visit(Visitor& v);

  Parameter weight, bias;

  bool has_bias() const { return has_bias_; }

 private:
  bool has_bias_, is_transposed_;
  Derived<kernels::PackedLinear> packed_;
};

// Linear layers with one input (queries, keys and values), multiplied by at once in inference: one joined copy of their
// weights instead of one packed copy each. Of weights in PyTorch order.
class JoinedLinear {
 public:
  // x [...,I] -> [...,O1+O2+...], in the order of `parts`: always the same ones. Nothing is recorded.
  Tensor operator()(const Tensor& x, std::initializer_list<const Linear*> parts) const;

 private:
  Derived<kernels::PackedLinear> packed_;
  Derived<Tensor> bias_;
};

// A linear layer without bias whose weight [V,D] belongs to somebody else: an output head tied to the vectors of words.
class TiedLinear {
 public:
  Tensor operator()(const Tensor& x, const Parameter& weight) const;  // [...,D] -> [...,V]

 private:
  Derived<kernels::PackedLinear> packed_;
};

}  // namespace fovea::nn
