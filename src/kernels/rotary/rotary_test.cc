#include "kernels/rotary/rotary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "testing/testing.h"

namespace fovea::kernels {
namespace {

using testing::ExpectClose;
using testing::RandomNormal;

TEST(RotaryKernel, EverySizeMatchesTheReference) {
  const int heads_first[] = {0, 2, 1, 3};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t half : {1, 3, 4, 8, 15, 16, 33, 64}) {
      for (const int64_t rest : {0, 5}) {
        for (const int64_t shared : {0, 1}) {
          const int64_t E = 2 * half + rest;
          const Tensor x = RandomNormal({2, 7, 3, E}, 1, 1.0f, dtype).Permuted(heads_first);  // [B,H,T,E]
          const Tensor cos = RandomNormal({shared != 0 ? 1 : 2, 7, half}, 2), sin = RandomNormal(cos.shape(), 3);
          for (const bool is_inverse : {false, true}) {
            Tensor y = Tensor::Full({2, 3, 7, E}, NAN, dtype), expected = y.Clone();
            Rotary(x, cos, sin, is_inverse, y);
            ref::Rotary(x, cos, sin, is_inverse, expected);
            ExpectClose(y, expected, dtype == DType::kF32 ? 2e-6f : 0.05f, "half " + std::to_string(half));
          }
        }
      }
    }
  }
}

// A quarter turn sends (1, 0) to (0, 1) and (0, 1) to (-1, 0); what lies beyond the pairs stays.
TEST(RotaryKernel, TurnsTheFirstHalfTowardsTheSecond) {
  const Tensor x = Tensor::FromValues<float>({1, 1, 1, 5}, {1, 0, 0, 1, 9});
  const Tensor cos = Tensor::Zeros({1, 1, 2}), sin = Tensor::Full({1, 1, 2}, 1.0f);
  Tensor y = Tensor::Empty(x.shape());
  Rotary(x, cos, sin, false, y);
  ExpectClose(y, Tensor::FromValues<float>({1, 1, 1, 5}, {0, -1, 1, 0, 9}), 0.0f);
}

}  // namespace
}  // namespace fovea::kernels
