#include "kernels/norm/norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "testing/testing.h"

namespace fovea::kernels {
namespace {

using testing::ExpectClose;
using testing::RandomNormal;

constexpr float kEps = 1e-5f;

// bf16 rounds values of a few units to 1/64; sums of a few hundred of them are checked relative to their size.
float Limit(DType dtype, float f32) { return dtype == DType::kBF16 ? 0.04f : f32; }

TEST(NormKernel, RowsMatchReference) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t D : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 1000, 3000}) {
      const int64_t R = D < 20 ? 70 : 5;
      const Tensor x = RandomNormal({R, D}, 1, 2.0f, dtype), dy = RandomNormal({R, D}, 2, 1.0f, dtype);
      const Tensor gamma = testing::RandomUniform({D}, 3, 0.5f, 1.5f), beta = RandomNormal({D}, 4);
      Tensor y = Tensor::Empty({R, D}, dtype), y_ref = y.Clone(), dx = y.Clone(), dx_ref = y.Clone();
      Tensor mean = Tensor::Empty({R}), rstd = mean.Clone(), mean_ref = mean.Clone(), rstd_ref = mean.Clone();
      Tensor dgamma = Tensor::Empty({D}), dbeta = dgamma.Clone(), dgamma_ref = dgamma.Clone(),
             dbeta_ref = dgamma.Clone();
      const std::string what = "D = " + std::to_string(D);
      LayerNorm(x, gamma, beta, 0.1f, y, mean, rstd);
      ref::LayerNorm(x, gamma, beta, 0.1f, y_ref, mean_ref, rstd_ref);
      ExpectClose(y, y_ref, Limit(dtype, 3e-6f), "layer norm " + what);
      ExpectClose(mean, mean_ref, 1e-6f, what);
      ExpectClose(rstd, rstd_ref, 2e-6f, what);
      LayerNormBackward(x, gamma, mean_ref, rstd_ref, dy, dx, dgamma, dbeta);
      ref::LayerNormBackward(x, gamma, mean_ref, rstd_ref, dy, dx_ref, dgamma_ref, dbeta_ref);
      ExpectClose(dx, dx_ref, Limit(dtype, 2e-5f), "layer norm dx " + what);
      ExpectClose(dgamma, dgamma_ref, 2e-5f, "layer norm dgamma " + what);
      ExpectClose(dbeta, dbeta_ref, 1e-5f, "layer norm dbeta " + what);

      RmsNorm(x, gamma, kEps, y, rstd);
      ref::RmsNorm(x, gamma, kEps, y_ref, rstd_ref);
      ExpectClose(y, y_ref, Limit(dtype, 3e-6f), "RMS norm " + what);
      if (D > 1) {  // one element: rstd ~ 1/|x| cancels all but rounding
        RmsNormBackward(x, gamma, rstd_ref, dy, dx, dgamma);
        ref::RmsNormBackward(x, gamma, rstd_ref, dy, dx_ref, dgamma_ref);
        ExpectClose(dx, dx_ref, Limit(dtype, 2e-3f), "RMS norm dx " + what);
        ExpectClose(dgamma, dgamma_ref, 2e-5f, "RMS norm dgamma " + what);
      }

      L2Normalize(x, 1e-12f, y, rstd);
      ref::L2Normalize(x, 1e-12f, y_ref, rstd_ref);
      ExpectClose(y, y_ref, Limit(dtype, 1e-6f), "L2 " + what);
      L2NormalizeBackward(y_ref, rstd_ref, 1e-12f, dy, dx);
      ref::L2NormalizeBackward(y_ref, rstd_ref, 1e-12f, dy, dx_ref);
      if (D > 1) ExpectClose(dx, dx_ref, Limit(dtype, 2e-4f), "L2 dx " + what);
    }
  }
}

TEST(NormKernel, LayerNormKeepsVarianceOfLargeMeans) {
  // Variance 1 around 4096: E[x^2] - E[x]^2 in f32 would lose it.
  Tensor x = RandomNormal({4, 256}, 5);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] += 4096.0f;
  Tensor y = Tensor::Empty({4, 256}), expected = y.Clone(), mean = Tensor::Empty({4}), rstd = mean.Clone();
  LayerNorm(x, {}, {}, kEps, y, mean, rstd);
  ref::LayerNorm(x, {}, {}, kEps, expected, mean, rstd);
  ExpectClose(y, expected, 1e-3f);
}

TEST(NormKernel, L2OfAZeroRowIsZero) {
  const Tensor x = Tensor::Zeros({2, 5});
  Tensor y = Tensor::Empty({2, 5}), scale = Tensor::Empty({2}), dx = Tensor::Empty({2, 5});
  L2Normalize(x, 1e-3f, y, scale);
  ExpectClose(y, x, 0.0f);
  L2NormalizeBackward(y, scale, 1e-3f, Tensor::Full({2, 5}, 1.0f), dx);
  ExpectClose(dx, Tensor::Full({2, 5}, 1000.0f), 0.1f);
}

TEST(NormKernel, GroupsMatchReference) {
  const int64_t cases[][4] = {{2, 5, 8, 2},      {1, 1, 3, 1},     {2, 49, 33, 11}, {3, 70, 24, 24},
                              {1, 5000, 40, 40}, {2, 300, 64, 32}, {4, 7, 6, 1}};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const auto& [B, P, C, G] : cases) {
      const Tensor x = RandomNormal({B, P, C}, 6, 2.0f, dtype), dy = RandomNormal({B, P, C}, 7, 1.0f, dtype);
      const Tensor gamma = testing::RandomUniform({C}, 8, 0.5f, 1.5f), beta = RandomNormal({C}, 9);
      Tensor mean = Tensor::Empty({B, G}), variance = mean.Clone(), mean_ref = mean.Clone(),
             variance_ref = mean.Clone();
      GroupMoments(x, mean, variance);
      ref::GroupMoments(x, mean_ref, variance_ref);
      ExpectClose(mean, mean_ref, 2e-6f, "mean");
      ExpectClose(variance, variance_ref, 1e-5f, "variance");
      Tensor rstd = Tensor::Empty({B, G});
      for (int64_t i = 0; i < B * G; ++i)
        rstd.mutable_data<float>()[i] = 1.0f / std::sqrt(variance_ref.data<float>()[i] + 0.1f);
      Tensor y = Tensor::Empty({B, P, C}, dtype), y_ref = y.Clone(), dx = y.Clone(), dx_ref = y.Clone();
      GroupNormApply(x, mean_ref, rstd, gamma, beta, y);
      ref::GroupNormApply(x, mean_ref, rstd, gamma, beta, y_ref);
      ExpectClose(y, y_ref, Limit(dtype, 5e-6f), "group norm " + x.shape().ToString());
      for (const bool through_moments : {true, false}) {
        Tensor dgamma = Tensor::Empty({C}), dbeta = dgamma.Clone(), dgamma_ref = dgamma.Clone(),
               dbeta_ref = dgamma.Clone();
        GroupNormBackward(x, mean_ref, rstd, gamma, dy, through_moments, dx, dgamma, dbeta);
        ref::GroupNormBackward(x, mean_ref, rstd, gamma, dy, through_moments, dx_ref, dgamma_ref, dbeta_ref);
        ExpectClose(dx, dx_ref, Limit(dtype, 2e-5f), "group norm dx " + x.shape().ToString());
        ExpectClose(dgamma, dgamma_ref, 2e-4f, "group norm dgamma");
        ExpectClose(dbeta, dbeta_ref, 2e-4f, "group norm dbeta");
      }
    }
  }
}

TEST(NormKernel, ThreadsChangeNothing) {
  const Tensor x = RandomNormal({2, 9000, 16}, 10);
  Tensor mean = Tensor::Empty({2, 4}), variance = mean.Clone(), mean_one = mean.Clone(), variance_one = mean.Clone();
  GroupMoments(x, mean, variance);
  const base::ThreadLimit limit(1);
  GroupMoments(x, mean_one, variance_one);
  ExpectClose(mean, mean_one, 0.0f);
  ExpectClose(variance, variance_one, 0.0f);
}

}  // namespace
}  // namespace fovea::kernels
