// The body of EfficientNet (Tan and Le 2019, arXiv 1905.11946): a convolution and inverted bottlenecks, for
// EfficientNet itself and for the vision tower of ALIGN. What stands on top belongs to their files.
//
// Legend: B batch, Y X picture, P Q grid after the strides so far, C channels.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "nn/conv.h"

namespace fovea::nn {

// What sets one block apart from the next.
struct EfficientNetBlockOptions {
  int64_t in, out, kernel_size, stride, expand_ratio;
  bool has_residual = false, is_square_padded = false;
  double drop_rate = 0;
};

// The keys of config.json, defaults as in transformers.
struct EfficientNetConfig {
  int64_t num_channels = 3, depth_divisor = 8, hidden_dim = 2560;
  double width_coefficient = 2.0, depth_coefficient = 3.1, squeeze_expansion_ratio = 0.25;
  double batch_norm_eps = 0.001, batch_norm_momentum = 0.99, drop_connect_rate = 0.2;
  std::vector<int64_t> in_channels = {32, 16, 24, 40, 80, 112, 192}, out_channels = {16, 24, 40, 80, 112, 192, 320};
  std::vector<int64_t> kernel_sizes = {3, 3, 5, 3, 5, 5, 3}, strides = {1, 2, 2, 2, 1, 2, 1};
  std::vector<int64_t> num_block_repeats = {1, 2, 2, 3, 3, 4, 1}, expand_ratios = {1, 6, 6, 6, 6, 6, 6};
  std::vector<int64_t> depthwise_padding;  // blocks whose strided convolution pads evenly
  std::string hidden_act = "swish", pooling_type = "mean";
  bool fix_head_stem = false;  // Lite: stem and head keep their width, first and last stage their depth
  Act act;                     // of hidden_act

  // `who` names the model in errors. Throws kInvalidArgument / kUnimplemented naming the option.
  EfficientNetConfig(const base::Config& config, std::string_view who);

  int64_t RoundFilters(int64_t channels) const;
  int64_t StemChannels() const { return fix_head_stem ? 32 : RoundFilters(32); }
  int64_t HeadChannels() const { return fix_head_stem ? 1280 : RoundFilters(1280); }
  int64_t BodyChannels() const { return RoundFilters(out_channels.back()); }  // C of the body's output
  std::vector<EfficientNetBlockOptions> Plan() const;                         // one entry a block, in order
  BatchNorm2d::Options Norm(int64_t channels) const;

 private:
  int64_t Repeats(size_t stage) const;
};

// Scales each channel by a weight computed from the mean of all channels (Hu et al. 2018).
struct SqueezeExcite {
  SqueezeExcite(int64_t channels, int64_t squeezed, Act hidden_act);
  void Visit(Visitor& v);
  Tensor operator()(const Tensor& x) const;  // [B,P,Q,C] -> [B,P,Q,C]

  Conv2d reduce, expand;
  Act act;
};

// Widen by 1x1, look around by a depthwise convolution, weigh, narrow by 1x1.
struct EfficientNetBlock {
  EfficientNetBlock(const EfficientNetConfig& config, const EfficientNetBlockOptions& options);
  void Visit(Visitor& v);
  Tensor operator()(const Tensor& x) const;  // [B,P,Q,C] -> [B,P',Q',C']

  EfficientNetBlockOptions options;
  Optional<ConvNormAct> expansion;
  ConvNormAct depthwise;
  Optional<SqueezeExcite> squeeze_excite;
  ConvNormAct projection;

 private:
  Conv2dGeometry DepthwiseGeometry() const;
};

// Visited as "embeddings" and "encoder.blocks" under the owner's prefix.
struct EfficientNetBody {
  explicit EfficientNetBody(const EfficientNetConfig& config);
  void Visit(Visitor& v);

  // pixels [B,Y,X,C] -> [B,P,Q,C']. Stages: `prefix` + "embeddings" and "blocks.<i>".
  Tensor operator()(const Tensor& pixels, const std::string& prefix = "") const;
  // The same in two parts: stem and the first `count` blocks; the blocks from `first` on.
  Tensor Begin(const Tensor& pixels, int64_t count, const std::string& prefix = "") const;  // [B,Y,X,C] -> [B,P,Q,C']
  Tensor Continue(const Tensor& grid, int64_t first,
                  const std::string& prefix = "") const;  // [B,P,Q,C'] -> [B,P',Q',C'']
  // [B,P,Q,C] -> [B,C], as pooling_type says.
  Tensor Pool(const Tensor& grid) const;

  ConvNormAct stem;
  List<EfficientNetBlock> blocks;
  bool takes_maximum;
};

}  // namespace fovea::nn
