#include "kernels/resize2d/resize2d.h"

#include <gtest/gtest.h>

#include "testing/testing.h"

namespace fovea::kernels {
namespace {

// Rows with 1, 2 or 3 weights at scattered places; input 4 is used by nobody.
const BandedMatrix kMatrix{.inputs = 6,
                           .first = {0, 2, 1, 5},
                           .offset = {0, 2, 3, 6, 7},
                           .weights = {0.5f, 0.25f, -1.0f, 2.0f, 3.0f, 4.0f, 7.0f}};

TEST(ResizeKernel, ProductMatchesReference) {
  for (const int64_t C : {1, 3, 7, 8, 9, 16, 17, 33, 100, 5000}) {
    const Tensor x = testing::RandomNormal({3, 6, C}, 1);
    Tensor y = Tensor::Empty({3, 4, C}), expected = y.Clone();
    BandedProduct(kMatrix, x, y);
    ref::BandedProduct(kMatrix, x, expected);
    testing::ExpectClose(y, expected, 4e-6f);
  }
}

TEST(ResizeKernel, TransposeIsTheAdjoint) {
  const BandedMatrix transposed = Transposed(kMatrix);
  EXPECT_EQ(transposed.inputs, 4);
  ASSERT_EQ(transposed.outputs(), 6);
  double dense[4][6] = {}, flipped[6][4] = {};
  for (int m = 0; m < 4; ++m) {
    for (int64_t at = kMatrix.offset[m]; at < kMatrix.offset[m + 1]; ++at)
      dense[m][kMatrix.first[m] + at - kMatrix.offset[m]] = kMatrix.weights[at];
  }
  for (int n = 0; n < 6; ++n) {
    for (int64_t at = transposed.offset[n]; at < transposed.offset[n + 1]; ++at) {
      flipped[n][transposed.first[n] + at - transposed.offset[n]] = transposed.weights[at];
    }
  }
  for (int m = 0; m < 4; ++m) {
    for (int n = 0; n < 6; ++n) EXPECT_EQ(dense[m][n], flipped[n][m]) << m << " " << n;
  }
}

}  // namespace
}  // namespace fovea::kernels
