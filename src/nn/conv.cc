#include "nn/conv.h"

#include <cmath>

#include "ops/activation.h"
#include "ops/norm.h"

namespace fovea::nn {
namespace {

// Packed weights hold their geometry and the type they compute in; a layer used with several (a picture of another size
// can need other padding) packs again.
uint64_t UseVersion(const Conv2dGeometry& g, DType dtype) {
  uint64_t hash = 0xCBF29CE484222325u + static_cast<uint64_t>(dtype);
  for (const int64_t part :
       {g.stride_y, g.stride_x, g.pad_top, g.pad_left, g.pad_bottom, g.pad_right, g.dilation_y, g.dilation_x}) {
    hash = (hash ^ static_cast<uint64_t>(part)) * 0x100000001B3u;
  }
  return hash;
}

}  // namespace

Conv2d::Conv2d(const Conv2dOptions& options)
    : weight(Parameter::Packed(
          {options.out_channels, options.in_channels / options.groups, options.kernel_size, options.kernel_size})),
      bias(Shape{options.out_channels}),
      options_(options) {}

Tensor Conv2d::operator()(const Tensor& x, Conv2dGeometry geometry, Act act) const {
  geometry.groups = options_.groups;
  if (Tape::Active() != nullptr) {
    const Tensor y = fovea::Conv2d(x, weight, options_.has_bias ? bias.value() : Tensor(), geometry);
    return act == Act::kIdentity ? y : Activate(y, act);
  }
  const uint64_t version =
      weight.version() + bias.version() + UseVersion(geometry, x.dtype()) + static_cast<uint64_t>(act);
  const auto packed = packed_.Get(version, [&] {
    const Tensor bias_value = options_.has_bias ? bias.value().To(x.dtype()) : Tensor();
    return std::make_shared<const kernels::PackedConv2d>(weight.value().To(x.dtype()), bias_value, geometry, act);
  });
  return fovea::Conv2d(x, *packed, weight.shape());
}

void Conv2d::Visit(Visitor& v) {
  v("weight", weight);
  if (options_.has_bias) v("bias", bias);
}

BatchNorm2d::BatchNorm2d(const Options& options)
    : weight(Shape{options.channels}),
      bias(Shape{options.channels}),
      running_mean(Shape{options.channels}, Parameter::Kind::kBuffer),
      running_var(Shape{options.channels}, Parameter::Kind::kBuffer),
      num_batches_tracked(Shape{}, Parameter::Kind::kCounter),
      options_(options) {}

Tensor BatchNorm2d::operator()(const Tensor& x) const {
  if (Tape::IsTraining() && !Tape::IsRecomputing()) {
    running_mean.MarkChanged();
    running_var.MarkChanged();
    if (num_batches_tracked.has_value()) ++*num_batches_tracked.value().mutable_data<int64_t>();
  }
  return BatchNorm(x, {.gamma = weight, .beta = bias, .running_mean = running_mean, .running_variance = running_var},
                   {.eps = options_.eps, .momentum = options_.momentum});
}

void BatchNorm2d::Visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
  v("running_mean", running_mean);
  v("running_var", running_var);
  v("num_batches_tracked", num_batches_tracked);
}

uint64_t BatchNorm2d::version() const {
  return weight.version() + bias.version() + running_mean.version() + running_var.version();
}

ConvNormAct::ConvNormAct(const Conv2dOptions& options, const BatchNorm2d::Options& norm_options, Act act)
    : conv(options), norm(norm_options), act_(act) {}

Tensor ConvNormAct::operator()(const Tensor& x, Conv2dGeometry geometry) const {
  if (Tape::Active() != nullptr) {
    const Tensor y = norm(conv(x, geometry));
    return act_ == Act::kIdentity ? y : Activate(y, act_);
  }
  geometry.groups = conv.options_.groups;
  const uint64_t version =
      conv.weight.version() + conv.bias.version() + norm.version() + UseVersion(geometry, x.dtype());
  const auto folded = folded_.Get(version, [&] { return Folded(geometry, x.dtype()); });
  return fovea::Conv2d(x, *folded, conv.weight.shape());
}

// norm(conv(x)) = conv(x) * scale + (beta - mean * scale) with scale = gamma / sqrt(variance + eps), per output
// channel.
std::shared_ptr<const kernels::PackedConv2d> ConvNormAct::Folded(const Conv2dGeometry& geometry, DType dtype) const {
  const Tensor gamma = norm.weight.value().To(DType::kF32), beta = norm.bias.value().To(DType::kF32);
  const Tensor mean = norm.running_mean.value().To(DType::kF32), variance = norm.running_var.value().To(DType::kF32);
  Tensor weight = conv.weight.value().To(DType::kF32);
  if (!weight.is_sole_owner()) weight = weight.Clone();  // it was f32 already: leave the parameter alone
  Tensor bias = Tensor::Empty({weight.dim(0)});
  const int64_t fan_in = weight.numel() / weight.dim(0);
  for (int64_t o = 0; o < weight.dim(0); ++o) {
    const float scale = gamma.data<float>()[o] / std::sqrt(variance.data<float>()[o] + norm.options().eps);
    float* row = weight.mutable_data<float>() + o * fan_in;
    for (int64_t i = 0; i < fan_in; ++i) row[i] *= scale;
    const float conv_bias = conv.options_.has_bias ? conv.bias.value().To(DType::kF32).data<float>()[o] : 0.0f;
    bias.mutable_data<float>()[o] = beta.data<float>()[o] + (conv_bias - mean.data<float>()[o]) * scale;
  }
  return std::make_shared<const kernels::PackedConv2d>(weight.To(dtype), bias.To(dtype), geometry, act_);
}

}  // namespace fovea::nn
