#include "ops/rotary.h"

#include <gtest/gtest.h>

#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using testing::RandomNormal;

TEST(Rotary, ByHand) {
  // One pair (3, 4) turned by the angle with cosine 0.6 and sine 0.8; the third element stays.
  const Tensor x = Tensor::FromValues<float>({1, 1, 1, 3}, {3, 4, 5});
  const Tensor cos = Tensor::Full({1, 1, 1}, 0.6f), sin = Tensor::Full({1, 1, 1}, 0.8f);
  testing::ExpectClose(Rotary(x, cos, sin), Tensor::FromValues<float>({1, 1, 1, 3}, {-1.4f, 4.8f, 5}), 1e-6f);
}

TEST(Rotary, Gradients) {
  for (const int64_t rows : {1, 2}) {
    const Tensor cos = RandomNormal({rows, 5, 3}, 1), sin = RandomNormal({rows, 5, 3}, 2);
    testing::ExpectGradientsMatch([&](const std::vector<Tensor>& in) { return Rotary(in[0], cos, sin); },
                                  {RandomNormal({2, 3, 5, 7}, 3)});
  }
}

TEST(Rotary, WrongShapesAreRefused) {
  const Tensor x = Tensor::Zeros({2, 1, 3, 4});
  EXPECT_THROW(Rotary(x, Tensor::Zeros({2, 3, 3}), Tensor::Zeros({2, 3, 3})), Error);
  EXPECT_THROW(Rotary(x, Tensor::Zeros({2, 2, 2}), Tensor::Zeros({2, 2, 2})), Error);
  EXPECT_THROW(Rotary(x, Tensor::Zeros({3, 3, 2}), Tensor::Zeros({3, 3, 2})), Error);
  EXPECT_THROW(Rotary(x, Tensor(), Tensor()), Error);
}

}  // namespace
}  // namespace fovea
