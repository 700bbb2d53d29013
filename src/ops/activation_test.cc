#include "ops/activation.h"

#include <gtest/gtest.h>

#include "testing/golden.h"

namespace fovea {
namespace {

TEST(ActivationOp, MatchesPyTorch) {
  testing::ExpectGolden(
      "activations", 3e-6f, 0.06f, [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
        return Activate(in.at("x"), kernels::ActFromName(attributes["act"].get<std::string>(), "test"));
      });
}

TEST(ActivationOp, Gradients) {
  const Tensor x = testing::RandomNormal({3, 7}, 1, 2.0f);
  for (const auto& function : {Silu, Gelu, GeluTanh, QuickGelu, Sigmoid, Tanh}) {
    testing::ExpectGradientsMatch([&](const std::vector<Tensor>& in) { return function(in[0]); }, {x});
  }
  const Tensor away_from_kinks = Tensor::FromValues<float>({5}, {-2.0f, -0.5f, 0.5f, 3.0f, 7.0f});
  for (const auto& function : {Relu, Relu6}) {
    testing::ExpectGradientsMatch([&](const std::vector<Tensor>& in) { return function(in[0]); }, {away_from_kinks});
  }
}

TEST(ActivationOp, TakesStridedViewsAndRefusesIntegers) {
  const Tensor x = testing::RandomNormal({4, 6}, 2);
  const Tensor part = x.Sliced(1, 1, 4);
  testing::ExpectClose(Relu(part), Relu(part.Clone()), 0.0f);
  testing::ExpectError([] { Gelu(testing::RandomIntegers({2}, 1, 0, 5)); }, "[gelu] expected f32 or bf16, got i64[2]");
  testing::ExpectError([] { Gelu(Tensor()); }, "[gelu] expected a tensor");
}

}  // namespace
}  // namespace fovea
