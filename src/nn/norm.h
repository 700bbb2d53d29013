// Normalisation layers with their weights.
#pragma once

#include "nn/parameter.h"
#include "ops/arithmetic.h"
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

enum class NormKind : uint8_t {
  kLayerNorm,
  kRms,         // no mean, no bias (Zhang and Sennrich 2019, arXiv 1910.07467)
  kRmsPlusOne,  // scaled by 1 + weight, as Gemma
};

struct NormOptions {
  NormKind kind = NormKind::kLayerNorm;
  double eps = 1e-5;
};

// The norm that a family uses, over the last axis. weight [D]; bias [D] of a LayerNorm.
class Norm {
 public:
  Norm(int64_t size, const NormOptions& options) : weight(Shape{size}), bias(Shape{size}), options_(options) {}

  Tensor operator()(const Tensor& x) const {  // [...,D] -> [...,D]
    const auto eps = static_cast<float>(options_.eps);
    if (options_.kind == NormKind::kLayerNorm) return fovea::LayerNorm(x, weight, bias, eps);
    if (options_.kind == NormKind::kRms) return fovea::RmsNorm(x, weight, eps);
    return fovea::RmsNorm(x, weight.value() + 1.0f, eps);
  }
  void Visit(Visitor& v) {
    v("weight", weight);
    if (options_.kind == NormKind::kLayerNorm) v("bias", bias);
  }

  Parameter weight, bias;

 private:
  NormOptions options_;
};

}  // namespace fovea::nn
