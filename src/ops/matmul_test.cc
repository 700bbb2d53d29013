#include "ops/matmul.h"

#include <gtest/gtest.h>

#include "fovea/error.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using testing::ExpectClose;
using testing::ExpectGradientsMatch;
using testing::RandomNormal;

TEST(MatMulOp, MatchesPyTorch) {
  testing::ExpectGolden("matmul", 2e-6f, 0.1f, [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
    return MatMul(
        in.at("a"), in.at("b"),
        {.transpose_a = attributes["transpose_a"].get<bool>(), .transpose_b = attributes["transpose_b"].get<bool>()});
  });
}

TEST(LinearOp, MatchesPyTorch) {
  testing::ExpectGolden("linear", 3e-6f, 0.1f, [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
    const Act act = kernels::ActFromName(attributes["act"].get<std::string>(), "test");
    const Tensor &x = in.at("x"), &weight = in.at("weight"), bias = in.contains("bias") ? in.at("bias") : Tensor();
    const Tensor recorded = Linear(x, weight, bias, act);
    const float tolerance = x.dtype() == DType::kF32 ? 3e-6f : 0.1f;
    ExpectClose(Linear(x, kernels::PackedLinear(weight), bias, act), recorded, tolerance, "packed");
    const Tape::Pause pause;
    ExpectClose(Linear(x, weight, bias, act), recorded, tolerance, "fused");
    return recorded;
  });
}

TEST(MatMulOp, Gradients) {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      const auto f = [&](const std::vector<Tensor>& in) {
        return MatMul(in[0], in[1], {.transpose_a = ta, .transpose_b = tb});
      };
      const Tensor a = ta ? RandomNormal({2, 5, 3}, 1) : RandomNormal({2, 3, 5}, 1),
                   b = tb ? RandomNormal({4, 5}, 2) : RandomNormal({5, 4}, 2);
      ExpectGradientsMatch(f, {a, b});
    }
  }
}

TEST(MatMulOp, EmptyOperandsHaveZeroGradients) {
  const Tensor a = RandomNormal({2, 0}, 1), b = RandomNormal({0, 3}, 2), c = RandomNormal({3, 4}, 3);
  Tape tape;
  tape.Watch(c);
  const Tensor y = MatMul(MatMul(a, b), c);
  ExpectClose(y, Tensor::Zeros({2, 4}), 0);
  ExpectClose(tape.Backward(y, Tensor::Full({2, 4}, 1.0f))[c], Tensor::Zeros({3, 4}), 0);
}

TEST(LinearOp, Gradients) {
  for (const Act act : {Act::kIdentity, Act::kSilu, Act::kGelu, Act::kTanh}) {
    const auto f = [&](const std::vector<Tensor>& in) { return Linear(in[0], in[1], in[2], act); };
    ExpectGradientsMatch(f, {RandomNormal({2, 3, 7}, 1), RandomNormal({5, 7}, 2, 0.3f), RandomNormal({5}, 3)});
  }
}

TEST(LinearOp, Bf16GradientsFollowF32) {
  const Tensor x = RandomNormal({6, 20}, 1), weight = RandomNormal({9, 20}, 2), bias = RandomNormal({9}, 3);
  const auto run = [&](DType dtype) {
    const Tensor in[] = {x.To(dtype), weight.To(dtype), bias};  // the bias stays f32
    Tape tape;
    for (const Tensor& leaf : in) tape.Watch(leaf);
    const Tensor y = Linear(in[0], in[1], in[2], Act::kSilu);
    EXPECT_EQ(y.dtype(), dtype);
    const Gradients g = tape.Backward(y, Tensor::Full(y.shape(), 1.0f, dtype));
    return std::vector<Tensor>{y, g[in[0]], g[in[1]], g[in[2]]};
  };
  const std::vector<Tensor> narrow = run(DType::kBF16), wide = run(DType::kF32);
  for (int i = 0; i < 4; ++i) ExpectClose(narrow[i], wide[i], 0.15f, "part " + std::to_string(i));
  EXPECT_EQ(narrow[2].dtype(), DType::kBF16);
  EXPECT_EQ(narrow[3].dtype(), DType::kF32);
}

TEST(MatMulOp, RefusesWhatDoesNotFit) {
  const Tensor a = RandomNormal({2, 3}, 1);
  EXPECT_THROW(MatMul(a, a), Error);
  EXPECT_THROW(MatMul(a, RandomNormal({3}, 2)), Error);
  EXPECT_THROW(MatMul(RandomNormal({2, 2, 3}, 1), RandomNormal({3, 3, 4}, 2)), Error);
  EXPECT_THROW(MatMul(a, RandomNormal({3, 2}, 2, 1, DType::kBF16)), Error);
  EXPECT_THROW(Linear(a, RandomNormal({4, 2}, 2)), Error);
  EXPECT_THROW(Linear(a, RandomNormal({4, 3}, 2), RandomNormal({3}, 3)), Error);
  EXPECT_THROW(Linear(a, kernels::PackedLinear()), Error);
  EXPECT_THROW(kernels::PackedLinear(RandomNormal({4}, 1)), Error);
  try {
    MatMul(a, a);
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("[2,3]"), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace fovea
