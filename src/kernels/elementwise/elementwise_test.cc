#include "kernels/elementwise/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "testing/testing.h"

namespace fovea::kernels {
namespace {

constexpr BinaryOp kBinary[] = {BinaryOp::kAdd, BinaryOp::kSub, BinaryOp::kMul, BinaryOp::kDiv};

void ExpectBinaryMatches(const Tensor& a, const Tensor& b) {
  const Shape shape = BroadcastShapes(a.shape(), b.shape(), "test");
  for (const BinaryOp op : kBinary) {
    Tensor y = Tensor::Empty(shape, a.dtype()), expected = Tensor::Empty(shape, a.dtype());
    Binary(op, a.Expanded(shape), b.Expanded(shape), y);
    ref::Binary(op, a.Expanded(shape), b.Expanded(shape), expected);
    testing::ExpectClose(y, expected, 0.0f, "op " + std::to_string(static_cast<int>(op)));  // one rounding: exact
  }
}

TEST(ElementwiseKernel, BinaryMatchesReferenceForEveryLength) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t n : {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 1000, 70000}) {
      const Tensor a = testing::RandomNormal({n + 1}, 1, 1.0f, dtype).Sliced(0, 1, n + 1);
      ExpectBinaryMatches(a, testing::RandomUniform({n}, 2, 0.5f, 2.0f, dtype));
    }
  }
}

TEST(ElementwiseKernel, BinaryBroadcasts) {
  const std::pair<Shape, Shape> cases[] = {{{2, 3, 4, 33}, {2, 1, 1, 33}},
                                           {{2, 1, 1, 33}, {2, 3, 4, 33}},
                                           {{5, 17}, {17}},
                                           {{5, 17}, {5, 1}},
                                           {{5, 1}, {1, 17}},
                                           {{}, {3, 4}},
                                           {{1}, {1}},
                                           {{3, 1, 5, 1}, {1, 4, 1, 6}},
                                           {{300, 200}, {300, 1}},
                                           {{2, 0, 3}, {1, 3}},
                                           {{7, 1, 9}, {7, 8, 9}}};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const auto& [left, right] : cases) {
      ExpectBinaryMatches(testing::RandomNormal(left, 3, 1.0f, dtype),
                          testing::RandomUniform(right, 4, 0.5f, 2.0f, dtype));
    }
  }
}

TEST(ElementwiseKernel, BinaryTakesStridedViews) {
  const int order[] = {2, 0, 1};
  const Tensor a = testing::RandomNormal({3, 4, 5}, 5).Permuted(order);
  ExpectBinaryMatches(a, testing::RandomUniform({5, 3, 4}, 6, 0.5f, 2.0f));
  ExpectBinaryMatches(testing::RandomNormal({6, 10}, 7).Sliced(1, 2, 7), testing::RandomUniform({5}, 8, 0.5f, 2.0f));
}

TEST(ElementwiseKernel, UnaryAndAffineMatchReference) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t n : {1, 7, 8, 17, 33, 1000, 20000}) {
      const Tensor x = testing::RandomUniform({n}, 9, 0.01f, 5.0f, dtype);
      Tensor y = Tensor::Empty({n}, dtype), expected = Tensor::Empty({n}, dtype);
      for (const UnaryOp op : {UnaryOp::kExp, UnaryOp::kLog, UnaryOp::kSqrt, UnaryOp::kSquare}) {
        Unary(op, x, y);
        ref::Unary(op, x, expected);
        testing::ExpectClose(y, expected, dtype == DType::kBF16 ? 0.5f : 3e-5f,
                             "op " + std::to_string(static_cast<int>(op)));
      }
      Affine(x, -1.5f, 0.25f, y);
      ref::Affine(x, -1.5f, 0.25f, expected);
      testing::ExpectClose(y, expected, dtype == DType::kBF16 ? 0.0f : 1e-6f, "affine");
    }
  }
}

TEST(ElementwiseKernel, UnaryOutsideTheDomain) {
  const Tensor x = Tensor::FromValues<float>({6}, {0.0f, -1.0f, INFINITY, -INFINITY, NAN, 1e30f});
  for (const UnaryOp op : {UnaryOp::kExp, UnaryOp::kLog, UnaryOp::kSqrt, UnaryOp::kSquare}) {
    Tensor y = Tensor::Empty({6}), expected = Tensor::Empty({6});
    Unary(op, x, y);
    ref::Unary(op, x, expected);
    testing::ExpectClose(y, expected, 1e-4f, "op " + std::to_string(static_cast<int>(op)));
  }
}

TEST(ElementwiseKernel, SelectChoosesByMask) {
  Tensor mask = Tensor::Empty({2, 1}, DType::kBool);
  mask.mutable_data<bool>()[0] = true;
  mask.mutable_data<bool>()[1] = false;
  const Tensor a = Tensor::FromValues<float>({3}, {1, 2, 3}), b = Tensor::Scalar(-9.0f);
  Tensor y = Tensor::Empty({2, 3});
  Select(mask.Expanded({2, 3}), a.Expanded({2, 3}), b.Expanded({2, 3}), y);
  testing::ExpectClose(y, Tensor::FromValues<float>({2, 3}, {1, 2, 3, -9, -9, -9}), 0.0f);
}

}  // namespace
}  // namespace fovea::kernels
