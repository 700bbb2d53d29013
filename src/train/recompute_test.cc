// Gradient checkpointing: the gradients, the moved statistics and the masks of the plain computation, in less memory.
#include <gtest/gtest.h>

#include <map>

#include "ops/loss.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "testing/testing.h"
#include "train/network.h"
#include "train/trainable.h"
#include "train/training_testing.h"

namespace fovea::train {
namespace {

struct Outcome {
  std::map<std::string, Tensor> gradients, statistics;
  float loss = 0;
  int64_t blocks = 0, peak_bytes = 0;
};

template <typename Loss>
Outcome RunTwice(const Recipe& recipe, bool recomputes, Loss&& loss_of) {
  Network network = BuildNetwork(recipe, {});
  Trainable trainable(*network.model, recipe, {});
  Outcome outcome;
  const int64_t before = GetAllocatorStats().in_use_bytes;
  ResetAllocatorPeak();
  {
    Tape tape({.is_training = true, .seed = 4, .recomputes = recomputes});
    trainable.Bind(tape);
    const Tensor loss = loss_of(*network.model);
    outcome.loss = loss.item();
    outcome.blocks = tape.recomputed_blocks();
    trainable.Collect(tape.Backward(loss));
  }
  outcome.peak_bytes = GetAllocatorStats().peak_bytes - before;
  for (const Slot& slot : trainable.slots()) outcome.gradients[slot.name] = slot.gradient;
  nn::ForEachParameter(*network.model, [&](const std::string& path, nn::Parameter& parameter) {
    if (parameter.kind() == nn::Parameter::Kind::kBuffer) outcome.statistics[path] = parameter.value();
    if (parameter.kind() == nn::Parameter::Kind::kCounter) {
      EXPECT_EQ(*parameter.value().data<int64_t>(), 1) << path << " counts the passes";
    }
  });
  return outcome;
}

void ExpectEqual(const Outcome& plain, const Outcome& again) {
  EXPECT_EQ(plain.loss, again.loss);
  EXPECT_EQ(plain.blocks, 0);
  for (const auto& [name, gradient] : plain.gradients) {
    const Tensor& other = again.gradients.at(name);
    ASSERT_EQ(gradient.defined(), other.defined()) << name;
    if (gradient.defined()) testing::ExpectClose(other, gradient, 0.0f, name);
  }
  for (const auto& [name, value] : plain.statistics) testing::ExpectClose(again.statistics.at(name), value, 0.0f, name);
}

TEST(Recompute, ConvolutionsNormsAndDroppedBlocks) {
  testing::TemporaryFolder folder;
  WriteTinyModel(folder.File("base"));
  // Blocks are left out at random, too.
  std::string config = base::ReadTextFile(folder.File("base/config.json"));
  const std::string from = "\"drop_connect_rate\": 0.0";
  ASSERT_NE(config.find(from), std::string::npos) << config;
  config.replace(config.find(from), from.size(), "\"drop_connect_rate\": 0.4");
  base::WriteTextFileAtomically(folder.File("base/config.json"), config);
  const Recipe recipe{.model = folder.File("base")};
  const Tensor pixels = testing::RandomNormal({8, 40, 40, 3}, 5);
  const Tensor labels = testing::RandomIntegers({8}, 6, 0, 7);
  const auto loss = [&](models::Model& model) { return CrossEntropy(model.EncodeImages(pixels).logits, labels); };
  const Outcome plain = RunTwice(recipe, false, loss), again = RunTwice(recipe, true, loss);
  EXPECT_GT(again.blocks, 2);
  ExpectEqual(plain, again);
  EXPECT_LT(again.peak_bytes, plain.peak_bytes * 8 / 10);
}

TEST(Recompute, TransformersAndAdapters) {
  Recipe recipe{.model = testing::SourcePath("tests/golden/clip_tiny")};
  const Tensor pixels = testing::RandomNormal({6, 32, 32, 3}, 5);
  const Tensor ids = testing::RandomIntegers({6, 9}, 6, 0, 23);
  const auto loss = [&](models::Model& model) {
    return ContrastiveLoss(
        model.MatchLogits(model.EncodeImages(pixels).features, model.EncodeTexts({.ids = ids}).features));
  };
  for (const int64_t rank : {0, 2}) {
    recipe.lora = {.rank = rank, .alpha = 4};
    const Outcome plain = RunTwice(recipe, false, loss), again = RunTwice(recipe, true, loss);
    EXPECT_EQ(again.blocks, 4);
    ExpectEqual(plain, again);
  }
}

}  // namespace
}  // namespace fovea::train
