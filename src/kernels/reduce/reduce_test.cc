#include "kernels/reduce/reduce.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "testing/testing.h"

namespace fovea::kernels {
namespace {

constexpr int64_t kSizes[][3] = {{1, 1, 1},      {1, 7, 1},     {3, 8, 1},     {2, 9, 1},   {5, 33, 1},
                                 {1, 200000, 1}, {4, 70000, 1}, {1, 3, 5},     {2, 65, 17}, {1, 1, 9},
                                 {3, 49, 8},     {2, 130, 33},  {1, 9000, 24}, {300, 4, 1}, {2, 1, 100}};

TEST(ReduceKernel, MatchesReference) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const auto& [A, N, C] : kSizes) {
      const Tensor x = testing::RandomNormal({A, N, C}, 3, 1.0f, dtype);
      Tensor y = Tensor::Empty({A, C}, dtype), expected = Tensor::Empty({A, C}, dtype);
      const float scale = 1.0f / static_cast<float>(N);
      ReduceSum(x, scale, y);
      ref::ReduceSum(x, scale, expected);
      testing::ExpectClose(y, expected, dtype == DType::kBF16 ? 1e-2f : 3e-7f, "mean of " + x.shape().ToString());
      ReduceMax(x, y);
      ref::ReduceMax(x, expected);
      testing::ExpectClose(y, expected, 0.0f, "max of " + x.shape().ToString());
    }
  }
}

TEST(ReduceKernel, LongSumsStayExact) {
  // In f32 one after the other, 3 million times 0.1 would be off by thousands.
  const Tensor x = Tensor::Full({1, 3000000, 1}, 0.1f);
  Tensor y = Tensor::Empty({1, 1});
  ReduceSum(x, 1.0f, y);
  EXPECT_NEAR(y.data<float>()[0], 3e6 * static_cast<double>(0.1f), 0.3);
}

TEST(ReduceKernel, ThreadsChangeNothing) {
  const Tensor x = testing::RandomNormal({3, 100000, 2}, 4);
  Tensor one = Tensor::Empty({3, 2}), many = Tensor::Empty({3, 2});
  {
    const base::ThreadLimit limit(1);
    ReduceSum(x, 1.0f, one);
  }
  ReduceSum(x, 1.0f, many);
  testing::ExpectClose(many, one, 0.0f);
}

TEST(ReduceKernel, MaxAndArgMaxSeeNaNAndTies) {
  const Tensor x = Tensor::FromValues<float>({3, 3, 1}, {1, NAN, 2, 5, 5, 4, -INFINITY, -INFINITY, -INFINITY});
  Tensor best = Tensor::Empty({3, 1}), where = Tensor::Empty({3, 1}, DType::kI64);
  ReduceMax(x, best);
  ArgMax(x, where);
  EXPECT_TRUE(std::isnan(best.data<float>()[0]));
  EXPECT_EQ(best.data<float>()[1], 5.0f);
  EXPECT_EQ(best.data<float>()[2], -INFINITY);
  EXPECT_EQ(where.data<int64_t>()[0], 1);
  EXPECT_EQ(where.data<int64_t>()[1], 0);
  EXPECT_EQ(where.data<int64_t>()[2], 0);
  Tensor dx = Tensor::Empty({3, 3, 1});
  ReduceMaxBackward(x, best, Tensor::Full({3, 1}, 1.0f), dx);
  EXPECT_EQ(dx.data<float>()[3], 0.5f);
  EXPECT_EQ(dx.data<float>()[4], 0.5f);
  EXPECT_EQ(dx.data<float>()[5], 0.0f);
}

TEST(ReduceKernel, ArgMaxAlongAnInnerAxis) {
  const Tensor x = Tensor::FromValues<float>({1, 3, 2}, {1, 9, 7, 2, 3, 4}).To(DType::kBF16);
  Tensor where = Tensor::Empty({1, 2}, DType::kI64);
  ArgMax(x, where);
  EXPECT_EQ(where.data<int64_t>()[0], 1);
  EXPECT_EQ(where.data<int64_t>()[1], 0);
}

}  // namespace
}  // namespace fovea::kernels
