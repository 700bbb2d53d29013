#include "ops/reduce.h"

#include <gtest/gtest.h>

#include "testing/golden.h"

namespace fovea {
namespace {

using Inputs = std::vector<Tensor>;

TEST(ReduceOp, MatchesPyTorch) {
  testing::ExpectGolden(
      "reductions", 2e-5f, 0.2f, [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
        const auto axes = attributes["axes"].get<std::vector<int>>();
        const std::string op = attributes["op"];
        return op == "sum" ? Sum(in.at("x"), axes) : op == "mean" ? Mean(in.at("x"), axes) : Max(in.at("x"), axes);
      });
}

TEST(ReduceOp, KeepsDimensionsWhenAsked) {
  const Tensor x = testing::RandomNormal({2, 3, 4}, 1);
  EXPECT_EQ(Sum(x, {1}, true).shape(), (Shape{2, 1, 4}));
  EXPECT_EQ(Mean(x, {-1, 0}, true).shape(), (Shape{1, 3, 1}));
  EXPECT_EQ(Max(x, {0, 2}).shape(), Shape{3});
  EXPECT_EQ(Sum(x).shape(), Shape{});
  testing::ExpectGradientsMatch([](const Inputs& in) { return Sum(in[0], {0, 2}, true); }, {x});
  testing::ExpectGradientsMatch([](const Inputs& in) { return Mean(in[0], {1}, true); }, {x});
  testing::ExpectGradientsMatch([](const Inputs& in) { return Max(in[0], {0, 2}, true); }, {x});
}

TEST(ReduceOp, SumToUndoesBroadcasting) {
  const Tensor x = Tensor::FromValues<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  testing::ExpectClose(SumTo(x, {3}), Tensor::FromValues<float>({3}, {5, 7, 9}), 0.0f);
  testing::ExpectClose(SumTo(x, {2, 1}), Tensor::FromValues<float>({2, 1}, {6, 15}), 0.0f);
  testing::ExpectClose(SumTo(x, {}), Tensor::Scalar(21), 0.0f);
  testing::ExpectGradientsMatch([](const Inputs& in) { return SumTo(in[0], {1, 3}); }, {x});
}

TEST(ReduceOp, ArgMaxTakesTheFirst) {
  const Tensor x = Tensor::FromValues<float>({2, 3}, {1, 5, 5, 7, 2, 9});
  const Tensor rows = ArgMax(x), columns = ArgMax(x, 0);
  EXPECT_EQ(rows.shape(), Shape{2});
  EXPECT_EQ(rows.data<int64_t>()[0], 1);
  EXPECT_EQ(rows.data<int64_t>()[1], 2);
  EXPECT_EQ(columns.shape(), Shape{3});
  EXPECT_EQ(columns.data<int64_t>()[1], 0);
}

TEST(ReduceOp, EmptyAndInvalid) {
  testing::ExpectClose(Sum(Tensor::Zeros({2, 0}), {1}), Tensor::Zeros({2}), 0.0f);
  EXPECT_EQ(Max(Tensor::Zeros({0, 3}), {1}).shape(), Shape{0});
  testing::ExpectError([] { Mean(Tensor::Zeros({2, 0}), {1}); }, "[mean] expected at least one element");
  testing::ExpectError([] { Sum(Tensor::Zeros({2, 3}), {0, -2}); }, "axis 0 of [2,3] twice");
  testing::ExpectError([] { Sum(Tensor::Zeros({2, 3}), {2}); }, "sum");
}

}  // namespace
}  // namespace fovea
