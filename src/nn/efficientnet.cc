#include "nn/efficientnet.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "nn/stage.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tensor/tape.h"

namespace fovea::nn {

// ---- config

EfficientNetConfig::EfficientNetConfig(const base::Config& c, std::string_view who) {
  c.Read("num_channels", num_channels, 1, 64);
  c.Read("depth_divisor", depth_divisor, 1, 65536);
  c.Read("hidden_dim", hidden_dim, 1, 1e6);
  c.Read("width_coefficient", width_coefficient, 0.01, 16);
  c.Read("depth_coefficient", depth_coefficient, 0.01, 8);
  c.Read("squeeze_expansion_ratio", squeeze_expansion_ratio, 0, 1);
  c.Read("batch_norm_eps", batch_norm_eps, 1e-12, 1);
  c.Read("batch_norm_momentum", batch_norm_momentum, 0, 1);
  c.Read("drop_connect_rate", drop_connect_rate, 0, 0.99);
  c.Read("in_channels", in_channels, 1, 65536);
  c.Read("out_channels", out_channels, 1, 65536);
  c.Read("kernel_sizes", kernel_sizes, 1, 31);
  c.Read("strides", strides, 1, 2);
  c.Read("num_block_repeats", num_block_repeats, 1, 16);
  c.Read("expand_ratios", expand_ratios, 1, 64);
  c.Read("depthwise_padding", depthwise_padding, 0, 1e6);
  c.Read("hidden_act", hidden_act);
  c.Read("pooling_type", pooling_type);
  c.Read("fix_head_stem", fix_head_stem);
  act = ActFromName(hidden_act, who);
  const size_t stages = in_channels.size();
  Require(stages >= 1 && stages <= 64, "[", who, "] expected 1 to 64 stages, got ", stages);
  for (const auto* list : {&kernel_sizes, &out_channels, &strides, &num_block_repeats, &expand_ratios}) {
    Require(list->size() == stages, "[", who, "] expected lists of ", stages, " stages, got one of ", list->size());
  }
  for (const int64_t kernel : kernel_sizes) Require(kernel % 2 == 1, "[", who, "] expected odd kernels, got ", kernel);
  Require(pooling_type == "mean" || pooling_type == "max", "[", who, "] unknown pooling_type \"", pooling_type, "\"");
}

int64_t EfficientNetConfig::RoundFilters(int64_t channels) const {
  const double scaled = static_cast<double>(channels) * width_coefficient;
  const auto divisor = static_cast<double>(depth_divisor);
  const int64_t rounded =
      std::max(depth_divisor, static_cast<int64_t>(std::floor((scaled + divisor / 2) / divisor)) * depth_divisor);
  return static_cast<double>(rounded) < 0.9 * scaled ? rounded + depth_divisor : rounded;
}

int64_t EfficientNetConfig::Repeats(size_t stage) const {
  const bool is_fixed = fix_head_stem && (stage == 0 || stage + 1 == in_channels.size());
  return is_fixed ? num_block_repeats[stage]
                  : static_cast<int64_t>(std::ceil(depth_coefficient * static_cast<double>(num_block_repeats[stage])));
}

std::vector<EfficientNetBlockOptions> EfficientNetConfig::Plan() const {
  std::vector<EfficientNetBlockOptions> plan;
  for (size_t stage = 0; stage < in_channels.size(); ++stage) {
    const bool keeps_stem = stage == 0 && fix_head_stem;
    EfficientNetBlockOptions block{.in = keeps_stem ? StemChannels() : RoundFilters(in_channels[stage]),
                                   .out = RoundFilters(out_channels[stage]),
                                   .kernel_size = kernel_sizes[stage],
                                   .stride = strides[stage],
                                   .expand_ratio = expand_ratios[stage]};
    for (int64_t repeat = 0; repeat < Repeats(stage); ++repeat) {
      block.is_square_padded = std::ranges::count(depthwise_padding, static_cast<int64_t>(plan.size())) > 0;
      plan.push_back(block);
      block.in = block.out;
      block.stride = 1;
      block.has_residual = true;
    }
  }
  const auto count = static_cast<double>(plan.size());
  for (size_t i = 0; i < plan.size(); ++i) plan[i].drop_rate = drop_connect_rate * static_cast<double>(i) / count;
  return plan;
}

BatchNorm2d::Options EfficientNetConfig::Norm(int64_t channels) const {
  return {.channels = channels,
          .eps = static_cast<float>(batch_norm_eps),
          .momentum = static_cast<float>(batch_norm_momentum)};
}

// ---- modules

SqueezeExcite::SqueezeExcite(int64_t channels, int64_t squeezed, Act hidden_act)
    : reduce({.in_channels = channels, .out_channels = squeezed}),
      expand({.in_channels = squeezed, .out_channels = channels}),
      act(hidden_act) {}

void SqueezeExcite::Visit(Visitor& v) {
  v("reduce", reduce);
  v("expand", expand);
}

Tensor SqueezeExcite::operator()(const Tensor& x) const {
  auto [B, P, Q, C] = x.Dims<4>("squeeze_excite");
  const Tensor mean = Reshape(GlobalAvgPool(x), {B, 1, 1, C});  // [B,1,1,C]
  return x * expand(reduce(mean, {}, act), {}, Act::kSigmoid);  // [B,P,Q,C]
}

EfficientNetBlock::EfficientNetBlock(const EfficientNetConfig& config, const EfficientNetBlockOptions& o)
    : options(o),
      depthwise({.in_channels = o.in * o.expand_ratio,
                 .out_channels = o.in * o.expand_ratio,
                 .kernel_size = o.kernel_size,
                 .groups = o.in * o.expand_ratio,
                 .has_bias = false},
                config.Norm(o.in * o.expand_ratio), config.act),
      projection({.in_channels = o.in * o.expand_ratio, .out_channels = o.out, .has_bias = false}, config.Norm(o.out),
                 Act::kIdentity) {
  const int64_t wide = o.in * o.expand_ratio;
  if (o.expand_ratio != 1) {
    BatchNorm2d::Options norm = config.Norm(wide);
    norm.momentum = 0.1f;  // the reference leaves this one at PyTorch's default
    expansion.emplace(Conv2dOptions{.in_channels = o.in, .out_channels = wide, .has_bias = false}, norm, config.act);
  }
  if (config.squeeze_expansion_ratio > 0) {
    const auto squeezed = static_cast<int64_t>(static_cast<double>(o.in) * config.squeeze_expansion_ratio);
    squeeze_excite.emplace(wide, std::max<int64_t>(1, squeezed), config.act);
  }
}

void EfficientNetBlock::Visit(Visitor& v) {
  if (expansion) {
    v("expansion.expand_conv", expansion->conv);
    v("expansion.expand_bn", expansion->norm);
  }
  v("depthwise_conv.depthwise_conv", depthwise.conv);
  v("depthwise_conv.depthwise_norm", depthwise.norm);
  v("squeeze_excite", squeeze_excite);
  v("projection.project_conv", projection.conv);
  v("projection.project_bn", projection.norm);
}

Conv2dGeometry EfficientNetBlock::DepthwiseGeometry() const {
  const int64_t after = options.kernel_size / 2, stride = options.stride;
  const int64_t before = stride == 1 || options.is_square_padded ? after : after - 1;
  return {.stride_y = stride,
          .stride_x = stride,
          .pad_top = before,
          .pad_left = before,
          .pad_bottom = after,
          .pad_right = after};
}

Tensor EfficientNetBlock::operator()(const Tensor& x) const {
  Tensor h = expansion ? (*expansion)(x) : x;                           // [B,P,Q,rC]
  h = depthwise(h, DepthwiseGeometry());                                // [B,P',Q',rC]
  if (squeeze_excite) h = (*squeeze_excite)(h);                         // [B,P',Q',rC]
  h = projection(h);                                                    // [B,P',Q',C']
  return options.has_residual ? Dropout(h, options.drop_rate) + x : h;  // [B,P',Q',C']
}

EfficientNetBody::EfficientNetBody(const EfficientNetConfig& c)
    : stem({.in_channels = c.num_channels, .out_channels = c.StemChannels(), .kernel_size = 3, .has_bias = false},
           c.Norm(c.StemChannels()), c.act),
      takes_maximum(c.pooling_type == "max") {
  for (const EfficientNetBlockOptions& options : c.Plan()) blocks.emplace_back(c, options);
}

void EfficientNetBody::Visit(Visitor& v) {
  v("embeddings.convolution", stem.conv);
  v("embeddings.batchnorm", stem.norm);
  v("encoder.blocks", blocks);
}

Tensor EfficientNetBody::operator()(const Tensor& pixels, const std::string& prefix) const {
  Tensor h = stem(pixels, {.stride_y = 2, .stride_x = 2, .pad_bottom = 1, .pad_right = 1});
  h = Stage(prefix + "embeddings", h);  // [B,Y/2,X/2,C]
  for (size_t i = 0; i < blocks.size(); ++i)
    h = Stage(prefix + "blocks", static_cast<int64_t>(i), Tape::Recomputed(h, std::cref(blocks[i])));
  return h;  // [B,P,Q,C']
}

Tensor EfficientNetBody::Pool(const Tensor& grid) const {
  return takes_maximum ? Max(grid, {1, 2}) : GlobalAvgPool(grid);
}

}  // namespace fovea::nn
