#include "kernels/softmax/softmax.h"

#include <gtest/gtest.h>

#include <cmath>

#include "testing/testing.h"

namespace fovea::kernels {
namespace {

TEST(SoftmaxKernel, MatchesReferenceForEveryLength) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t n : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 1000, 20000}) {
      const Shape shape{3, n};
      const Tensor x = testing::RandomNormal(shape, 1, 4.0f, dtype), dy = testing::RandomNormal(shape, 2, 1.0f, dtype);
      Tensor y = Tensor::Empty(shape, dtype), expected = y.Clone();
      const bool is_bf16 = dtype == DType::kBF16;
      Softmax(x, y);
      ref::Softmax(x, expected);
      testing::ExpectClose(y, expected, is_bf16 ? 4e-3f : 1e-6f, "softmax");
      Tensor dx = Tensor::Empty(shape, dtype), expected_dx = dx.Clone();
      SoftmaxBackward(expected, dy, dx);
      ref::SoftmaxBackward(expected, dy, expected_dx);
      testing::ExpectClose(dx, expected_dx, is_bf16 ? 1e-2f : 1e-6f, "softmax gradient");
      LogSoftmax(x, y);
      ref::LogSoftmax(x, expected);
      testing::ExpectClose(y, expected, is_bf16 ? 0.13f : 8e-6f, "log softmax");
      LogSoftmaxBackward(expected, dy, dx);
      ref::LogSoftmaxBackward(expected, dy, expected_dx);
      testing::ExpectClose(dx, expected_dx, is_bf16 ? 0.5f : 3e-4f, "log softmax gradient");
    }
  }
}

TEST(SoftmaxKernel, MaskedHugeAndInvalidRows) {
  const float inf = INFINITY;
  const Tensor x = Tensor::FromValues<float>({4, 3}, {-inf, -inf, -inf, -inf, 0, 0, 1e30f, 1e30f, -1e30f, 0, NAN, 0});
  Tensor y = Tensor::Empty({4, 3});
  Softmax(x, y);
  testing::ExpectClose(y, Tensor::FromValues<float>({4, 3}, {0, 0, 0, 0, 0.5f, 0.5f, 0.5f, 0.5f, 0, NAN, NAN, NAN}),
                       1e-7f);
  LogSoftmax(x, y);
  const float half = std::log(0.5f);
  testing::ExpectClose(
      y, Tensor::FromValues<float>({4, 3}, {-inf, -inf, -inf, -inf, half, half, half, half, -2e30f, NAN, NAN, NAN}),
      1e-6f);
}

TEST(SoftmaxKernel, InPlace) {
  Tensor x = testing::RandomNormal({5, 37}, 3);
  Tensor expected = Tensor::Empty({5, 37});
  ref::Softmax(x, expected);
  Softmax(x, x);
  testing::ExpectClose(x, expected, 1e-6f);
}

}  // namespace
}  // namespace fovea::kernels
