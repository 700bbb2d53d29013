#include "ops/dropout.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fovea/error.h"
#include "tensor/tape.h"
#include "testing/testing.h"

namespace fovea {
namespace {

TEST(Dropout, IsTheIdentityOutsideTraining) {
  const Tensor x = testing::RandomNormal({3, 5}, 1);
  EXPECT_EQ(Dropout(x, 0.5).raw(), x.raw());
  const Tape tape(Tape::Options{.is_training = false});
  EXPECT_EQ(Dropout(x, 0.5).raw(), x.raw());
  EXPECT_THROW(Dropout(x, 1.0), Error);
}

TEST(Dropout, ZeroesTheShareAskedForScalesTheRestAndPassesTheGradientThroughTheSameMask) {
  const Tensor x = Tensor::Full({200, 100}, 2.0f);
  Tape tape(Tape::Options{.is_training = true, .seed = 7});
  tape.Watch(x);
  const Tensor y = Dropout(x, 0.25), again = Dropout(x, 0.25);
  const Tensor dx = tape.Backward(y, Tensor::Full(y.shape(), 3.0f))[x];
  int64_t zeros = 0, differing = 0;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const float value = y.data<float>()[i];
    zeros += value == 0.0f;
    differing += value != again.data<float>()[i];
    ASSERT_TRUE(value == 0.0f || std::abs(value - 2.0f / 0.75f) < 1e-6f) << value;
    ASSERT_NEAR(dx.data<float>()[i], value == 0.0f ? 0.0f : 3.0f / 0.75f, 1e-6f);
  }
  EXPECT_NEAR(static_cast<double>(zeros) / 20000, 0.25, 0.015);  // five standard deviations
  EXPECT_GT(differing, 0);                                       // each call draws its own mask
}

TEST(Dropout, TheSeedDecidesTheMask) {
  const Tensor x = testing::RandomNormal({64, 64}, 1);
  const auto draw = [&](uint64_t seed) {
    const Tape tape(Tape::Options{.is_training = true, .seed = seed});
    return Dropout(x, 0.5);
  };
  const Tensor first = draw(1), same = draw(1), other = draw(2);
  testing::ExpectClose(same, first, 0.0f);
  int64_t differing = 0;
  for (int64_t i = 0; i < x.numel(); ++i) differing += first.data<float>()[i] != other.data<float>()[i];
  EXPECT_GT(differing, x.numel() / 4);
}

}  // namespace
}  // namespace fovea
