#include "kernels/embedding/embedding.h"

#include <gtest/gtest.h>

#include "base/parallel.h"
#include "testing/testing.h"

namespace fovea::kernels {
namespace {

TEST(Rows, GatherAndScatterMatchTheReference) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t width : {1, 3, 8, 17, 65}) {
      for (const int64_t count : {0, 1, 9, 1000}) {
        const Tensor x = testing::RandomNormal({2, 31, width}, 1, 1.0f, dtype);
        const Tensor index = testing::RandomIntegers({count}, 2, 0, 31);
        Tensor y = Tensor::Empty({2, count, width}, dtype), expected = Tensor::Empty({2, count, width}, dtype);
        GatherRows(x, index, y);
        ref::GatherRows(x, index, expected);
        testing::ExpectClose(y, expected, 0, "gather");
        const Tensor dy = testing::RandomNormal({2, count, width}, 3, 1.0f, dtype);
        Tensor dx = Tensor::Full(x.shape(), 5.0f, dtype), dx_expected = Tensor::Empty(x.shape(), dtype);
        ScatterAddRows(dy, index, dx);
        ref::ScatterAddRows(dy, index, dx_expected);
        testing::ExpectClose(dx, dx_expected, 0, "scatter");  // the same order of additions
      }
    }
  }
}

TEST(Rows, ScatterDoesNotDependOnThreads) {
  const Tensor dy = testing::RandomNormal({1, 5000, 33}, 1), index = testing::RandomIntegers({5000}, 2, 0, 100);
  Tensor one = Tensor::Empty({1, 100, 33}), many = Tensor::Empty({1, 100, 33});
  {
    const base::ThreadLimit limit(1);
    ScatterAddRows(dy, index, one);
  }
  const base::ThreadLimit limit(4);
  ScatterAddRows(dy, index, many);
  testing::ExpectClose(many, one, 0);
}

}  // namespace
}  // namespace fovea::kernels
