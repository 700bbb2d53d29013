#include "ops/loss.h"

#include <gtest/gtest.h>

#include "testing/golden.h"

namespace fovea {
namespace {

TEST(LossOp, CrossEntropyMatchesPyTorch) {
  testing::ExpectGolden("losses", 2e-6f, 0.02f, [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
    return CrossEntropy(in.at("logits"), in.at("labels"), {.label_smoothing = attributes["label_smoothing"]});
  });
}

TEST(LossOp, CrossEntropyGradients) {
  const Tensor labels = Tensor::FromValues<int64_t>({4}, {0, -100, 4, 2});
  testing::ExpectGradientsMatch(
      [&](const std::vector<Tensor>& in) { return CrossEntropy(in[0], labels, {.label_smoothing = 0.2f}); },
      {testing::RandomNormal({4, 5}, 1)}, 1e-2f, 2e-3f);
}

TEST(LossOp, EverythingIgnoredIsZeroWithoutGradient) {
  const Tensor logits = testing::RandomNormal({2, 3}, 2), labels = Tensor::FromValues<int64_t>({2}, {-100, -100});
  Tape tape;
  tape.Watch(logits);
  const Tensor loss = CrossEntropy(logits, labels);
  EXPECT_EQ(loss.item(), 0.0f);
  testing::ExpectClose(tape.Backward(loss)[logits], Tensor::Zeros({2, 3}), 0.0f);
}

TEST(LossOp, RefusesLabelsOutOfRange) {
  const Tensor logits = Tensor::Zeros({2, 3});
  testing::ExpectError(
      [&] {
        CrossEntropy(logits, Tensor::FromValues<int64_t>({2}, {0, 3}));
      },
      "[cross_entropy] expected labels in [0,3), got 3 in row 1");
  testing::ExpectError([&] { CrossEntropy(logits, Tensor::FromValues<int64_t>({3}, {0, 1, 2})); }, "labels i64[N]");
}

}  // namespace
}  // namespace fovea
