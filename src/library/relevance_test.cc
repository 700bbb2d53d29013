// z and the stop rule, against numpy and scipy (tools/dump_search_golden.py) and against chance itself.
#include "library/relevance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "library/background.h"
#include "testing/testing.h"

namespace fovea::library {
namespace {

class SearchGolden : public ::testing::Test {
 protected:
  const nlohmann::json golden_ =
      base::ParseJson(base::ReadTextFile(fovea::testing::SourcePath("tests/golden/search.json")), "search.json");
};

TEST_F(SearchGolden, ZIsThatOfTheReference) {
  const auto& random = golden_["random"];
  std::vector<float> texts;
  for (const auto& row : random["texts"])
    for (const auto& value : row) texts.push_back(value.get<float>());
  const auto query = random["query"].get<std::vector<float>>();
  const Background background(texts, static_cast<int64_t>(query.size()));
  const std::vector<float> centred = background.Centred(query);
  for (size_t i = 0; i < random["pictures"].size(); ++i) {
    const auto picture = random["pictures"][i].get<std::vector<float>>();
    EXPECT_NEAR(background.Z(centred, picture), random["z"][i].get<double>(), 1e-5);
  }
}

TEST_F(SearchGolden, ProbabilitiesAreThoseOfTheReference) {
  ASSERT_EQ(golden_["chance_share"].get<double>(), kChanceShare);
  ASSERT_EQ(golden_["tail_scale"].get<double>(), kTailScale);
  const auto z = golden_["random"]["ranked_z"].get<std::vector<double>>();
  for (const auto& [pictures, expected] : golden_["random"]["probabilities"].items()) {
    const std::vector<double> actual = Probabilities(z, std::stoll(pictures));
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t j = 0; j < actual.size(); ++j)
      EXPECT_NEAR(actual[j], expected[j].get<double>(), 1e-9) << pictures << ", " << j;
  }
}

TEST(Background, RefusesSizesThatDoNotFit) {
  EXPECT_THROW(Background({1, 2, 3}, 2), Error);
  EXPECT_THROW(Background({1, 2}, 2), Error);
  EXPECT_THROW(Background({}, 2), Error);
  EXPECT_THROW(Background({1, 2, 3, 4}, 0), Error);
  EXPECT_THROW(Background({1, 0, 0, 1}, 2).Centred(std::vector<float>{1}), Error);
  // Texts that are all alike tell nothing, but divide by no zero.
  EXPECT_TRUE(std::isfinite(Background({1, 0, 1, 0}, 2).Z(std::vector<float>{0, 1}, std::vector<float>{0.6f, 0.8f})));
}

// Queries that nothing fits: the answer is empty but for kChanceShare of them, however large the library.
TEST(Relevance, ChanceAnswersAreRareInLibrariesOfAnySize) {
  std::mt19937 random(5);
  std::normal_distribution<double> unrelated(0, kTailScale);
  for (const int pictures : {10, 300, 20'000}) {
    const int trials = pictures > 1000 ? 300 : 2000;
    int answered = 0;
    for (int trial = 0; trial < trials; ++trial) {
      std::vector<double> z(static_cast<size_t>(pictures));
      for (double& value : z) value = unrelated(random);
      const size_t kept = std::min<size_t>(z.size(), 100);
      std::partial_sort(z.begin(), z.begin() + static_cast<std::ptrdiff_t>(kept), z.end(), std::greater<>());
      z.resize(kept);
      answered += Probabilities(z, pictures)[0] >= 0.5 ? 1 : 0;
    }
    const double share = static_cast<double>(answered) / trials;
    EXPECT_NEAR(share, kChanceShare, 4 * std::sqrt(kChanceShare * (1 - kChanceShare) / trials)) << pictures;
  }
}

// Where many pictures fit, each needs less: the limit follows the number of matches.
TEST(Relevance, ManyMatchesLowerTheLimit) {
  const std::vector<double> many(400, 2.6);
  EXPECT_GE(Probabilities(many, 1000).back(), 0.5);
  EXPECT_LT(Probabilities({many.data(), 1}, 1000).back(), 0.5);
  EXPECT_LT(ProbabilityBelow(2.6, 1, 1000), 0.5);
  EXPECT_TRUE(Probabilities({}, 10).empty());
}

}  // namespace
}  // namespace fovea::library
