#include "kernels/conv2d/conv2d.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "testing/testing.h"

namespace fovea::kernels {
namespace {

using testing::ExpectClose;
using testing::RandomNormal;

struct Case {
  const char* name;
  int64_t batch, height, width, in, out, kernel_y, kernel_x;
  Conv2dGeometry geometry;
};

const Case kCases[] = {
    {"1x1", 2, 5, 7, 3, 4, 1, 1, {}},
    {"1x1 wide", 1, 9, 9, 88, 528, 1, 1, {}},
    {"1x1 strided", 1, 7, 8, 16, 24, 1, 1, {.stride_y = 2, .stride_x = 2}},
    {"3x3 padded", 2, 6, 5, 8, 16, 3, 3, {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}},
    {"3x3 SAME of an even size",
     1,
     10,
     10,
     3,
     32,
     3,
     3,
     {.stride_y = 2, .stride_x = 2, .pad_bottom = 1, .pad_right = 1}},
    {"3x2 stride 2x1",
     1,
     9,
     6,
     5,
     7,
     3,
     2,
     {.stride_y = 2, .pad_top = 1, .pad_left = 0, .pad_bottom = 1, .pad_right = 1}},
    {"dilated",
     1,
     12,
     11,
     4,
     6,
     3,
     3,
     {.pad_top = 2, .pad_left = 2, .pad_bottom = 2, .pad_right = 2, .dilation_y = 2, .dilation_x = 2}},
    {"grouped", 2, 7, 7, 12, 8, 3, 3, {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .groups = 4}},
    {"depthwise 3x3",
     2,
     9,
     9,
     24,
     24,
     3,
     3,
     {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .groups = 24}},
    {"depthwise 5x5 strided, 13 channels",
     1,
     11,
     12,
     13,
     13,
     5,
     5,
     {.stride_y = 2, .stride_x = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 2, .pad_right = 2, .groups = 13}},
    {"depthwise with multiplier",
     1,
     6,
     6,
     4,
     8,
     3,
     3,
     {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .groups = 4}},
    {"patches", 2, 28, 28, 3, 20, 14, 14, {.stride_y = 14, .stride_x = 14}},
    {"kernel as large as the picture", 1, 4, 4, 3, 5, 4, 4, {}},
    {"one pixel", 1, 1, 1, 1, 1, 3, 3, {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}},
};

Shape OutputShape(const Case& c) {
  const auto [height, width] = Conv2dOutputSize(c.height, c.width, c.kernel_y, c.kernel_x, c.geometry);
  return {c.batch, height, width, c.out};
}

class Conv2dCases : public ::testing::TestWithParam<Case> {
 protected:
  const Case& c() const { return GetParam(); }
  Shape x_shape() const { return {c().batch, c().height, c().width, c().in}; }
  Shape w_shape() const { return {c().out, c().in / c().geometry.groups, c().kernel_y, c().kernel_x}; }
};

TEST_P(Conv2dCases, ForwardEqualsReference) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor x = RandomNormal(x_shape(), 1, 1, dtype), w = RandomNormal(w_shape(), 2, 1, dtype),
                 b = RandomNormal({c().out}, 3, 1, dtype);
    Tensor expected = Tensor::Empty(OutputShape(c()), dtype), actual = Tensor::Empty(OutputShape(c()), dtype);
    ref::Conv2d(x, w, b, c().geometry, expected);
    Conv2d(x, w, b, c().geometry, actual);
    const int64_t terms = w.numel() / c().out;
    ExpectClose(actual, expected, testing::Tolerance(dtype, terms, 8), c().name);
    ref::Conv2d(x, w, Tensor(), c().geometry, expected);
    Conv2d(x, w, Tensor(), c().geometry, actual);
    ExpectClose(actual, expected, testing::Tolerance(dtype, terms, 8), c().name);
  }
}

TEST_P(Conv2dCases, GradientsEqualReference) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor x = RandomNormal(x_shape(), 1, 1, dtype), w = RandomNormal(w_shape(), 2, 1, dtype),
                 dy = RandomNormal(OutputShape(c()), 4, 1, dtype);
    Tensor expected = Tensor::Empty(x.shape(), dtype), actual = Tensor::Empty(x.shape(), dtype);
    ref::Conv2dBackwardData(dy, w, c().geometry, expected);
    Conv2dBackwardData(dy, w, c().geometry, actual);
    ExpectClose(actual, expected, testing::Tolerance(dtype, w.numel() / c().in, 8), c().name);
    Tensor dw_expected = Tensor::Empty(w.shape(), dtype), dw = Tensor::Empty(w.shape(), dtype);
    Tensor db_expected = Tensor::Empty({c().out}, dtype), db = Tensor::Empty({c().out}, dtype);
    ref::Conv2dBackwardWeights(x, dy, c().geometry, dw_expected, db_expected);
    Conv2dBackwardWeights(x, dy, c().geometry, dw, db);
    const int64_t terms = dy.numel() / c().out;
    ExpectClose(dw, dw_expected, testing::Tolerance(dtype, terms, 8), c().name);
    ExpectClose(db, db_expected, testing::Tolerance(dtype, terms, 8), c().name);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Conv2dCases, ::testing::ValuesIn(kCases));

// oneDNN's AVX2 kernel went wrong here in most runs of few channels, not in all.
TEST(Conv2d, PixelsThatNoWindowReachesAddNothingToTheGradient) {
  for (const int64_t out : {3, 12}) {
    const Tensor x = RandomNormal({2, 10, 14, 4}, 1), dy = RandomNormal({2, 5, 7, out}, 2);
    Tensor expected = Tensor::Empty({out, 4, 1, 1}), none;
    ref::Conv2dBackwardWeights(x, dy, {.stride_y = 2, .stride_x = 2}, expected, none);
    for (int run = 0; run < 20; ++run) {
      Tensor actual = Tensor::Empty({out, 4, 1, 1});
      Conv2dBackwardWeights(x, dy, {.stride_y = 2, .stride_x = 2}, actual, none);
      ExpectClose(actual, expected, testing::Tolerance(DType::kF32, 70, 8));
    }
  }
}

TEST(Conv2d, PackedWeightsServeEveryPictureSizeAndFuseTheActivation) {
  const Tensor w = RandomNormal({16, 8, 3, 3}, 2), b = RandomNormal({16}, 3);
  const Conv2dGeometry geometry{.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const PackedConv2d packed(w, b, geometry, Act::kRelu6);
  for (const int64_t side : {1, 4, 9, 17}) {
    const Tensor x = RandomNormal({2, side, side, 8}, side);
    Tensor expected = Tensor::Empty({2, side, side, 16}), actual = Tensor::Empty({2, side, side, 16});
    ref::Conv2d(x, w, b, geometry, expected);
    for (int64_t i = 0; i < expected.numel(); ++i)
      expected.mutable_data<float>()[i] = std::clamp(expected.data<float>()[i], 0.0f, 6.0f);
    packed.Run(x, actual);
    ExpectClose(actual, expected, testing::Tolerance(DType::kF32, 72, 4));
  }
}

}  // namespace
}  // namespace fovea::kernels
