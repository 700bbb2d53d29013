#include "kernels/activation/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea::kernels {
namespace {

constexpr Act kAll[] = {Act::kIdentity, Act::kRelu,      Act::kRelu6,   Act::kSilu, Act::kGelu,
                        Act::kGeluTanh, Act::kQuickGelu, Act::kSigmoid, Act::kTanh};
constexpr float kInf = std::numeric_limits<float>::infinity();

// `count` values that start `shift` elements into their storage.
Tensor Shifted(int64_t count, int64_t shift, uint64_t seed, DType dtype) {
  return testing::RandomNormal({count + shift}, seed, 3.0f, dtype).Sliced(0, shift, count + shift);
}

TEST(ActivationKernel, MatchesReferenceForEveryLengthAndType) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Act act : kAll) {
      for (const int64_t count : {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 1000, 40000}) {
        const Tensor x = Shifted(count, count % 4, 11, dtype), dy = Shifted(count, count % 3, 12, dtype);
        Tensor y = Tensor::Empty({count}, dtype), expected = Tensor::Empty({count}, dtype);
        const float tolerance = dtype == DType::kBF16 ? 0.04f : 2e-6f;
        Activate(act, x, y);
        ref::Activate(act, x, expected);
        testing::ExpectClose(y, expected, tolerance, std::string(ActName(act)));
        ActivateBackward(act, x, dy, y);
        ref::ActivateBackward(act, x, dy, expected);
        // 1 - gate cancels and is multiplied by up to |dy x| ~ 100.
        testing::ExpectClose(y, expected, dtype == DType::kBF16 ? 0.07f : 3e-5f,
                             "gradient of " + std::string(ActName(act)));
      }
    }
  }
}

TEST(ActivationKernel, DoesNotWritePastTheEnd) {
  for (int64_t count = 1; count < 40; ++count) {
    const Tensor x = testing::RandomNormal({count}, 5, 1.0f, DType::kBF16);
    const Tensor whole = Tensor::Full({count + 2}, 77.0f, DType::kBF16);
    Tensor y = whole.Sliced(0, 1, count + 1);
    Activate(Act::kRelu, x, y);
    EXPECT_EQ(static_cast<float>(whole.data<BF16>()[0]), 77.0f);
    EXPECT_EQ(static_cast<float>(whole.data<BF16>()[count + 1]), 77.0f);
  }
}

TEST(ActivationKernel, RoundsToBf16ToNearestEvenAndKeepsNaN) {
  Tensor x = Tensor::Empty({64}, DType::kBF16);
  for (int64_t i = 0; i < 64; ++i) x.mutable_data<BF16>()[i] = BF16(-4.0f + 0.11f * static_cast<float>(i));
  x.mutable_data<BF16>()[9].bits = 0x7F81;  // a NaN whose low bits are all there is
  x.mutable_data<BF16>()[63].bits = 0xFFFF;
  Tensor y = Tensor::Empty({64}, DType::kBF16), exact = Tensor::Empty({64});
  Activate(Act::kSilu, x, y);
  Activate(Act::kSilu, x.To(DType::kF32), exact);
  testing::ExpectClose(y, exact.To(DType::kBF16), 0.0f);
  EXPECT_TRUE(std::isnan(static_cast<float>(y.data<BF16>()[9])));
  EXPECT_TRUE(std::isnan(static_cast<float>(y.data<BF16>()[63])));
}

TEST(ActivationKernel, HandlesNaNInfinityAndHugeValues) {
  const Tensor x = Tensor::FromValues<float>({8}, {NAN, kInf, -kInf, 3e38f, -3e38f, 1e-40f, -100.0f, 100.0f});
  for (const Act act : kAll) {
    Tensor y = Tensor::Empty({8}), expected = Tensor::Empty({8});
    Activate(act, x, y);
    ref::Activate(act, x, expected);
    for (int i = 0; i < 8; ++i) {
      const float got = y.data<float>()[i], want = expected.data<float>()[i];
      if (std::isnan(want) || std::isinf(want)) {
        EXPECT_TRUE(std::isnan(want) ? std::isnan(got) : got == want)
            << ActName(act) << " of " << x.data<float>()[i] << ": " << got;
      } else {
        EXPECT_NEAR(got, want, 1e-6f * std::max(1.0f, std::fabs(want))) << ActName(act) << " of " << x.data<float>()[i];
      }
    }
  }
}

// Largest error in units of the last place of the exact value, over a dense sweep.
double WorstUlp(Act act, double low, double high, double (*exact)(double)) {
  constexpr int64_t kCount = 400000;
  Tensor x = Tensor::Empty({kCount}), y = Tensor::Empty({kCount});
  for (int64_t i = 0; i < kCount; ++i) x.mutable_data<float>()[i] = static_cast<float>(low + (high - low) * i / kCount);
  Activate(act, x, y);
  double worst = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    const double want = exact(x.data<float>()[i]);
    const double ulp = std::ldexp(1.0, std::max(std::ilogb(want), -126) - 23);
    worst = std::max(worst, std::fabs(y.data<float>()[i] - want) / ulp);
  }
  return worst;
}

TEST(ActivationKernel, TranscendentalsAreAccurate) {
  EXPECT_LE(WorstUlp(Act::kSigmoid, -86.0, 20.0, [](double x) { return 1.0 / (1.0 + std::exp(-x)); }), 3.0);
  EXPECT_LE(WorstUlp(Act::kTanh, -10.0, 10.0, [](double x) { return std::tanh(x); }), 3.0);
  // gelu(x) / x for positive x is (1 + erf) / 2, so its error is that of erf.
  EXPECT_LE(WorstUlp(Act::kGelu, 1e-3, 8.0, [](double x) { return x * 0.5 * std::erfc(-x * std::sqrt(0.5)); }), 4.0);
}

TEST(ActivationNames, AreThoseOfConfigFiles) {
  EXPECT_EQ(ActFromName("gelu_pytorch_tanh", "test"), Act::kGeluTanh);
  EXPECT_EQ(ActFromName("swish", "test"), Act::kSilu);
  for (const Act act : kAll) EXPECT_EQ(ActFromName(ActName(act), "test"), act);
  try {
    ActFromName("mish", "vit");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnimplemented);
    EXPECT_NE(error.message().find("[vit]"), std::string::npos);
    EXPECT_NE(error.message().find("mish"), std::string::npos);
  }
}

}  // namespace
}  // namespace fovea::kernels
