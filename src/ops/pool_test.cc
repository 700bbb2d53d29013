#include "ops/pool.h"

#include <gtest/gtest.h>

#include "testing/golden.h"

namespace fovea {
namespace {

using Inputs = std::vector<Tensor>;

TEST(PoolOp, MatchesPyTorch) {
  // f32 alone: rounded to bf16, some windows have two largest elements.
  testing::ExpectGolden("pools", 2e-6f, 0.0f, [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
    const Tensor& x = in.at("x");
    const std::string op = attributes["op"];
    if (op == "adaptive") return AdaptiveAvgPool2d(x, attributes["size"].get<std::array<int64_t, 2>>());
    const PoolOptions options{.kernel = attributes["kernel"].get<std::array<int64_t, 2>>(),
                              .stride = attributes["stride"].get<std::array<int64_t, 2>>(),
                              .padding = attributes["padding"].get<std::array<int64_t, 2>>(),
                              .ceil_mode = attributes["ceil_mode"],
                              .count_include_pad = attributes["count_include_pad"]};
    return op == "max" ? MaxPool2d(x, options) : AvgPool2d(x, options);
  });
}

TEST(PoolOp, Gradients) {
  const Tensor x = testing::RandomUniform({1, 5, 6, 2}, 1, -4.0f, 4.0f);
  const PoolOptions options{.kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 1}};
  testing::ExpectGradientsMatch([&](const Inputs& in) { return MaxPool2d(in[0], options); }, {x}, 1e-3f);
  testing::ExpectGradientsMatch([&](const Inputs& in) { return AvgPool2d(in[0], options); }, {x});
  testing::ExpectGradientsMatch([](const Inputs& in) { return AdaptiveAvgPool2d(in[0], {2, 4}); }, {x});
  testing::ExpectGradientsMatch([](const Inputs& in) { return GlobalAvgPool(in[0]); }, {x});
}

TEST(PoolOp, GlobalAverageByHand) {
  const Tensor x = Tensor::FromValues<float>({1, 2, 2, 2}, {1, 10, 2, 20, 3, 30, 6, 60});
  testing::ExpectClose(GlobalAvgPool(x), Tensor::FromValues<float>({1, 2}, {3, 30}), 0.0f);
}

TEST(PoolOp, RefusesImpossibleWindows) {
  const Tensor x = Tensor::Zeros({1, 4, 4, 1});
  testing::ExpectError(
      [&] {
        MaxPool2d(x, {.kernel = {5, 1}});
      },
      "[max_pool2d] expected an axis of at least 5 pixels for a kernel of 5, got 4");
  testing::ExpectError([&] { AvgPool2d(x, {.kernel = {2, 2}, .padding = {2, 0}}); }, "padding <= kernel / 2");
  testing::ExpectError([&] { AvgPool2d(x, {.kernel = {0, 2}}); }, "kernel > 0");
  testing::ExpectError([&] { GlobalAvgPool(Tensor::Zeros({4, 4})); }, "[global_avg_pool] expected x [B,Y,X,C]");
}

}  // namespace
}  // namespace fovea
