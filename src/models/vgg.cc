// VGG: image classifiers from stacks of 3x3 convolutions (11, 13, 16 and 19 layers), with or without batch norm.
//
// Paper: Simonyan and Zisserman 2014, Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv
// 1409.1556.
// Reference: https://github.com/pytorch/vision/blob/v0.28.0/torchvision/models/vgg.py
//
// Transformers has no VGG, so the names of the tensors are torchvision's and the keys of config.json are ours:
//   "model_type": "vgg"
//   "hidden_sizes": [64, 128, 256, 512, 512]   channels of each stage; each ends with a pooling of 2x2
//   "depths": [2, 2, 3, 3, 3]                  convolutions in each stage: VGG-16. VGG-11 has [1, 1, 2, 2, 2],
//                                              VGG-13 [2, 2, 2, 2, 2], VGG-19 [2, 2, 4, 4, 4]
//   "batch_norm": false                        a batch norm after each convolution ("vgg16_bn")
//   "pool_size": 7                             side of the grid that the classifier sees
//   "classifier_hidden_size": 4096, "dropout": 0.5, "num_channels": 3
//                                              classifier_hidden_size 0: the convolutions alone, without classes
//   "id2label" or "num_labels"                 1000 classes when both are missing
//
// Features: the second hidden layer of the classifier after its ReLU ("fc7"); of the convolutions alone the mean of the
// grid.
//
// Legend: B batch, Y X picture, P Q grid after the strides so far, C channels, F hidden size, V classes.
#include "nn/conv.h"
#include "nn/entry.h"
#include "nn/linear.h"
#include "nn/stage.h"
#include "nn/vision.h"
#include "ops/dropout.h"
#include "ops/pool.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

// ---- config
struct Config {
  int64_t num_channels = 3, pool_size = 7, classifier_hidden_size = 4096, num_labels;
  std::vector<int64_t> hidden_sizes = {64, 128, 256, 512, 512}, depths = {2, 2, 3, 3, 3};
  bool batch_norm = false;
  double dropout = 0.5;

  explicit Config(const base::Config& c) : num_labels(nn::LabelCount(c, 1000)) {
    c.Read("num_channels", num_channels, 1, 64);
    c.Read("pool_size", pool_size, 1, 64);
    c.Read("classifier_hidden_size", classifier_hidden_size, 0, 65536);
    c.Read("hidden_sizes", hidden_sizes, 1, 65536);
    c.Read("depths", depths, 1, 100);
    c.Read("batch_norm", batch_norm);
    c.Read("dropout", dropout, 0, 0.99);
    Require(!depths.empty() && depths.size() <= 16 && hidden_sizes.size() == depths.size(),
            "[vgg] expected hidden_sizes and depths of 1 to 16 stages, got ", hidden_sizes.size(), " and ",
            depths.size());
  }
};

// ---- modules
// A 3x3 convolution with ReLU that keeps the size, with or without batch norm between. `place`: its number in the
// reference's list of layers, where norms, activations and poolings count too.
struct Conv {
  nn::Optional<nn::Conv2d> plain;
  nn::Optional<nn::ConvNormAct> normed;
  int64_t place;

  Conv(int64_t in, int64_t out, bool batch_norm, int64_t at) : place(at) {
    const nn::Conv2dOptions options = {.in_channels = in, .out_channels = out, .kernel_size = 3};
    if (batch_norm) {
      normed.emplace(options, nn::BatchNorm2d::Options{.channels = out}, Act::kRelu);
    } else {
      plain.emplace(options);
    }
  }
  void Visit(nn::Visitor& v) {
    v(std::to_string(place), plain);
    if (!normed) return;
    v(std::to_string(place), normed->conv);
    v(std::to_string(place + 1), normed->norm);
  }
  Tensor operator()(const Tensor& x) const {  // [B,P,Q,C] -> [B,P,Q,C']
    constexpr Conv2dGeometry kGeometry = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
    return normed ? (*normed)(x, kGeometry) : (*plain)(x, kGeometry, Act::kRelu);
  }
};

struct Vgg {
  Config config;
  std::vector<std::vector<Conv>> stages;
  nn::Optional<nn::Linear> hidden1, hidden2, classifier;

  explicit Vgg(const Config& c) : config(c) {
    int64_t in = c.num_channels, place = 0;
    for (size_t i = 0; i < c.depths.size(); ++i, ++place) {  // the pooling counts as a layer
      auto& stage = stages.emplace_back();
      for (int64_t depth = 0; depth < c.depths[i]; ++depth, in = c.hidden_sizes[i], place += c.batch_norm ? 3 : 2)
        stage.emplace_back(in, c.hidden_sizes[i], c.batch_norm, place);
    }
    const int64_t wide = c.classifier_hidden_size;
    if (wide == 0) return;
    hidden1.emplace(nn::LinearOptions{.in_features = in * c.pool_size * c.pool_size, .out_features = wide});
    hidden2.emplace(nn::LinearOptions{.in_features = wide, .out_features = wide});
    classifier.emplace(nn::LinearOptions{.in_features = wide, .out_features = c.num_labels});
  }

  void Visit(nn::Visitor& v) {
    for (auto& stage : stages) {
      for (Conv& conv : stage) v("features", conv);
    }
    v("classifier.0", hidden1);
    v("classifier.3", hidden2);
    v("classifier.6", classifier);
  }

  bool CanClassify() const { return classifier.has_value(); }
  int64_t FeatureSize() const { return classifier ? config.classifier_hidden_size : config.hidden_sizes.back(); }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    Tensor h = pixels;  // [B,Y,X,C]
    for (size_t i = 0; i < stages.size(); ++i) {
      for (const Conv& conv : stages[i]) h = conv(h);
      h = nn::Stage("stages", static_cast<int64_t>(i), MaxPool2d(h, {.kernel = {2, 2}}));  // [B,P,Q,C]
    }
    if (!classifier) return {.features = GlobalAvgPool(h), .grid = h, .logits = {}};                       // [B,C]
    const Tensor pooled = AdaptiveAvgPool2d(h, {config.pool_size, config.pool_size});                      // [B,S,S,C]
    const Tensor flat = Reshape(Permute(pooled, {0, 3, 1, 2}), {h.dim(0), -1});                            // [B,C*S*S]
    const Tensor wide = nn::Stage("hidden1", (*hidden1)(flat, Act::kRelu));                                // [B,F]
    const Tensor features = (*hidden2)(Dropout(wide, config.dropout), Act::kRelu);                         // [B,F]
    return {.features = features, .grid = h, .logits = (*classifier)(Dropout(features, config.dropout))};  // [B,V]
  }
};

}  // namespace

const Entry& vgg_entry() {
  static const Entry entry{
      .model_type = "vgg",
      .card = {.title = "VGG",
               .paper = "Simonyan and Zisserman 2014, arXiv 1409.1556",
               .reference = "https://github.com/pytorch/vision/blob/v0.28.0/torchvision/models/vgg.py",
               .tasks = "image classification, image features"},
      .create = [](const base::Config& config) { return MakeModel(Vgg(Config(config))); },
      .input_spec = media::PreprocessSpec::OfModel};
  return entry;
}

}  // namespace fovea::models
