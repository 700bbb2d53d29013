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

TEST(LossOp, PairLossesMatchPyTorch) {
  testing::ExpectGolden("pair_losses", 1e-5f, 0.0f, [](const nlohmann::json& a, const testing::NamedTensors& in) {
    const std::string op = a["op"];
    const Tensor& x = in.at("x");
    if (op == "contrastive") return ContrastiveLoss(x, a["label_smoothing"]);
    if (op == "sigmoid_contrastive") return SigmoidContrastiveLoss(x);
    if (op == "max_of_hinges") return MaxOfHinges(x, {.margin = a["margin"], .is_hardest_only = a["hardest"]});
    const Tensor& target = in.at("target");
    if (op == "mse") return MseLoss(x, target);
    if (op == "smooth_l1") return SmoothL1Loss(x, target, a["beta"]);
    if (op == "bce") return BinaryCrossEntropyWithLogits(x, target);
    if (op == "distillation") return DistillationLoss(x, target, a["temperature"]);
    return AffinityDistillationLoss(x, target, a["temperature"]);
  });
}

TEST(LossOp, PairLossesStayFiniteAndTakeBf16) {
  const Tensor huge = Tensor::FromValues<float>({2, 2}, {-1e4f, 1e4f, 1e4f, -1e4f});
  EXPECT_NEAR(ContrastiveLoss(huge).item(), 2e4f, 1.0f);
  EXPECT_NEAR(SigmoidContrastiveLoss(huge).item(), 2e4f, 1.0f);
  EXPECT_NEAR(BinaryCrossEntropyWithLogits(huge, Tensor::Zeros({2, 2})).item(), 5e3f, 1.0f);
  const Tensor x = testing::RandomNormal({3, 3}, 4).To(DType::kBF16);
  Tape tape;
  tape.Watch(x);
  const Tensor loss = SigmoidContrastiveLoss(x);
  EXPECT_EQ(loss.dtype(), DType::kF32);
  EXPECT_EQ(tape.Backward(loss)[x].dtype(), DType::kBF16);
}

TEST(LossOp, PairLossesRefuseShapesThatDoNotFit) {
  testing::ExpectError([] { ContrastiveLoss(Tensor::Zeros({2, 3})); }, "expected similarities [N,N], got [2,3]");
  testing::ExpectError([] { MseLoss(Tensor::Zeros({2, 3}), Tensor::Zeros({3})); }, "[2,3] and [3]");
  testing::ExpectError([] { SmoothL1Loss(Tensor::Zeros({2}), Tensor::Zeros({2}), 0.0f); }, "beta above 0");
}

}  // namespace
}  // namespace fovea
