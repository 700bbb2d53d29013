// ConvNeXt: a convolutional network built like a transformer: patches, depthwise 7x7 convolutions, LayerNorm, GELU.
//
// Paper: Liu et al. 2022, A ConvNet for the 2020s, arXiv 2201.03545.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/convnext/modeling_convnext.py
//
// Architectures: ConvNextModel and ConvNextForImageClassification. Features: the mean over the places, after the last
// norm. ConvNeXt V2 is another model_type.
//
// Legend: B batch, Y X picture, P Q grid after the strides so far, C channels, D features, V classes.
#include <algorithm>
#include <functional>

#include "nn/conv.h"
#include "nn/entry.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/stage.h"
#include "nn/vision.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/pool.h"
#include "tensor/tape.h"

namespace fovea::models {
namespace {

constexpr double kInnerEps = 1e-6;  // of every norm but the last, whatever layer_norm_eps is

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t num_channels = 3, num_stages = 4, num_labels;
  int64_t patch_size;  // px
  std::vector<int64_t> hidden_sizes = {96, 192, 384, 768}, depths = {3, 3, 9, 3};
  double layer_norm_eps = 1e-12, layer_scale_init_value = 1e-6, drop_path_rate = 0;
  std::string hidden_act = "gelu";
  Act act;  // of hidden_act

  explicit Config(const base::Config& c)
      : num_labels(nn::ClassCount(c, "convnext", {"ConvNextModel", "ConvNextForImageClassification"})),
        patch_size(nn::ReadSquare(c, "convnext", "patch_size", 4, 1024)) {
    c.Read("num_channels", num_channels, 1, 64);
    c.Read("num_stages", num_stages, 1, 16);
    c.Read("hidden_sizes", hidden_sizes, 1, 65536);
    c.Read("depths", depths, 1, 500);
    c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
    c.Read("layer_scale_init_value", layer_scale_init_value, -1, 1e6);
    c.Read("drop_path_rate", drop_path_rate, 0, 0.99);
    c.Read("hidden_act", hidden_act);
    act = ActFromName(hidden_act, "convnext");
    const auto stages = static_cast<size_t>(num_stages);
    Require(hidden_sizes.size() == stages && depths.size() == stages, "[convnext] expected hidden_sizes and depths of ",
            stages, " stages, got ", hidden_sizes.size(), " and ", depths.size());
  }

  int64_t TotalDepth() const {
    int64_t total = 0;
    for (const int64_t depth : depths) total += depth;
    return total;
  }
};

// ---- modules
struct Block {
  nn::Conv2d depthwise;
  nn::LayerNorm norm;
  nn::Linear wide, narrow;
  nn::Parameter scale;  // [C]
  bool has_scale;
  double drop_rate;
  Act act;

  Block(const Config& c, int64_t channels, double drop)
      : depthwise({.in_channels = channels, .out_channels = channels, .kernel_size = 7, .groups = channels}),
        norm(channels, kInnerEps),
        wide({.in_features = channels, .out_features = 4 * channels}),
        narrow({.in_features = 4 * channels, .out_features = channels}),
        scale(Shape{channels}),
        has_scale(c.layer_scale_init_value > 0),
        drop_rate(drop),
        act(c.act) {}
  void Visit(nn::Visitor& v) {
    if (has_scale) v("layer_scale_parameter", scale);
    v("dwconv", depthwise);
    v("layernorm", norm);
    v("pwconv1", wide);
    v("pwconv2", narrow);
  }

  Tensor operator()(const Tensor& x) const {
    Tensor h = depthwise(x, {.pad_top = 3, .pad_left = 3, .pad_bottom = 3, .pad_right = 3});  // [B,P,Q,C]
    h = narrow(wide(norm(h), act));                                                           // [B,P,Q,C]
    if (has_scale) h = h * scale;                                                             // [B,P,Q,C]
    return x + nn::DropPath(h, drop_rate);                                                    // [B,P,Q,C]
  }
};

// Half as many places both ways, between two stages.
struct Downsampling {
  nn::LayerNorm norm;
  nn::Conv2d conv;

  Downsampling(int64_t in, int64_t out, int64_t factor)
      : norm(in, kInnerEps), conv({.in_channels = in, .out_channels = out, .kernel_size = factor}) {}
  void Visit(nn::Visitor& v) {
    v("0", norm);
    v("1", conv);
  }
  Tensor operator()(const Tensor& x) const { return conv(norm(x), {.stride_y = 2, .stride_x = 2}); }
};

struct Stage {
  nn::Optional<Downsampling> downsampling;
  nn::List<Block> blocks;
  void Visit(nn::Visitor& v) {
    v("downsampling_layer", downsampling);
    v("layers", blocks);
  }
};

struct ConvNext {
  Config config;
  nn::Conv2d patch;
  nn::LayerNorm patch_norm, norm;
  nn::List<Stage> stages;
  nn::Optional<nn::Linear> classifier;

  explicit ConvNext(const Config& c)
      : config(c),
        patch({.in_channels = c.num_channels, .out_channels = c.hidden_sizes[0], .kernel_size = c.patch_size}),
        patch_norm(c.hidden_sizes[0], kInnerEps),
        norm(c.hidden_sizes.back(), c.layer_norm_eps) {
    const auto last = static_cast<double>(std::max<int64_t>(1, c.TotalDepth() - 1));
    int64_t index = 0;
    for (size_t i = 0; i < c.depths.size(); ++i) {
      Stage& stage = stages.emplace_back();
      if (i > 0) stage.downsampling.emplace(c.hidden_sizes[i - 1], c.hidden_sizes[i], 2);
      for (int64_t depth = 0; depth < c.depths[i]; ++depth, ++index)
        stage.blocks.emplace_back(c, c.hidden_sizes[i], c.drop_path_rate * static_cast<double>(index) / last);
    }
    if (c.num_labels > 0)
      classifier.emplace(nn::LinearOptions{.in_features = c.hidden_sizes.back(), .out_features = c.num_labels});
  }

  void Visit(nn::Visitor& v) {
    v("convnext.embeddings.patch_embeddings", patch);
    v("convnext.embeddings.layernorm", patch_norm);
    v("convnext.encoder.stages", stages);
    v("convnext.layernorm", norm);
    v("classifier", classifier);
  }

  bool CanClassify() const { return classifier.has_value(); }
  int64_t FeatureSize() const { return config.hidden_sizes.back(); }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    Tensor h = patch_norm(patch(pixels, {.stride_y = config.patch_size, .stride_x = config.patch_size}));
    h = nn::Stage("embeddings", h);  // [B,P,Q,C]
    for (size_t i = 0; i < stages.size(); ++i) {
      if (stages[i].downsampling) h = (*stages[i].downsampling)(h);                           // [B,P/2,Q/2,C]
      for (const Block& block : stages[i].blocks) h = Tape::Recomputed(h, std::cref(block));  // [B,P,Q,C]
      h = nn::Stage("stages", static_cast<int64_t>(i), h);
    }
    const Tensor features = nn::Stage("layernorm", norm(GlobalAvgPool(h)));  // [B,D]
    return {.features = features,                                            // [B,D]
            .grid = h,                                                       // [B,P,Q,D]
            .logits = classifier ? (*classifier)(features) : Tensor()};      // [B,V]
  }
};

// ---- names of checkpoints without the task's prefix
constexpr Rename kRenames[] = {{"^embeddings.", "convnext.embeddings."},
                               {"^encoder.", "convnext.encoder."},
                               {"^layernorm.", "convnext.layernorm."}};

}  // namespace

const Entry& convnext_entry() {
  static const Entry entry{
      .model_type = "convnext",
      .card = {.title = "ConvNeXt",
               .paper = "Liu et al. 2022, arXiv 2201.03545",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/convnext/"
                            "modeling_convnext.py",
               .tasks = "image classification, image features"},
      .create = [](const base::Config& config) { return MakeModel(ConvNext(Config(config))); },
      .input_spec = media::PreprocessSpec::OfModel,
      .renames = kRenames};
  return entry;
}

}  // namespace fovea::models
