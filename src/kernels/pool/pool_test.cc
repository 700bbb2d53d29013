#include "kernels/pool/pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "testing/testing.h"

namespace fovea::kernels {
namespace {

// Windows of `size` every `stride`, starting at -padding, cut at the borders.
PoolAxis Windows(int64_t length, int64_t size, int64_t stride, int64_t padding) {
  PoolAxis axis;
  for (int64_t start = -padding; start + size <= length + padding; start += stride) {
    axis.push_back({std::max<int64_t>(0, start), std::min(length, start + size), size});
  }
  return axis;
}

TEST(PoolKernel, MatchesReference) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t C : {1, 3, 7, 8, 9, 16, 17, 33, 64, 65}) {
      const Shape shape{2, 9, 7, C};
      const Tensor x = testing::RandomNormal(shape, 1, 1.0f, dtype);
      const PoolAxis rows = Windows(9, 3, 2, 1), columns = Windows(7, 2, 1, 1);
      const Shape pooled{2, static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns.size()), C};
      const Tensor dy = testing::RandomNormal(pooled, 2, 1.0f, dtype);
      Tensor y = Tensor::Empty(pooled, dtype), expected = y.Clone();
      Tensor dx = Tensor::Empty(shape, dtype), expected_dx = dx.Clone();
      const float tolerance = dtype == DType::kBF16 ? 0.02f : 1e-6f;
      MaxPool(x, rows, columns, y);
      ref::MaxPool(x, rows, columns, expected);
      testing::ExpectClose(y, expected, 0.0f, "max");
      MaxPoolBackward(x, rows, columns, dy, dx);
      ref::MaxPoolBackward(x, rows, columns, dy, expected_dx);
      testing::ExpectClose(dx, expected_dx, tolerance, "max gradient");
      AvgPool(x, rows, columns, y);
      ref::AvgPool(x, rows, columns, expected);
      testing::ExpectClose(y, expected, tolerance, "average");
      AvgPoolBackward(rows, columns, dy, dx);
      ref::AvgPoolBackward(rows, columns, dy, expected_dx);
      testing::ExpectClose(dx, expected_dx, tolerance, "average gradient");
    }
  }
}

TEST(PoolKernel, MaxKeepsNaNAndMinusInfinity) {
  const Tensor x = Tensor::FromValues<float>({1, 1, 4, 1}, {-INFINITY, -INFINITY, 1.0f, NAN});
  Tensor y = Tensor::Empty({1, 1, 2, 1}), dx = Tensor::Empty({1, 1, 4, 1});
  const PoolAxis rows = Windows(1, 1, 1, 0), columns = Windows(4, 2, 2, 0);
  MaxPool(x, rows, columns, y);
  testing::ExpectClose(y, Tensor::FromValues<float>({1, 1, 2, 1}, {-INFINITY, NAN}), 0.0f);
  MaxPoolBackward(x, rows, columns, Tensor::Full({1, 1, 2, 1}, 1.0f), dx);
  testing::ExpectClose(dx, Tensor::FromValues<float>({1, 1, 4, 1}, {1, 0, 0, 1}), 0.0f);
}

}  // namespace
}  // namespace fovea::kernels
