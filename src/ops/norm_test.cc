#include "ops/norm.h"

#include <gtest/gtest.h>

#include "testing/golden.h"

namespace fovea {
namespace {

using Inputs = std::vector<Tensor>;

TEST(NormOp, MatchesPyTorchInValuesGradientsAndRunningStatistics) {
  testing::ExpectGolden("norms", 2e-5f, 0.25f, [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
    const std::string op = attributes["op"];
    const float eps = attributes["eps"];
    const Tensor& x = in.at("x");
    if (op == "layer") return LayerNorm(x, in.at("gamma"), in.at("beta"), eps);
    if (op == "rms") return RmsNorm(x, in.at("gamma"), eps);
    if (op == "l2") return L2Normalize(x, eps);
    if (op == "group") return GroupNorm(x, attributes["groups"], in.at("gamma"), in.at("beta"), eps);
    return BatchNorm(x, {in.at("gamma"), in.at("beta"), in.at("running_mean"), in.at("running_variance")},
                     {.eps = eps, .momentum = attributes["momentum"]});
  });
}

TEST(NormOp, Gradients) {
  const Tensor x = testing::RandomNormal({2, 3, 6}, 1), gamma = testing::RandomUniform({6}, 2, 0.5f, 1.5f),
               beta = testing::RandomNormal({6}, 3);
  testing::ExpectGradientsMatch([](const Inputs& in) { return LayerNorm(in[0], in[1], in[2], 0.1f); },
                                {x, gamma, beta});
  testing::ExpectGradientsMatch([](const Inputs& in) { return LayerNorm(in[0], {}, {}, 0.1f); }, {x});
  testing::ExpectGradientsMatch([](const Inputs& in) { return RmsNorm(in[0], in[1], 0.1f); }, {x, gamma});
  testing::ExpectGradientsMatch([](const Inputs& in) { return L2Normalize(in[0]); }, {x});
  testing::ExpectGradientsMatch([](const Inputs& in) { return GroupNorm(in[0], 2, in[1], in[2], 0.1f); },
                                {x, gamma, beta});
  const Tensor mean = testing::RandomNormal({6}, 4), variance = testing::RandomUniform({6}, 5, 0.5f, 2.0f);
  testing::ExpectGradientsMatch(
      [&](const Inputs& in) {
        return BatchNorm(in[0], {in[1], in[2], mean, variance}, {});
      },
      {x, gamma, beta});
}

TEST(NormOp, ParametersMayStayF32BesideBf16) {
  const Tensor x = testing::RandomNormal({4, 8}, 6, 1.0f, DType::kBF16),
               gamma = testing::RandomUniform({8}, 7, 0.5f, 1.5f);
  Tape tape;
  tape.Watch(x);
  tape.Watch(gamma);
  const Tensor y = LayerNorm(x, gamma, {});
  EXPECT_EQ(y.dtype(), DType::kBF16);
  testing::ExpectClose(y, LayerNorm(x.To(DType::kF32), gamma, {}), 0.02f);
  const Gradients gradients = tape.Backward(y, Tensor::Full({4, 8}, 1.0f, DType::kBF16));
  EXPECT_EQ(gradients[x].dtype(), DType::kBF16);
  EXPECT_EQ(gradients[gamma].dtype(), DType::kF32);
}

TEST(NormOp, BatchNormOutsideTrainingLeavesStatisticsAlone) {
  const Tensor mean = Tensor::Full({2}, 3.0f), variance = Tensor::Full({2}, 4.0f);
  const Tensor y = BatchNorm(Tensor::Full({5, 2}, 5.0f), {{}, {}, mean, variance}, {.eps = 0.0f});
  testing::ExpectClose(y, Tensor::Full({5, 2}, 1.0f), 1e-6f);
  testing::ExpectClose(mean, Tensor::Full({2}, 3.0f), 0.0f);
}

TEST(NormOp, RefusesWrongShapes) {
  const Tensor x = Tensor::Zeros({2, 6});
  testing::ExpectError([&] { LayerNorm(x, Tensor::Zeros({5}), {}); }, "[layer_norm] expected gamma [6], got [5]");
  testing::ExpectError([&] { GroupNorm(x, 4, {}, {}); },
                       "[group_norm] expected a number of groups that divides 6 channels, got 4");
  testing::ExpectError([&] { BatchNorm(x, {}, {}); }, "[batch_norm] expected running statistics");
  testing::ExpectError([&] { L2Normalize(x, 0.0f); }, "[l2_normalize] expected eps > 0");
}

}  // namespace
}  // namespace fovea
