#include "ops/conv.h"

#include <gtest/gtest.h>

#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using testing::RandomNormal;

TEST(Conv2d, GradientsMatchDifferences) {
  const struct {
    Shape x, w;
    Conv2dGeometry geometry;
  } cases[] = {
      {{2, 5, 4, 3}, {4, 3, 3, 3}, {.stride_y = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}},
      {{1, 6, 6, 8}, {8, 1, 3, 3}, SamePadding({.stride_y = 2, .stride_x = 2, .groups = 8}, 6, 6, 3, 3)},
      {{2, 3, 3, 6}, {5, 6, 1, 1}, {}},
  };
  for (const auto& c : cases) {
    testing::ExpectGradientsMatch(
        [&](const std::vector<Tensor>& in) { return Conv2d(in[0], in[1], in[2], c.geometry); },
        {RandomNormal(c.x, 1), RandomNormal(c.w, 2), RandomNormal({c.w[0]}, 3)});
  }
}

TEST(Conv2d, SamePaddingPutsTheOddPixelLast) {
  const Conv2dGeometry g = SamePadding({.stride_y = 2, .stride_x = 2}, 260, 7, 3, 5);
  EXPECT_EQ(g.pad_top, 0);
  EXPECT_EQ(g.pad_bottom, 1);
  EXPECT_EQ(g.pad_left, 2);
  EXPECT_EQ(g.pad_right, 2);
}

TEST(Conv2d, RefusesWhatDoesNotFit) {
  const Tensor w = RandomNormal({4, 3, 3, 3}, 1);
  EXPECT_THROW(Conv2d(RandomNormal({1, 5, 5, 2}, 1), w, Tensor(), {}), Error);
  EXPECT_THROW(Conv2d(RandomNormal({1, 2, 5, 3}, 1), w, Tensor(), {}), Error);
  EXPECT_THROW(Conv2d(RandomNormal({5, 5, 3}, 1), w, Tensor(), {}), Error);
  EXPECT_THROW(Conv2d(RandomNormal({1, 5, 5, 3}, 1), w, RandomNormal({3}, 1), {}), Error);
  EXPECT_THROW(Conv2d(RandomNormal({1, 5, 5, 3}, 1, 1, DType::kBF16), w, Tensor(), {}), Error);
  EXPECT_EQ(Conv2d(RandomNormal({0, 5, 5, 3}, 1), w, Tensor(), {}).shape(), Shape({0, 3, 3, 4}));
}

}  // namespace
}  // namespace fovea
