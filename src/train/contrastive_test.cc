// Gradient caching against the plain computation, on a small network with two towers.
#include "train/contrastive.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "nn/conv.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/embedding.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "testing/testing.h"

namespace fovea::train {
namespace {

struct TwoTowers {
  double dropout = 0;
  nn::ConvNormAct patch{
      {.in_channels = 3, .out_channels = 8, .kernel_size = 2, .has_bias = false}, {.channels = 8}, Act::kGelu};
  nn::Linear image{{.in_features = 8, .out_features = 6}};
  nn::Parameter words{Shape{11, 6}}, scale{Shape{}};

  void Visit(nn::Visitor& v) {
    v("patch.conv", patch.conv);
    v("patch.norm", patch.norm);
    v("image", image);
    v("words", words);
    v("scale", scale);
  }
  int64_t FeatureSize() const { return 6; }
  models::ImageOutputs EncodeImages(const Tensor& pixels) const {
    const Tensor h = patch(pixels, {.stride_y = 2, .stride_x = 2});
    return {.features = image(Dropout(GlobalAvgPool(h), dropout))};
  }
  models::TextSpec Texts() const { return {.max_tokens = 4}; }
  models::TextOutputs EncodeTexts(const models::TextInputs& inputs) const {
    return {.features = Mean(Embedding(words, inputs.ids), {1})};
  }
  models::Matching HowItMatches() const { return models::Matching::kSoftmax; }
  Tensor MatchLogits(const Tensor& images, const Tensor& texts) const {
    return MatMul(L2Normalize(images), L2Normalize(texts), {.transpose_b = true}) * Exp(scale.value());
  }
};

struct Fixture {
  std::unique_ptr<models::Model> model;
  std::unique_ptr<Trainable> trainable;
  Tensor pixels;
  models::TextInputs texts;

  Fixture(int64_t pairs, double dropout, const Recipe& recipe = {}, int64_t side = 4) {
    TwoTowers towers;
    towers.dropout = dropout;
    model = models::MakeModel(std::move(towers));
    uint64_t seed = 1;
    nn::ForEachParameter(*model, [&](const std::string& path, nn::Parameter& parameter) {
      if (parameter.kind() == nn::Parameter::Kind::kCounter) {
        parameter.Assign(Tensor::Zeros({}, DType::kI64));
      } else if (path.ends_with("running_var") || path == "scale") {
        parameter.Assign(Tensor::Full(parameter.shape(), 1.5f).Clone());
      } else {
        parameter.Assign(testing::RandomNormal(parameter.shape(), ++seed, 0.5f));
      }
    });
    trainable = std::make_unique<Trainable>(*model, recipe, std::vector<std::string>{});
    trainable->Refresh();
    pixels = testing::RandomNormal({pairs, side, side, 3}, 50);
    texts.ids = testing::RandomIntegers({pairs, 4}, 51, 0, 11);
  }
  double Run(const ContrastiveOptions& options) {
    trainable->DropGradients();
    return ContrastiveStep(*model, {.pixels = pixels, .texts = texts}, *trainable, options);
  }
};

float Largest(const Tensor& tensor) {
  float largest = 0;
  for (const float value : tensor.values<float>()) largest = std::max(largest, std::fabs(value));
  return largest;
}

void ExpectSameGradients(Fixture& plain, Fixture& cached, float tolerance) {
  ASSERT_EQ(plain.trainable->slots().size(), cached.trainable->slots().size());
  for (size_t i = 0; i < plain.trainable->slots().size(); ++i) {
    const Slot &a = plain.trainable->slots()[i], &b = cached.trainable->slots()[i];
    ASSERT_TRUE(a.gradient.defined() && b.gradient.defined()) << a.name;
    testing::ExpectClose(b.gradient, a.gradient, tolerance * (1e-3f + Largest(a.gradient)), a.name);
  }
}

TEST(GradientCache, GradientsAreThoseOfThePlainStep) {
  for (const char* loss : {"infonce", "sigmoid", "max_of_hinges"}) {
    Fixture plain(13, 0), cached(13, 0);
    const ContrastiveOptions options{.loss = loss, .is_training = false};
    ContrastiveOptions parts = options;
    parts.part = 5;
    EXPECT_NEAR(plain.Run(options), cached.Run(parts), 1e-5) << loss;
    if (std::string(loss) == "max_of_hinges") {  // knows no scale
      plain.trainable->slots().pop_back();
      cached.trainable->slots().pop_back();
    }
    ExpectSameGradients(plain, cached, 2e-5f);
  }
}

TEST(GradientCache, WorksForAdaptersToo) {
  Recipe recipe;
  recipe.lora = {.rank = 2, .alpha = 4};
  Fixture plain(9, 0, recipe), cached(9, 0, recipe);
  EXPECT_NEAR(plain.Run({.is_training = false}), cached.Run({.part = 4, .is_training = false}), 1e-5);
  ExpectSameGradients(plain, cached, 2e-5f);
}

TEST(GradientCache, FourThousandPairs) {
  Fixture plain(4096, 0), cached(4096, 0);
  EXPECT_NEAR(plain.Run({.is_training = false}), cached.Run({.part = 256, .is_training = false}), 1e-4);
  ExpectSameGradients(plain, cached, 1e-4f);
}

template <typename Body>
int64_t PeakBytesOf(Body&& body) {
  const int64_t before = GetAllocatorStats().in_use_bytes;
  ResetAllocatorPeak();
  body();
  return GetAllocatorStats().peak_bytes - before;
}

// A batch of 4,096 pairs in parts of 256 needs the memory of the loss and of a part, not of the batch.
TEST(GradientCache, MemoryIsThatOfAPart) {
  const int64_t side = 32;
  Fixture whole(4096, 0, {}, side), part(256, 0, {}, side);
  const int64_t of_part = PeakBytesOf([&] { part.Run({.is_training = false}); });
  const int64_t of_loss = PeakBytesOf([&] {
    const Tensor images = testing::RandomNormal({4096, 6}, 1), texts = testing::RandomNormal({4096, 6}, 2);
    Tape tape;
    tape.Watch(images);
    tape.Watch(texts);
    tape.Backward(ContrastiveLossOf(*whole.model, {.image_features = images, .text_features = texts}, {}));
  });
  const int64_t cached = PeakBytesOf([&] { whole.Run({.part = 256, .is_training = false}); });
  const int64_t plain = PeakBytesOf([&] { whole.Run({.is_training = false}); });
  EXPECT_LT(cached, of_loss + 2 * of_part);
  EXPECT_GT(plain, of_loss + 4 * of_part);
  RecordProperty("cached_bytes", std::to_string(cached));
  RecordProperty("plain_bytes", std::to_string(plain));
}

// The same masks in both passes: the gradient of the loss that is reported, by central differences.
TEST(GradientCache, DropoutMasksAreDrawnAlikeTwice) {
  Fixture fixture(10, 0.3);
  const ContrastiveOptions options{.part = 4, .is_training = true, .seed = 9};
  fixture.Run(options);
  for (Slot& slot : fixture.trainable->slots()) {
    const Tensor gradient = slot.gradient.Clone();
    for (const int64_t at : {int64_t{0}, slot.value.numel() - 1}) {
      float* element = slot.value.mutable_data<float>() + at;
      const float kept = *element;
      *element = kept + 1e-2f;
      const double above = fixture.Run(options);
      *element = kept - 1e-2f;
      const double below = fixture.Run(options);
      *element = kept;
      EXPECT_NEAR(gradient.data<float>()[at], (above - below) / 2e-2, 2e-2) << slot.name << " " << at;
    }
  }
}

TEST(GradientCache, RunningStatisticsMoveOnce) {
  Fixture cached(8, 0), reference(8, 0);
  cached.Run({.part = 4});
  {
    const Tape tape;
    for (const int64_t begin : {0, 4})
      reference.model->EncodeImages(reference.pixels.Sliced(0, begin, begin + 4).Contiguous());
  }
  std::map<std::string, Tensor> expected;
  nn::ForEachParameter(*reference.model,
                       [&](const std::string& path, nn::Parameter& p) { expected[path] = p.value(); });
  nn::ForEachParameter(*cached.model, [&](const std::string& path, nn::Parameter& p) {
    if (p.kind() == nn::Parameter::Kind::kBuffer) testing::ExpectClose(p.value(), expected[path], 0.0f, path);
    if (p.kind() == nn::Parameter::Kind::kCounter) {
      EXPECT_EQ(*p.value().data<int64_t>(), 2);
    }
  });
}

}  // namespace
}  // namespace fovea::train
