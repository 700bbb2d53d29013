#include "ops/softmax.h"

#include <gtest/gtest.h>

#include <cmath>

#include "testing/golden.h"

namespace fovea {
namespace {

TEST(SoftmaxOp, MatchesPyTorch) {
  testing::ExpectGolden("softmaxes", 3e-6f, 0.07f,
                        [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
                          return attributes["log"].get<bool>() ? LogSoftmax(in.at("x")) : Softmax(in.at("x"));
                        });
}

TEST(SoftmaxOp, Gradients) {
  const Tensor x = testing::RandomNormal({2, 3, 5}, 1);
  testing::ExpectGradientsMatch([](const std::vector<Tensor>& in) { return Softmax(in[0]); }, {x});
  testing::ExpectGradientsMatch([](const std::vector<Tensor>& in) { return LogSoftmax(in[0]); }, {x});
}

TEST(SoftmaxOp, MaskedRowsGiveZerosAndNoGradient) {
  const Tensor x = Tensor::Full({2, 4}, -INFINITY);
  Tape tape;
  tape.Watch(x);
  const Tensor y = Softmax(x);
  testing::ExpectClose(y, Tensor::Zeros({2, 4}), 0.0f);
  const Gradients gradients = tape.Backward(y, Tensor::Full({2, 4}, 1.0f));
  testing::ExpectClose(gradients[x], Tensor::Zeros({2, 4}), 0.0f);
}

TEST(SoftmaxOp, RefusesEmptyRows) {
  testing::ExpectError(
      [] {
        Softmax(Tensor::Zeros({2, 0}));
      },
      "[softmax] expected at least one element along the last axis, got [2,0]");
  EXPECT_EQ(Softmax(Tensor::Zeros({0, 2})).shape(), (Shape{0, 2}));
}

}  // namespace
}  // namespace fovea
