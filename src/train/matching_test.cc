// The sampler against its probabilities, the loss against its formula.
#include "train/matching.h"

#include <gtest/gtest.h>

#include <cmath>

#include "testing/golden.h"

namespace fovea::train {
namespace {

TEST(HardNegatives, ComeAsOftenAsTheirScoreSays) {
  const Tensor scores = Tensor::FromValues<float>({3, 3}, {9.0f, 1.0f, 0.0f, 0.5f, 9.0f, 2.5f, -1.0f, 1.0f, 9.0f});
  const int rounds = 20000;
  std::array<std::array<int, 3>, 3> texts{}, images{};
  for (int round = 0; round < rounds; ++round) {
    const HardNegatives negatives = SampleHardNegatives(scores, static_cast<uint64_t>(round));
    for (size_t i = 0; i < 3; ++i) {
      ++texts[i][static_cast<size_t>(negatives.texts[i])];
      ++images[i][static_cast<size_t>(negatives.images[i])];
    }
  }
  for (size_t i = 0; i < 3; ++i) {
    double row = 0, column = 0;
    const auto score = [&](size_t a, size_t b) { return std::exp(double{scores.values<float>()[a * 3 + b]}); };
    for (size_t j = 0; j < 3; ++j) {
      row += j == i ? 0 : score(i, j);
      column += j == i ? 0 : score(j, i);
    }
    EXPECT_EQ(texts[i][i], 0);
    EXPECT_EQ(images[i][i], 0);
    for (size_t j = 0; j < 3; ++j) {
      if (j == i) continue;
      EXPECT_NEAR(texts[i][j] / double{rounds}, score(i, j) / row, 0.015) << i << " " << j;
      EXPECT_NEAR(images[i][j] / double{rounds}, score(j, i) / column, 0.015) << i << " " << j;
    }
  }
}

TEST(HardNegatives, EqualTextsAreNone) {
  const Tensor scores = Tensor::Zeros({4, 4});
  const std::vector<int64_t> same = {7, 7, 7, 1};
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const HardNegatives negatives = SampleHardNegatives(scores, seed, same);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(negatives.texts[i], 3);
  }
  const std::vector<int64_t> all_same = {1, 1, 1, 1};
  const HardNegatives negatives = SampleHardNegatives(scores, 3, all_same);
  for (size_t i = 0; i < 4; ++i) EXPECT_NE(negatives.texts[i], static_cast<int64_t>(i));
  testing::ExpectError([&] { SampleHardNegatives(Tensor::Zeros({1, 1}), 0); }, "at least 2 pairs");
  testing::ExpectError([&] { SampleHardNegatives(Tensor::Full({2, 2}, NAN), 0); }, "finite");
}

TEST(MatchingLoss, IsTheMeanOfAllDecisions) {
  // The score of picture i with text j: what class 1 has above class 0.
  const std::vector<double> above = {2.0, -1.0, 0.5, 1.5};
  const HardNegatives negatives{.texts = {1, 0}, .images = {1, 0}};
  const Tensor loss = MatchingLoss(negatives, [&](std::span<const int64_t> images, std::span<const int64_t> texts) {
    Tensor logits = Tensor::Zeros({2, 2});
    for (size_t i = 0; i < 2; ++i)
      logits.mutable_data<float>()[i * 2 + 1] =
          static_cast<float>(above[static_cast<size_t>(images[i] * 2 + texts[i])]);
    return logits;
  });
  const auto right = [&](size_t at) { return std::log1p(std::exp(-above[at])); };
  const auto wrong = [&](size_t at) { return std::log1p(std::exp(above[at])); };
  EXPECT_NEAR(loss.item(), (right(0) + right(3) + wrong(1) + wrong(2) + wrong(2) + wrong(1)) / 6, 1e-6);
}

}  // namespace
}  // namespace fovea::train
