// Normalisation layers with their weights.
#pragma once

#include "nn/parameter.h"
#include "ops/norm.h"

namespace fovea::nn {

// weight, bias [D]; over the last axis.
class LayerNorm {
 public:
  LayerNorm(int64_t size, double eps) : weight(Shape{size}), bias(Shape{size}), eps_(static_cast<float>(eps)) {}

  Tensor operator()(const Tensor& x) const { return fovea::LayerNorm(x, weight, bias, eps_); }  // [...,D] -> [...,D]
  void Visit(Visitor& v) {
    v("weight", weight);
    v("bias", bias);
  }

  Parameter weight, bias;

 private:
  float eps_;
};

}  // namespace fovea::nn
