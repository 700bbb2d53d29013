// Convolutional blocks: Conv2d, BatchNorm2d, and their combination with an activation. Under a tape they run operator
// by operator; without one they use packed and folded copies of the weights.
#pragma once

#include "nn/derived.h"
#include "nn/parameter.h"
#include "ops/conv.h"
#include "tensor/tape.h"

namespace fovea::nn {

struct Conv2dOptions {
  int64_t in_channels, out_channels;
  int64_t kernel_size = 1;  // square
  int64_t groups = 1;
  bool has_bias = true;
};

// weight [O,C/groups,K,K], bias [O].
class Conv2d {
 public:
  explicit Conv2d(const Conv2dOptions& options);

  // act(conv(x)): x [B,Y,X,C] -> [B,P,Q,O]. Strides, padding and dilation come with the call because some networks
  // compute them from the size of the picture; geometry.groups is set here.
  Tensor operator()(const Tensor& x, Conv2dGeometry geometry = {}, Act act = Act::kIdentity) const;

  void Visit(Visitor& v);

  Parameter weight, bias;

 private:
  friend class ConvNormAct;
  Conv2dOptions options_;
  Derived<kernels::PackedConv2d> packed_;
};

// Batch normalisation over [B,Y,X,C]. While training (Tape::IsTraining) it uses the statistics of the batch and updates
// the running ones.
class BatchNorm2d {
 public:
  struct Options {
    int64_t channels;
    float eps = 1e-5f;
    float momentum = 0.1f;  // weight of the new batch in the running statistics, as in PyTorch
  };
  explicit BatchNorm2d(const Options& options);

  Tensor operator()(const Tensor& x) const;
  void Visit(Visitor& v);

  Parameter weight, bias, running_mean, running_var, num_batches_tracked;

  const Options& options() const { return options_; }
  uint64_t version() const;

 private:
  Options options_;
};

// act(norm(conv(x))) with the names of its parts chosen by the owner, who visits `conv` and `norm` itself. Where the
// norm uses its running statistics it is folded into the convolution; where nothing is recorded (in inference, and in a
// part that is not trained) the activation is fused as well: one pass over memory instead of three.
class ConvNormAct {
 public:
  ConvNormAct(const Conv2dOptions& options, const BatchNorm2d::Options& norm_options, Act act);

  Tensor operator()(const Tensor& x, Conv2dGeometry geometry = {}) const;

  Conv2d conv;
  BatchNorm2d norm;

 private:
  bool IsTracked(const Tape& tape, const Tensor& x) const;
  Tensor FoldedOnTape(const Tensor& x, const Conv2dGeometry& geometry) const;
  std::shared_ptr<const kernels::PackedConv2d> Folded(const Conv2dGeometry& geometry, DType dtype) const;

  Act act_;
  Derived<kernels::PackedConv2d> folded_;
};

}  // namespace fovea::nn
