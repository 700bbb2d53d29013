// EfficientNet (B0-B7) and EfficientNet-Lite (0-4): image classifiers built from inverted bottlenecks.
//
// Paper: Tan and Le 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, arXiv 1905.11946.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/efficientnet/modeling_efficientnet.py
// Lite: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (ReLU6, no squeeze-excite).
//
// Legend: B batch, Y X picture, P Q grid after the strides so far, C channels, D features, V classes.
#include <algorithm>

#include "nn/efficientnet.h"
#include "nn/entry.h"
#include "nn/linear.h"
#include "nn/stage.h"
#include "ops/dropout.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json beside those of the body
struct Config : nn::EfficientNetConfig {
  int64_t num_labels = 0;
  double dropout_rate = 0.5;

  explicit Config(const base::Config& c) : nn::EfficientNetConfig(c, "efficientnet"), num_labels(NumLabels(c)) {
    c.Read("dropout_rate", dropout_rate, 0, 0.99);
    Require(hidden_dim == HeadChannels(), "[efficientnet] expected hidden_dim ", HeadChannels(), ", got ", hidden_dim);
  }

  static int64_t NumLabels(const base::Config& c) {
    const auto architectures = c.Get<std::vector<std::string>>("architectures", {});
    if (std::find(architectures.begin(), architectures.end(), "EfficientNetModel") != architectures.end()) return 0;
    return c.Has("id2label") ? static_cast<int64_t>(c.Object("id2label").Keys().size())
                             : c.Get<int64_t>("num_labels", 2);
  }
};

// ---- modules
struct EfficientNet {
  Config config;
  nn::EfficientNetBody body;
  nn::ConvNormAct top;
  nn::Optional<nn::Linear> classifier;

  explicit EfficientNet(const Config& c)
      : config(c),
        body(c),
        top({.in_channels = c.BodyChannels(), .out_channels = c.HeadChannels(), .has_bias = false},
            c.Norm(c.HeadChannels()), c.act) {
    if (c.num_labels > 0)
      classifier.emplace(nn::LinearOptions{.in_features = c.hidden_dim, .out_features = c.num_labels});
  }

  void Visit(nn::Visitor& v) {
    v("efficientnet", body);
    v("efficientnet.encoder.top_conv", top.conv);
    v("efficientnet.encoder.top_bn", top.norm);
    v("classifier", classifier);
  }

  bool CanClassify() const { return classifier.has_value(); }
  int64_t FeatureSize() const { return config.hidden_dim; }

  int64_t TrunkBlocks() const { return static_cast<int64_t>(body.blocks.size()); }
  Tensor EncodeTrunk(const Tensor& pixels, int64_t blocks) const { return body.Begin(pixels, blocks); }
  ImageOutputs EncodeImages(const Tensor& pixels) const { return Classify(body(pixels)); }
  ImageOutputs EncodeFromTrunk(const Tensor& trunk, int64_t blocks) const {
    return Classify(body.Continue(trunk, blocks));
  }

  ImageOutputs Classify(const Tensor& h) const {                   // h [B,P,Q,C]
    const Tensor grid = nn::Stage("top", top(h));                  // [B,P,Q,D]
    const Tensor features = nn::Stage("pooled", body.Pool(grid));  // [B,D]
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
