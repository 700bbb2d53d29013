// ResNet: image classifiers built from residual blocks of convolutions (18 and 34 layers: basic blocks; 50 and more:
// bottlenecks).
//
// Paper: He et al. 2015, Deep Residual Learning for Image Recognition, arXiv 1512.03385.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/resnet/modeling_resnet.py
//
// Architectures: ResNetModel and ResNetForImageClassification. Checkpoints may use the names of torchvision's ResNet,
// which is the same network (config.json then says layer_type, depths and hidden_sizes; its wide and grouped variants
// are not covered). In basic blocks and bottlenecks the activations but the last are ReLU whatever hidden_act is, as in
// the reference.
//
// Legend: B batch, Y X picture, P Q grid after the strides so far, C channels, D features, V classes.
#include <functional>

#include "nn/conv.h"
#include "nn/entry.h"
#include "nn/linear.h"
#include "nn/stage.h"
#include "nn/vision.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/pool.h"
#include "tensor/tape.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t num_channels = 3, embedding_size = 64, num_labels;
  std::vector<int64_t> hidden_sizes = {256, 512, 1024, 2048}, depths = {3, 4, 6, 3};
  std::string layer_type = "bottleneck", hidden_act = "relu";
  bool downsample_in_first_stage = false, downsample_in_bottleneck = false;
  Act act;  // of hidden_act

  explicit Config(const base::Config& c)
      : num_labels(nn::ClassCount(c, "resnet", {"ResNetModel", "ResNetForImageClassification"})) {
    c.Read("num_channels", num_channels, 1, 64);
    c.Read("embedding_size", embedding_size, 1, 65536);
    c.Read("hidden_sizes", hidden_sizes, 1, 65536);
    c.Read("depths", depths, 1, 500);
    c.Read("layer_type", layer_type);
    c.Read("hidden_act", hidden_act);
    c.Read("downsample_in_first_stage", downsample_in_first_stage);
    c.Read("downsample_in_bottleneck", downsample_in_bottleneck);
    act = ActFromName(hidden_act, "resnet");
    const size_t stages = hidden_sizes.size();
    Require(stages >= 1 && stages <= 16 && depths.size() == stages,
            "[resnet] expected hidden_sizes and depths of 1 to 16 stages, got ", stages, " and ", depths.size());
    Require(layer_type == "basic" || layer_type == "bottleneck",
            "[resnet] expected layer_type basic or bottleneck, got \"", base::PrintableUtf8(layer_type), "\"");
    for (const int64_t size : hidden_sizes)
      Require(!IsBottleneck() || size >= 4, "[resnet] expected hidden_sizes of at least 4 in bottlenecks, got ", size);
  }

  bool IsBottleneck() const { return layer_type == "bottleneck"; }
};

// ---- modules
// A convolution with batch norm: kernel K, padded so that only the stride makes the picture smaller.
struct ConvLayer {
  nn::ConvNormAct parts;
  Conv2dGeometry geometry;

  struct Options {
    int64_t in, out, kernel_size, stride;
    Act act = Act::kRelu;
  };
  explicit ConvLayer(const Options& o)
      : parts({.in_channels = o.in, .out_channels = o.out, .kernel_size = o.kernel_size, .has_bias = false},
              {.channels = o.out}, o.act) {
    const int64_t pad = o.kernel_size / 2;
    geometry = {.stride_y = o.stride,
                .stride_x = o.stride,
                .pad_top = pad,
                .pad_left = pad,
                .pad_bottom = pad,
                .pad_right = pad};
  }
  void Visit(nn::Visitor& v) {
    v("convolution", parts.conv);
    v("normalization", parts.norm);
  }
  Tensor operator()(const Tensor& x) const { return parts(x, geometry); }  // [B,P,Q,C] -> [B,P',Q',C']
};

struct Block {
  nn::Optional<ConvLayer> shortcut;
  nn::List<ConvLayer> layers;
  Act act;

  Block(const Config& c, int64_t in, int64_t out, int64_t stride) : act(c.act) {
    if (in != out || stride != 1)
      shortcut.emplace(
          ConvLayer::Options{.in = in, .out = out, .kernel_size = 1, .stride = stride, .act = Act::kIdentity});
    const auto add = [this](const ConvLayer::Options& options) { layers.emplace_back(options); };
    if (c.IsBottleneck()) {
      const int64_t narrow = out / 4, first = c.downsample_in_bottleneck ? stride : 1;
      add({.in = in, .out = narrow, .kernel_size = 1, .stride = first});
      add({.in = narrow, .out = narrow, .kernel_size = 3, .stride = stride / first});
      add({.in = narrow, .out = out, .kernel_size = 1, .stride = 1, .act = Act::kIdentity});
    } else {
      add({.in = in, .out = out, .kernel_size = 3, .stride = stride});
      add({.in = out, .out = out, .kernel_size = 3, .stride = 1, .act = Act::kIdentity});
    }
  }
  void Visit(nn::Visitor& v) {
    v("shortcut", shortcut);
    v("layer", layers);
  }

  Tensor operator()(const Tensor& x) const {
    Tensor h = x;                                               // [B,P,Q,C]
    for (const ConvLayer& layer : layers) h = layer(h);         // [B,P',Q',C']
    return Activate(h + (shortcut ? (*shortcut)(x) : x), act);  // [B,P',Q',C']
  }
};

struct Stage {
  nn::List<Block> blocks;
  void Visit(nn::Visitor& v) { v("layers", blocks); }
};

struct ResNet {
  int64_t feature_size;
  ConvLayer stem;
  nn::List<Stage> stages;
  nn::Optional<nn::Linear> classifier;

  explicit ResNet(const Config& c)
      : feature_size(c.hidden_sizes.back()),
        stem({.in = c.num_channels, .out = c.embedding_size, .kernel_size = 7, .stride = 2, .act = c.act}) {
    int64_t in = c.embedding_size;
    for (size_t i = 0; i < c.depths.size(); ++i) {
      Stage& stage = stages.emplace_back();
      const int64_t out = c.hidden_sizes[i], stride = i > 0 || c.downsample_in_first_stage ? 2 : 1;
      for (int64_t depth = 0; depth < c.depths[i]; ++depth, in = out)
        stage.blocks.emplace_back(c, in, out, depth == 0 ? stride : 1);
    }
    if (c.num_labels > 0)
      classifier.emplace(nn::LinearOptions{.in_features = feature_size, .out_features = c.num_labels});
  }

  void Visit(nn::Visitor& v) {
    v("resnet.embedder.embedder", stem);
    v("resnet.encoder.stages", stages);
    v("classifier.1", classifier);
  }

  bool CanClassify() const { return classifier.has_value(); }
  int64_t FeatureSize() const { return feature_size; }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    Tensor h = MaxPool2d(stem(pixels), {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}});
    h = nn::Stage("embeddings", h);  // [B,Y/4,X/4,C]
    for (size_t i = 0; i < stages.size(); ++i) {
      for (const Block& block : stages[i].blocks) h = Tape::Recomputed(h, std::cref(block));
      h = nn::Stage("stages", static_cast<int64_t>(i), h);  // [B,P,Q,C]
    }
    const Tensor features = nn::Stage("pooled", GlobalAvgPool(h));       // [B,D]
    return {.features = features,                                        // [B,D]
            .grid = h,                                                   // [B,P,Q,D]
            .logits = classifier ? (*classifier)(features) : Tensor()};  // [B,V]
  }
};

// ---- names of torchvision, and of checkpoints without the task's prefix
constexpr Rename kRenames[] = {{"^conv1.", "resnet.embedder.embedder.convolution."},
                               {"^bn1.", "resnet.embedder.embedder.normalization."},
                               {"^layer1.", "resnet.encoder.stages.0.layers."},
                               {"^layer2.", "resnet.encoder.stages.1.layers."},
                               {"^layer3.", "resnet.encoder.stages.2.layers."},
                               {"^layer4.", "resnet.encoder.stages.3.layers."},
                               {"^fc.", "classifier.1."},
                               {"^embedder.", "resnet.embedder."},
                               {"^encoder.", "resnet.encoder."},
                               {".conv1.", ".layer.0.convolution."},
                               {".bn1.", ".layer.0.normalization."},
                               {".conv2.", ".layer.1.convolution."},
                               {".bn2.", ".layer.1.normalization."},
                               {".conv3.", ".layer.2.convolution."},
                               {".bn3.", ".layer.2.normalization."},
                               {".downsample.0.", ".shortcut.convolution."},
                               {".downsample.1.", ".shortcut.normalization."}};

}  // namespace

const Entry& resnet_entry() {
  static const Entry entry{
      .model_type = "resnet",
      .card = {.title = "ResNet",
               .paper = "He et al. 2015, arXiv 1512.03385",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/resnet/"
                            "modeling_resnet.py",
               .tasks = "image classification, image features"},
      .create = [](const base::Config& config) { return MakeModel(ResNet(Config(config))); },
      .input_spec = media::PreprocessSpec::OfModel,
      .renames = kRenames};
  return entry;
}

}  // namespace fovea::models
