// EfficientNet (B0-B7) and EfficientNet-Lite (0-4): image classifiers built from inverted bottlenecks.
//
// Paper: Tan and Le 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, arXiv 1905.11946.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/efficientnet/modeling_efficientnet.py
// Lite: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (ReLU6, no squeeze-excite).
//
// Legend: B batch, Y X picture, P Q grid after the strides so far, C channels, D features, V classes.
#include <algorithm>
#include <cmath>

#include "nn/conv.h"
#include "nn/entry.h"
#include "nn/linear.h"
#include "nn/stage.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

// What sets one block apart from the next.
struct BlockOptions {
  int64_t in, out, kernel_size, stride, expand_ratio;
  bool has_residual = false, is_square_padded = false;
  double drop_rate = 0;
};

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t num_channels = 3, depth_divisor = 8, hidden_dim = 2560, num_labels = 0;
  double width_coefficient = 2.0, depth_coefficient = 3.1, squeeze_expansion_ratio = 0.25;
  double batch_norm_eps = 0.001, batch_norm_momentum = 0.99, dropout_rate = 0.5, drop_connect_rate = 0.2;
  std::vector<int64_t> in_channels = {32, 16, 24, 40, 80, 112, 192}, out_channels = {16, 24, 40, 80, 112, 192, 320};
  std::vector<int64_t> kernel_sizes = {3, 3, 5, 3, 5, 5, 3}, strides = {1, 2, 2, 2, 1, 2, 1};
  std::vector<int64_t> num_block_repeats = {1, 2, 2, 3, 3, 4, 1}, expand_ratios = {1, 6, 6, 6, 6, 6, 6};
  std::vector<int64_t> depthwise_padding;  // blocks whose strided convolution pads evenly
  std::string hidden_act = "swish", pooling_type = "mean";
  bool fix_head_stem = false;  // Lite: stem and head keep their width, first and last stage their depth
  Act act;                     // of hidden_act

  explicit Config(const base::Config& c) : num_labels(NumLabels(c)) {
    c.Read("num_channels", num_channels, 1, 64);
    c.Read("depth_divisor", depth_divisor, 1, 65536);
    c.Read("hidden_dim", hidden_dim, 1, 1e6);
    c.Read("width_coefficient", width_coefficient, 0.01, 16);
    c.Read("depth_coefficient", depth_coefficient, 0.01, 8);
    c.Read("squeeze_expansion_ratio", squeeze_expansion_ratio, 0, 1);
    c.Read("batch_norm_eps", batch_norm_eps, 1e-12, 1);
    c.Read("batch_norm_momentum", batch_norm_momentum, 0, 1);
    c.Read("dropout_rate", dropout_rate, 0, 0.99);
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
    act = ActFromName(hidden_act, "efficientnet");
    Validate();
  }

  static int64_t NumLabels(const base::Config& c) {
    const auto architectures = c.Get<std::vector<std::string>>("architectures", {});
    if (std::find(architectures.begin(), architectures.end(), "EfficientNetModel") != architectures.end()) return 0;
    return c.Has("id2label") ? static_cast<int64_t>(c.Object("id2label").Keys().size())
                             : c.Get<int64_t>("num_labels", 2);
  }

  void Validate() const {
    const size_t stages = in_channels.size();
    Require(stages >= 1 && stages <= 64, "[efficientnet] expected 1 to 64 stages, got ", stages);
    for (const auto* list : {&kernel_sizes, &out_channels, &strides, &num_block_repeats, &expand_ratios}) {
      Require(list->size() == stages, "[efficientnet] expected lists of ", stages, " stages, got ", list->size());
    }
    for (const int64_t kernel : kernel_sizes)
      Require(kernel % 2 == 1, "[efficientnet] expected odd kernels, got ", kernel);
    Require(pooling_type == "mean" || pooling_type == "max", "[efficientnet] unknown pooling_type ", pooling_type);
    Require(hidden_dim == HeadChannels(), "[efficientnet] expected hidden_dim ", HeadChannels(), ", got ", hidden_dim);
  }

  int64_t RoundFilters(int64_t channels) const {
    const double scaled = static_cast<double>(channels) * width_coefficient;
    const auto divisor = static_cast<double>(depth_divisor);
    const int64_t rounded =
        std::max(depth_divisor, static_cast<int64_t>(std::floor((scaled + divisor / 2) / divisor)) * depth_divisor);
    return static_cast<double>(rounded) < 0.9 * scaled ? rounded + depth_divisor : rounded;
  }
  int64_t StemChannels() const { return fix_head_stem ? 32 : RoundFilters(32); }
  int64_t HeadChannels() const { return fix_head_stem ? 1280 : RoundFilters(1280); }
  int64_t Repeats(size_t stage) const {
    const bool is_fixed = fix_head_stem && (stage == 0 || stage + 1 == in_channels.size());
    return is_fixed
               ? num_block_repeats[stage]
               : static_cast<int64_t>(std::ceil(depth_coefficient * static_cast<double>(num_block_repeats[stage])));
  }
  // One entry a block, in order.
  std::vector<BlockOptions> Plan() const {
    std::vector<BlockOptions> plan;
    for (size_t stage = 0; stage < in_channels.size(); ++stage) {
      const bool keeps_stem = stage == 0 && fix_head_stem;
      BlockOptions block{.in = keeps_stem ? StemChannels() : RoundFilters(in_channels[stage]),
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
  nn::BatchNorm2d::Options Norm(int64_t channels) const {
    return {.channels = channels,
            .eps = static_cast<float>(batch_norm_eps),
            .momentum = static_cast<float>(batch_norm_momentum)};
  }
};

// ---- modules
// Scales each channel by a weight computed from the mean of all channels (Hu et al. 2018).
struct SqueezeExcite {
  nn::Conv2d reduce, expand;
  Act act;

  SqueezeExcite(int64_t channels, int64_t squeezed, Act hidden_act)
      : reduce({.in_channels = channels, .out_channels = squeezed}),
        expand({.in_channels = squeezed, .out_channels = channels}),
        act(hidden_act) {}
  void Visit(nn::Visitor& v) {
    v("reduce", reduce);
    v("expand", expand);
  }

  Tensor operator()(const Tensor& x) const {
    auto [B, P, Q, C] = x.Dims<4>("squeeze_excite");
    const Tensor mean = Reshape(GlobalAvgPool(x), {B, 1, 1, C});  // [B,1,1,C]
    return x * expand(reduce(mean, {}, act), {}, Act::kSigmoid);  // [B,P,Q,C]
  }
};

// Widen by 1x1, look around by a depthwise convolution, weigh, narrow by 1x1.
struct Block {
  BlockOptions options;
  nn::Optional<nn::ConvNormAct> expansion;
  nn::ConvNormAct depthwise;
  nn::Optional<SqueezeExcite> squeeze_excite;
  nn::ConvNormAct projection;

  Block(const Config& config, const BlockOptions& o)
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
      nn::BatchNorm2d::Options norm = config.Norm(wide);
      norm.momentum = 0.1f;  // the reference leaves this one at PyTorch's default
      expansion.emplace(nn::Conv2dOptions{.in_channels = o.in, .out_channels = wide, .has_bias = false}, norm,
                        config.act);
    }
    if (config.squeeze_expansion_ratio > 0) {
      const auto squeezed = static_cast<int64_t>(static_cast<double>(o.in) * config.squeeze_expansion_ratio);
      squeeze_excite.emplace(wide, std::max<int64_t>(1, squeezed), config.act);
    }
  }

  void Visit(nn::Visitor& v) {
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

  Conv2dGeometry DepthwiseGeometry() const {
    const int64_t after = options.kernel_size / 2, stride = options.stride;
    const int64_t before = stride == 1 || options.is_square_padded ? after : after - 1;
    return {.stride_y = stride,
            .stride_x = stride,
            .pad_top = before,
            .pad_left = before,
            .pad_bottom = after,
            .pad_right = after};
  }

  Tensor operator()(const Tensor& x) const {
    Tensor h = expansion ? (*expansion)(x) : x;                           // [B,P,Q,rC]
    h = depthwise(h, DepthwiseGeometry());                                // [B,P',Q',rC]
    if (squeeze_excite) h = (*squeeze_excite)(h);                         // [B,P',Q',rC]
    h = projection(h);                                                    // [B,P',Q',C']
    return options.has_residual ? Dropout(h, options.drop_rate) + x : h;  // [B,P',Q',C']
  }
};

struct EfficientNet {
  Config config;
  nn::ConvNormAct stem;
  nn::List<Block> blocks;
  nn::ConvNormAct top;
  nn::Optional<nn::Linear> classifier;

  explicit EfficientNet(const Config& c)
      : config(c),
        stem({.in_channels = c.num_channels, .out_channels = c.StemChannels(), .kernel_size = 3, .has_bias = false},
             c.Norm(c.StemChannels()), c.act),
        top({.in_channels = c.RoundFilters(c.out_channels.back()), .out_channels = c.HeadChannels(), .has_bias = false},
            c.Norm(c.HeadChannels()), c.act) {
    for (const BlockOptions& options : c.Plan()) blocks.emplace_back(c, options);
    if (c.num_labels > 0)
      classifier.emplace(nn::LinearOptions{.in_features = c.hidden_dim, .out_features = c.num_labels});
  }

  void Visit(nn::Visitor& v) {
    v("efficientnet.embeddings.convolution", stem.conv);
    v("efficientnet.embeddings.batchnorm", stem.norm);
    v("efficientnet.encoder.blocks", blocks);
    v("efficientnet.encoder.top_conv", top.conv);
    v("efficientnet.encoder.top_bn", top.norm);
    v("classifier", classifier);
  }

  int64_t FeatureSize() const { return config.hidden_dim; }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    Tensor h = stem(pixels, {.stride_y = 2, .stride_x = 2, .pad_bottom = 1, .pad_right = 1});
    h = nn::Stage("embeddings", h);  // [B,Y/2,X/2,C]
    for (size_t i = 0; i < blocks.size(); ++i) h = nn::Stage("blocks", static_cast<int64_t>(i), blocks[i](h));
    const Tensor grid = nn::Stage("top", top(h));  // [B,P,Q,D]
    const Tensor pooled = config.pooling_type == "max" ? Max(grid, {1, 2}) : GlobalAvgPool(grid);
    const Tensor features = nn::Stage("pooled", pooled);  // [B,D]
    if (!classifier) return {.features = features, .grid = grid, .logits = {}};
    return {
        .features = features, .grid = grid, .logits = (*classifier)(Dropout(features, config.dropout_rate))};  // [B,V]
  }
};

// ---- names of the package efficientnet_lite_pytorch, and of checkpoints without the task's prefix
constexpr Rename kRenames[] = {{"^_conv_stem.", "efficientnet.embeddings.convolution."},
                               {"^_bn0.", "efficientnet.embeddings.batchnorm."},
                               {"^_conv_head.", "efficientnet.encoder.top_conv."},
                               {"^_bn1.", "efficientnet.encoder.top_bn."},
                               {"^_fc.", "classifier."},
                               {"^_blocks.", "efficientnet.encoder.blocks."},
                               {"^embeddings.", "efficientnet.embeddings."},
                               {"^encoder.", "efficientnet.encoder."},
                               {"._expand_conv.", ".expansion.expand_conv."},
                               {"._bn0.", ".expansion.expand_bn."},
                               {"._depthwise_conv.", ".depthwise_conv.depthwise_conv."},
                               {"._bn1.", ".depthwise_conv.depthwise_norm."},
                               {"._se_reduce.", ".squeeze_excite.reduce."},
                               {"._se_expand.", ".squeeze_excite.expand."},
                               {"._project_conv.", ".projection.project_conv."},
                               {"._bn2.", ".projection.project_bn."}};

}  // namespace

const Entry& efficientnet_entry() {
  static const Entry entry{.model_type = "efficientnet",
                           .card = {.title = "EfficientNet",
                                    .paper = "Tan and Le 2019, arXiv 1905.11946",
                                    .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/"
                                                 "transformers/models/efficientnet/modeling_efficientnet.py",
                                    .tasks = "image classification, image features",
                                    .checkpoints = "EfficientNet-Lite0, Lite1, Lite2"},
                           .create = [](const base::Config& config) { return MakeModel(EfficientNet(Config(config))); },
                           .input_spec =
                               [](const base::Config& c) {
                                 Require(!Config(c).fix_head_stem,
                                         "[efficientnet] Lite needs preprocessor_config.json");
                                 return media::PreprocessSpec::OfModel(c);
                               },
                           .renames = kRenames};
  return entry;
}

}  // namespace fovea::models
