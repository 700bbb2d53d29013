#include "kernels/cross_entropy/cross_entropy.h"

#include <gtest/gtest.h>

#include "testing/testing.h"

namespace fovea::kernels {
namespace {

TEST(CrossEntropyKernel, MatchesReference) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t V : {1, 2, 3, 7, 8, 9, 17, 33, 127, 1000, 30000}) {
      for (const float smoothing : {0.0f, 0.1f}) {
        const CrossEntropyOptions options{.label_smoothing = smoothing, .ignore_index = -1};
        const Tensor logits = testing::RandomNormal({4, V}, 1, 5.0f, dtype);
        const Tensor labels = testing::RandomIntegers({4}, 2, 0, V);
        labels.mutable_data<int64_t>()[2] = -1;
        Tensor losses = Tensor::Empty({4}), sums = losses.Clone(), losses_ref = losses.Clone(),
               sums_ref = losses.Clone();
        CrossEntropy(logits, labels, options, losses, sums);
        ref::CrossEntropy(logits, labels, options, losses_ref, sums_ref);
        testing::ExpectClose(losses, losses_ref, 5e-6f, "loss");
        testing::ExpectClose(sums, sums_ref, 5e-6f, "log sum");
        EXPECT_EQ(losses.data<float>()[2], 0.0f);
        Tensor dlogits = Tensor::Empty({4, V}, dtype), expected = dlogits.Clone();
        CrossEntropyBackward(logits, labels, options, sums_ref, 0.5f, dlogits);
        ref::CrossEntropyBackward(logits, labels, options, sums_ref, 0.5f, expected);
        testing::ExpectClose(dlogits, expected, dtype == DType::kBF16 ? 2e-3f : 1e-6f, "gradient");
      }
    }
  }
}

TEST(CrossEntropyKernel, LargeLogitsKeepSmallLosses) {
  const Tensor logits = Tensor::FromValues<float>({1, 2}, {10000.0f, 9990.0f}),
               labels = Tensor::FromValues<int64_t>({1}, {0});
  Tensor loss = Tensor::Empty({1}), sum = Tensor::Empty({1});
  CrossEntropy(logits, labels, {}, loss, sum);
  EXPECT_NEAR(loss.item(), 4.5398899e-5f, 1e-7f);
}

}  // namespace
}  // namespace fovea::kernels
