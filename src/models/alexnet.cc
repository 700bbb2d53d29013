// AlexNet: the image classifier of five convolutions and three linear layers, in the version of torchvision (one
// column, no local response normalisation).
//
// Paper: Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks, arXiv 1404.5997; first in
// Krizhevsky et al. 2012.
// Reference: https://github.com/pytorch/vision/blob/v0.28.0/torchvision/models/alexnet.py
//
// Transformers has no AlexNet, so the names of the tensors are torchvision's and the keys of config.json are ours:
//   "model_type": "alexnet"
//   "hidden_sizes": [64, 192, 384, 256, 256]   channels of the five convolutions
//   "pool_size": 6                             side of the grid that the classifier sees
//   "classifier_hidden_size": 4096, "dropout": 0.5, "num_channels": 3
//   "id2label" or "num_labels"                 1000 classes when both are missing
//
// Features: the second hidden layer of the classifier after its ReLU ("fc7").
//
// Legend: B batch, Y X picture, P Q grid after the strides so far, C channels, F hidden size, V classes.
#include <iterator>

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

// What a convolution does to the picture, and its number in the reference's list of layers, where activations and
// poolings count too.
struct Plan {
  int64_t place, kernel_size, stride, pad;
  bool is_pooled;  // by 3x3 windows, two pixels apart
};
constexpr Plan kPlans[] = {
    {0, 11, 4, 2, true}, {3, 5, 1, 2, true}, {6, 3, 1, 1, false}, {8, 3, 1, 1, false}, {10, 3, 1, 1, true}};
constexpr size_t kConvs = std::size(kPlans);

// ---- config
struct Config {
  int64_t num_channels = 3, pool_size = 6, classifier_hidden_size = 4096, num_labels;
  std::vector<int64_t> hidden_sizes = {64, 192, 384, 256, 256};
  double dropout = 0.5;

  explicit Config(const base::Config& c) : num_labels(nn::LabelCount(c, 1000)) {
    c.Read("num_channels", num_channels, 1, 64);
    c.Read("pool_size", pool_size, 1, 64);
    c.Read("classifier_hidden_size", classifier_hidden_size, 1, 65536);
    c.Read("hidden_sizes", hidden_sizes, 1, 65536);
    c.Read("dropout", dropout, 0, 0.99);
    Require(hidden_sizes.size() == kConvs, "[alexnet] expected ", kConvs, " hidden_sizes, got ", hidden_sizes.size());
  }
};

// ---- modules
struct AlexNet {
  Config config;
  std::vector<nn::Conv2d> convs;
  nn::Linear hidden1, hidden2, classifier;

  explicit AlexNet(const Config& c)
      : config(c),
        hidden1({.in_features = c.hidden_sizes.back() * c.pool_size * c.pool_size,
                 .out_features = c.classifier_hidden_size}),
        hidden2({.in_features = c.classifier_hidden_size, .out_features = c.classifier_hidden_size}),
        classifier({.in_features = c.classifier_hidden_size, .out_features = c.num_labels}) {
    int64_t in = c.num_channels;
    for (size_t i = 0; i < kConvs; in = c.hidden_sizes[i], ++i) {
      convs.emplace_back(nn::Conv2dOptions{
          .in_channels = in, .out_channels = c.hidden_sizes[i], .kernel_size = kPlans[i].kernel_size});
    }
  }

  void Visit(nn::Visitor& v) {
    for (size_t i = 0; i < kConvs; ++i) v("features." + std::to_string(kPlans[i].place), convs[i]);
    v("classifier.1", hidden1);
    v("classifier.4", hidden2);
    v("classifier.6", classifier);
  }

  bool CanClassify() const { return true; }
  int64_t FeatureSize() const { return config.classifier_hidden_size; }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    Tensor h = pixels;  // [B,Y,X,C]
    for (size_t i = 0; i < kConvs; ++i) {
      const auto& [place, kernel_size, stride, pad, is_pooled] = kPlans[i];
      const Conv2dGeometry geometry = {
          .stride_y = stride, .stride_x = stride, .pad_top = pad, .pad_left = pad, .pad_bottom = pad, .pad_right = pad};
      h = convs[i](h, geometry, Act::kRelu);                                  // [B,P,Q,C]
      if (is_pooled) h = MaxPool2d(h, {.kernel = {3, 3}, .stride = {2, 2}});  // [B,P/2,Q/2,C]
      h = nn::Stage("convs", static_cast<int64_t>(i), h);
    }
    const Tensor pooled = AdaptiveAvgPool2d(h, {config.pool_size, config.pool_size});              // [B,S,S,C]
    const Tensor flat = Reshape(Permute(pooled, {0, 3, 1, 2}), {h.dim(0), -1});                    // [B,C*S*S]
    const Tensor wide = nn::Stage("hidden1", hidden1(Dropout(flat, config.dropout), Act::kRelu));  // [B,F]
    const Tensor features = hidden2(Dropout(wide, config.dropout), Act::kRelu);                    // [B,F]
    return {.features = features, .grid = h, .logits = classifier(features)};                      // [B,V]
  }
};

}  // namespace

const Entry& alexnet_entry() {
  static const Entry entry{
      .model_type = "alexnet",
      .card = {.title = "AlexNet",
               .paper = "Krizhevsky 2014, arXiv 1404.5997",
               .reference = "https://github.com/pytorch/vision/blob/v0.28.0/torchvision/models/alexnet.py",
               .tasks = "image classification, image features"},
      .create = [](const base::Config& config) { return MakeModel(AlexNet(Config(config))); },
      .input_spec = media::PreprocessSpec::OfModel};
  return entry;
}

}  // namespace fovea::models
