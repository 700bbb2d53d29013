// EfficientNet (B0-B7) and EfficientNet-Lite (0-4): image classifiers built from inverted bottlenecks.
//
// Paper: Tan and Le 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, arXiv 1905.11946.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/efficientnet/modeling_efficientnet.py
// Lite: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (ReLU6, no squeeze-excite, stem and head unscaled).
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

using kernels::Act;

// What sets one block apart from the next.
struct BlockOptions {
  int64_t in, out, kernel_size, stride, expand_ratio;
  bool has_residual, is_square_padded;
  double drop_rate;
};

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t num_channels, depth_divisor, hidden_dim, num_labels;
  double width_coefficient, depth_coefficient, squeeze_expansion_ratio, batch_norm_eps, batch_norm_momentum, dropout_rate, drop_connect_rate;
  std::vector<int64_t> kernel_sizes, in_channels, out_channels, depthwise_padding, strides, num_block_repeats, expand_ratios;
  Act hidden_act;
  bool is_max_pooled;
  bool fix_head_stem;  // Lite: stem and head keep their width, first and last stage their depth

  explicit Config(const base::Config& c)
      : num_channels(c.Get<int64_t>("num_channels", 3)), depth_divisor(c.Get<int64_t>("depth_divisor", 8)),
        hidden_dim(c.Get<int64_t>("hidden_dim", 2560)), num_labels(NumLabels(c)), width_coefficient(c.Get<double>("width_coefficient", 2.0)),
        depth_coefficient(c.Get<double>("depth_coefficient", 3.1)), squeeze_expansion_ratio(c.Get<double>("squeeze_expansion_ratio", 0.25)),
        batch_norm_eps(c.Get<double>("batch_norm_eps", 0.001)), batch_norm_momentum(c.Get<double>("batch_norm_momentum", 0.99)),
        dropout_rate(c.Get<double>("dropout_rate", 0.5)), drop_connect_rate(c.Get<double>("drop_connect_rate", 0.2)),
        kernel_sizes(c.Get<std::vector<int64_t>>("kernel_sizes", {3, 3, 5, 3, 5, 5, 3})),
        in_channels(c.Get<std::vector<int64_t>>("in_channels", {32, 16, 24, 40, 80, 112, 192})),
        out_channels(c.Get<std::vector<int64_t>>("out_channels", {16, 24, 40, 80, 112, 192, 320})),
        depthwise_padding(c.Get<std::vector<int64_t>>("depthwise_padding", {})),
        strides(c.Get<std::vector<int64_t>>("strides", {1, 2, 2, 2, 1, 2, 1})),
        num_block_repeats(c.Get<std::vector<int64_t>>("num_block_repeats", {1, 2, 2, 3, 3, 4, 1})),
        expand_ratios(c.Get<std::vector<int64_t>>("expand_ratios", {1, 6, 6, 6, 6, 6, 6})),
        hidden_act(kernels::ActFromName(c.Get<std::string>("hidden_act", "swish"), "efficientnet")),
        is_max_pooled(c.Get<std::string>("pooling_type", "mean") == "max"), fix_head_stem(c.Get<bool>("fix_head_stem", false)) {
    Validate(c);
  }

  static int64_t NumLabels(const base::Config& c) {
    const auto architectures = c.Get<std::vector<std::string>>("architectures", {});
    if (std::find(architectures.begin(), architectures.end(), "EfficientNetModel") != architectures.end()) return 0;
    return c.Has("id2label") ? static_cast<int64_t>(c.Object("id2label").Keys().size()) : c.Get<int64_t>("num_labels", 2);
  }

  void Validate(const base::Config& c) const {
    const auto pooling = c.Get<std::string>("pooling_type", "mean");
    Require(pooling == "mean" || pooling == "max", "[efficientnet] expected pooling_type \"mean\" or \"max\", got \"", pooling, "\"");
    const size_t stages = in_channels.size();
    Require(stages >= 1 && stages <= 64, "[efficientnet] expected 1 to 64 stages, got ", stages);
    for (const auto* list : {&kernel_sizes, &out_channels, &strides, &num_block_repeats, &expand_ratios}) {
      Require(list->size() == stages, "[efficientnet] expected lists of ", stages, " stages as in in_channels, got one of ", list->size());
    }
    const auto in_range = [](const std::vector<int64_t>& list, int64_t low, int64_t high, const char* name) {
      for (const int64_t value : list) Require(value >= low && value <= high, "[efficientnet] expected ", name, " in ", low, "..", high, ", got ", value);
    };
    in_range({num_channels}, 1, 64, "num_channels");
    in_range({depth_divisor, hidden_dim}, 1, 65536, "depth_divisor and hidden_dim");
    in_range({num_labels}, 0, 1000000, "labels");
    in_range(kernel_sizes, 1, 31, "kernel_sizes");
    in_range(strides, 1, 2, "strides");
    in_range(in_channels, 1, 65536, "in_channels");
    in_range(out_channels, 1, 65536, "out_channels");
    in_range(num_block_repeats, 1, 100, "num_block_repeats");
    in_range(expand_ratios, 1, 64, "expand_ratios");
    Require(width_coefficient > 0 && width_coefficient <= 16 && depth_coefficient > 0 && depth_coefficient <= 16,
            "[efficientnet] expected width_coefficient and depth_coefficient in (0,16], got ", width_coefficient, " and ", depth_coefficient);
    Require(squeeze_expansion_ratio >= 0 && squeeze_expansion_ratio <= 1, "[efficientnet] expected squeeze_expansion_ratio in 0..1, got ",
            squeeze_expansion_ratio);
    Require(batch_norm_eps > 0 && dropout_rate >= 0 && dropout_rate < 1 && drop_connect_rate >= 0 && drop_connect_rate < 1,
            "[efficientnet] expected batch_norm_eps > 0 and drop rates in [0,1)");
    for (const int64_t kernel : kernel_sizes) Require(kernel % 2 == 1, "[efficientnet] expected odd kernel_sizes, got ", kernel);
    Require(hidden_dim == HeadChannels(), "[efficientnet] expected hidden_dim ", HeadChannels(), " for this width, got ", hidden_dim);
  }

  int64_t RoundFilters(int64_t channels) const {
    const double scaled = static_cast<double>(channels) * width_coefficient;
    const auto divisor = static_cast<double>(depth_divisor);
    const int64_t rounded = std::max(depth_divisor, static_cast<int64_t>(std::floor((scaled + divisor / 2) / divisor)) * depth_divisor);
    return static_cast<double>(rounded) < 0.9 * scaled ? rounded + depth_divisor : rounded;
  }
  int64_t StemChannels() const { return fix_head_stem ? 32 : RoundFilters(32); }
  int64_t HeadChannels() const { return fix_head_stem ? 1280 : RoundFilters(1280); }
  int64_t Repeats(size_t stage) const {
    const bool is_fixed = fix_head_stem && (stage == 0 || stage + 1 == in_channels.size());
    return is_fixed ? num_block_repeats[stage] : static_cast<int64_t>(std::ceil(depth_coefficient * static_cast<double>(num_block_repeats[stage])));
  }
  // One entry a block, in order.
  std::vector<BlockOptions> Plan() const {
    std::vector<BlockOptions> plan;
    for (size_t stage = 0; stage < in_channels.size(); ++stage) {
      const int64_t out = RoundFilters(out_channels[stage]);
      const int64_t in = stage == 0 && fix_head_stem ? StemChannels() : RoundFilters(in_channels[stage]);
      for (int64_t repeat = 0; repeat < Repeats(stage); ++repeat) {
        const bool is_square = std::count(depthwise_padding.begin(), depthwise_padding.end(), static_cast<int64_t>(plan.size())) > 0;
        plan.push_back({.in = repeat == 0 ? in : out, .out = out, .kernel_size = kernel_sizes[stage], .stride = repeat == 0 ? strides[stage] : 1,
                        .expand_ratio = expand_ratios[stage], .has_residual = repeat > 0, .is_square_padded = is_square, .drop_rate = 0});
      }
    }
    for (size_t i = 0; i < plan.size(); ++i) plan[i].drop_rate = drop_connect_rate * static_cast<double>(i) / static_cast<double>(plan.size());
    return plan;
  }
  nn::BatchNorm2d::Options Norm(int64_t channels) const {
    return {.channels = channels, .eps = static_cast<float>(batch_norm_eps), .momentum = static_cast<float>(batch_norm_momentum)};
  }
};

// ---- modules
// Scales each channel by a weight computed from the mean of all channels (Hu et al. 2018).
struct SqueezeExcite {
  nn::Conv2d reduce, expand;
  Act act;

  SqueezeExcite(int64_t channels, int64_t squeezed, Act hidden_act)
      : reduce({.in_channels = channels, .out_channels = squeezed}), expand({.in_channels = squeezed, .out_channels = channels}), act(hidden_act) {}
  void Visit(nn::Visitor& v) { v("reduce", reduce); v("expand", expand); }

  Tensor operator()(const Tensor& x) const {
    auto [B, P, Q, C] = x.Dims<4>("squeeze_excite");
    const Tensor mean = Reshape(GlobalAvgPool(x), {B, 1, 1, C});                  // [B,1,1,C]
    return x * expand(reduce(mean, {}, act), {}, Act::kSigmoid);                  // [B,P,Q,C]
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
        depthwise({.in_channels = o.in * o.expand_ratio, .out_channels = o.in * o.expand_ratio, .kernel_size = o.kernel_size,
                   .groups = o.in * o.expand_ratio, .has_bias = false}, config.Norm(o.in * o.expand_ratio), config.hidden_act),
        projection({.in_channels = o.in * o.expand_ratio, .out_channels = o.out, .has_bias = false}, config.Norm(o.out), Act::kIdentity) {
    const int64_t wide = o.in * o.expand_ratio;
    if (o.expand_ratio != 1) {
      nn::BatchNorm2d::Options norm = config.Norm(wide);
      norm.momentum = 0.1f;  // the reference leaves this one at PyTorch's default
      expansion.emplace(nn::Conv2dOptions{.in_channels = o.in, .out_channels = wide, .has_bias = false}, norm, config.hidden_act);
    }
    if (config.squeeze_expansion_ratio > 0) {
      const auto squeezed = static_cast<int64_t>(static_cast<double>(o.in) * config.squeeze_expansion_ratio);
      squeeze_excite.emplace(wide, std::max<int64_t>(1, squeezed), config.hidden_act);
    }
  }

  void Visit(nn::Visitor& v) {
    if (expansion) { v("expansion.expand_conv", expansion->conv); v("expansion.expand_bn", expansion->norm); }
    v("depthwise_conv.depthwise_conv", depthwise.conv);
    v("depthwise_conv.depthwise_norm", depthwise.norm);
    v("squeeze_excite", squeeze_excite);
    v("projection.project_conv", projection.conv);
    v("projection.project_bn", projection.norm);
  }

  Conv2dGeometry DepthwiseGeometry(const Tensor& x) const {
    const int64_t k = options.kernel_size, half = k / 2;
    Conv2dGeometry g{.stride_y = options.stride, .stride_x = options.stride};
    if (options.stride == 1) return SamePadding(g, x.dim(1), x.dim(2), k, k);
    g.pad_bottom = g.pad_right = half;
    g.pad_top = g.pad_left = options.is_square_padded ? half : half - 1;
    return g;
  }

  Tensor operator()(const Tensor& x) const {
    Tensor h = expansion ? (*expansion)(x) : x;                                   // [B,P,Q,rC]
    h = depthwise(h, DepthwiseGeometry(h));                                       // [B,P',Q',rC]
    if (squeeze_excite) h = (*squeeze_excite)(h);                                 // [B,P',Q',rC]
    h = projection(h);                                                            // [B,P',Q',C']
    return options.has_residual ? Dropout(h, options.drop_rate) + x : h;          // [B,P',Q',C']
  }
};

struct EfficientNet {
  Config config;
  nn::ConvNormAct stem;
  nn::List<Block> blocks;
  nn::ConvNormAct top;
  nn::Optional<nn::Linear> classifier;

  explicit EfficientNet(const Config& c)
      : config(c), stem({.in_channels = c.num_channels, .out_channels = c.StemChannels(), .kernel_size = 3, .has_bias = false},
                        c.Norm(c.StemChannels()), c.hidden_act),
        top({.in_channels = c.RoundFilters(c.out_channels.back()), .out_channels = c.HeadChannels(), .has_bias = false},
            c.Norm(c.HeadChannels()), c.hidden_act) {
    for (const BlockOptions& options : c.Plan()) blocks.emplace_back(c, options);
    if (c.num_labels > 0) classifier.emplace(nn::LinearOptions{.in_features = c.hidden_dim, .out_features = c.num_labels});
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
    h = nn::Stage("embeddings", h);                                               // [B,Y/2,X/2,C]
    for (size_t i = 0; i < blocks.size(); ++i) h = nn::Stage("blocks", static_cast<int64_t>(i), blocks[i](h));
    const Tensor grid = nn::Stage("top", top(h));                              // [B,P,Q,D]
    const Tensor pooled = config.is_max_pooled ? Max(grid, {1, 2}) : GlobalAvgPool(grid);
    const Tensor features = nn::Stage("pooled", pooled);                          // [B,D]
    if (!classifier) return {.features = features, .grid = grid, .logits = {}};
    return {.features = features, .grid = grid, .logits = (*classifier)(Dropout(features, config.dropout_rate))};  // [B,V]
  }
};

// ---- names of the package efficientnet_lite_pytorch, and of checkpoints without the task's prefix
std::string CanonicalName(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kPrefixes[] = {
      {"_conv_stem.", "efficientnet.embeddings.convolution."}, {"_bn0.", "efficientnet.embeddings.batchnorm."},
      {"_conv_head.", "efficientnet.encoder.top_conv."},       {"_bn1.", "efficientnet.encoder.top_bn."},
      {"_fc.", "classifier."},                                 {"_blocks.", "efficientnet.encoder.blocks."},
      {"embeddings.", "efficientnet.embeddings."},             {"encoder.", "efficientnet.encoder."}};
  static constexpr std::pair<std::string_view, std::string_view> kParts[] = {
      {"._expand_conv.", ".expansion.expand_conv."}, {"._bn0.", ".expansion.expand_bn."},
      {"._depthwise_conv.", ".depthwise_conv.depthwise_conv."}, {"._bn1.", ".depthwise_conv.depthwise_norm."},
      {"._se_reduce.", ".squeeze_excite.reduce."}, {"._se_expand.", ".squeeze_excite.expand."},
      {"._project_conv.", ".projection.project_conv."}, {"._bn2.", ".projection.project_bn."}};
  std::string canonical(name);
  for (const auto& [from, to] : kPrefixes) {
    if (!name.starts_with(from)) continue;
    canonical.replace(0, from.size(), to);
    break;
  }
  for (const auto& [from, to] : kParts) {
    if (const size_t at = canonical.find(from); at != std::string::npos) canonical.replace(at, from.size(), to);
  }
  return canonical;
}

}  // namespace

const Entry& efficientnet_entry() {
  static const Entry entry{
      .model_type = "efficientnet",
      .card = {.title = "EfficientNet",
               .paper = "Tan and Le 2019, arXiv 1905.11946",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/efficientnet/modeling_efficientnet.py",
               .tasks = "image classification, image features"},
      .create = [](const base::Config& config) { return MakeModel(EfficientNet(Config(config))); },
      .input_spec = nullptr,
      .canonical_name = CanonicalName};
  return entry;
}

}  // namespace fovea::models
