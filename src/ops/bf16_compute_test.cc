// Products in bf16 while a tape asks for them: the numbers of f32 products of rounded operands.
#include <gtest/gtest.h>

#include "ops/conv.h"
#include "ops/matmul.h"
#include "tensor/tape.h"
#include "testing/testing.h"

namespace fovea {
namespace {

Tensor Rounded(const Tensor& x) { return x.To(DType::kBF16).To(DType::kF32); }

struct Outcome {
  Tensor y;
  std::vector<Tensor> gradients;
};

// `rounds`: f32 with every operand rounded by hand, the gradient of the result as well.
template <typename Function>
Outcome Run(const std::vector<Tensor>& inputs, const Tensor& dy, bool computes_bf16, Function&& function) {
  Tape tape({.computes_bf16 = computes_bf16});
  for (const Tensor& input : inputs) tape.Watch(input);
  Outcome outcome;
  outcome.y = function(inputs);
  const Gradients gradients = tape.Backward(outcome.y, dy);
  for (const Tensor& input : inputs) outcome.gradients.push_back(gradients[input]);
  return outcome;
}

template <typename Function>
void ExpectRoundedProducts(const Tensor& x, const Tensor& weight, const Tensor& bias, const Shape& y_shape,
                           int64_t terms, const std::string& what, Function&& function) {
  const Tensor dy = testing::RandomNormal(y_shape, 9);
  const Outcome narrow = Run({x, weight, bias}, dy, true, function);
  const Outcome wide = Run({Rounded(x), Rounded(weight), bias.Clone()}, Rounded(dy), false, function);
  const Outcome plain = Run({x.Clone(), weight.Clone(), bias.Clone()}, dy, false, function);
  EXPECT_EQ(narrow.y.dtype(), DType::kF32) << what;
  const float tolerance = testing::Tolerance(DType::kF32, terms, 4.0f);
  testing::ExpectClose(narrow.y, wide.y, tolerance, what);
  for (size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(narrow.gradients[i].dtype(), DType::kF32) << what;
    testing::ExpectClose(narrow.gradients[i], wide.gradients[i], tolerance * 4, what + " gradient");
  }
  // A convolution adds up the rounded gradient, a linear layer the gradient itself.
  const Tensor& bias_gradient = (y_shape.rank() == 4 ? wide : plain).gradients[2];
  testing::ExpectClose(narrow.gradients[2], bias_gradient, tolerance * 2, what + " bias");
  float difference = 0;
  for (int64_t i = 0; i < narrow.y.numel(); ++i)
    difference = std::max(difference, std::abs(narrow.y.values<float>()[i] - plain.y.values<float>()[i]));
  EXPECT_GT(difference, 1e-4f) << what << " did not round anything";
}

TEST(Bf16Compute, LinearLayers) {
  for (const auto& [M, I, O] : {std::array<int64_t, 3>{37, 64, 48}, {1, 33, 7}, {200, 96, 130}}) {
    ExpectRoundedProducts(testing::RandomNormal({M, I}, 1), testing::RandomNormal({O, I}, 2),
                          testing::RandomNormal({O}, 3), {M, O}, std::max(M, std::max(I, O)), "linear",
                          [](const std::vector<Tensor>& in) { return Linear(in[0], in[1], in[2]); });
  }
}

TEST(Bf16Compute, Convolutions) {
  struct Case {
    int64_t in, out, kernel, groups, stride;
  };
  for (const Case& c : {Case{16, 24, 3, 1, 1}, {3, 16, 3, 1, 2}, {32, 32, 5, 32, 2}, {32, 64, 1, 1, 1}}) {
    const int64_t side = 12, result = (side + 2 * (c.kernel / 2) - c.kernel) / c.stride + 1;
    const Conv2dGeometry geometry{.stride_y = c.stride,
                                  .stride_x = c.stride,
                                  .pad_top = c.kernel / 2,
                                  .pad_left = c.kernel / 2,
                                  .pad_bottom = c.kernel / 2,
                                  .pad_right = c.kernel / 2,
                                  .groups = c.groups};
    ExpectRoundedProducts(testing::RandomNormal({2, side, side, c.in}, 1),
                          testing::RandomNormal({c.out, c.in / c.groups, c.kernel, c.kernel}, 2),
                          testing::RandomNormal({c.out}, 3), {2, result, result, c.out}, 2 * side * side,
                          "conv " + std::to_string(c.groups),
                          [&](const std::vector<Tensor>& in) { return Conv2d(in[0], in[1], in[2], geometry); });
  }
}

}  // namespace
}  // namespace fovea
