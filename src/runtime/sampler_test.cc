#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "runtime/beam_search.h"
#include "testing/golden.h"

namespace fovea::runtime {
namespace {

nlohmann::json Golden() {
  return nlohmann::json::parse(base::ReadTextFile(testing::SourcePath("tests/golden/runtime/sampling.json")));
}

TEST(Sampler, DistributionsAreThoseOfTransformers) {
  for (const auto& stored : Golden()["distributions"]) {
    const auto& o = stored["options"];
    const SamplingOptions options{.temperature = o.value("temperature", 1.0),
                                  .top_k = o.value("top_k", int64_t{0}),
                                  .top_p = o.value("top_p", 1.0),
                                  .min_p = o.value("min_p", 0.0),
                                  .repetition_penalty = o.value("repetition_penalty", 1.0)};
    const auto logits = stored["logits"].get<std::vector<float>>();
    const auto expected = stored["probabilities"].get<std::vector<double>>();
    std::vector<double> got(logits.size());
    for (const TokenScore& s : Sampler(options, stored["prompt"].get<std::vector<int64_t>>()).Distribution(logits))
      got[s.id] = s.value;
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 2e-6) << o << " token " << i;
  }
}

TEST(Sampler, DrawsFollowTheDistributionAndTheSeed) {
  const std::vector<float> logits = {0, std::log(2.0f), std::log(5.0f), -INFINITY};
  std::map<int64_t, int> counts;
  std::vector<int64_t> first;
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    Sampler sampler({.temperature = 1, .seed = seed}, {});
    const int64_t id = sampler.Next(logits).id;
    ++counts[id];
    first.push_back(id);
    if (seed < 50) {
      Sampler again({.temperature = 1, .seed = seed}, {});
      EXPECT_EQ(again.Next(logits).id, id);
    }
  }
  EXPECT_NEAR(counts[0], 500, 90);
  EXPECT_NEAR(counts[1], 1000, 120);
  EXPECT_NEAR(counts[2], 2500, 140);
  EXPECT_EQ(counts[3], 0);
}

TEST(Sampler, PenaltiesCountWhatWasGenerated) {
  const std::vector<float> logits = {2.0f, 1.5f, 1.2f};
  Sampler sampler({.frequency_penalty = 0.3, .presence_penalty = 0.1}, {});
  // 2.0 | 1.6 1.5 1.2 -> 0 | 1.3 1.5 1.2 -> 1 | 1.3 1.1 1.2 -> 0
  EXPECT_EQ(sampler.Next(logits).id, 0);
  EXPECT_EQ(sampler.Next(logits).id, 0);
  EXPECT_EQ(sampler.Next(logits).id, 1);
  EXPECT_EQ(sampler.Next(logits).id, 0);
}

TEST(Sampler, LogProbabilitiesAreThoseOfTheModel) {
  const std::vector<float> logits = {1, 1 + std::log(3.0f), 1};
  Sampler sampler({.temperature = 0, .repetition_penalty = 100, .top_logprobs = 2}, std::vector<int64_t>{1});
  const Choice choice = sampler.Next(logits);
  EXPECT_EQ(choice.id, 0);  // 1 was in the prompt
  EXPECT_NEAR(choice.logprob, std::log(0.2), 1e-6);
  ASSERT_EQ(choice.top.size(), 2u);
  EXPECT_EQ(choice.top[0].id, 1);
  EXPECT_NEAR(choice.top[0].value, std::log(0.6), 1e-6);
}

TEST(Sampler, ObeysTheMaskAndRefusesWhatCannotBe) {
  const std::vector<float> logits = {3, 2, 1};
  Sampler sampler({}, {});
  EXPECT_EQ(sampler.Next(logits, TokenMask{0b110}).id, 1);
  testing::ExpectError([&] { sampler.Next(logits, TokenMask{0}); }, "no token is allowed");
  testing::ExpectError([&] { sampler.Next(std::vector<float>{NAN, 1}); }, "no number for token 0");
  testing::ExpectError([] { Sampler({.top_p = 1.5}, {}); }, "expected top_p in [0,1], got 1.5");
}

TEST(BeamSearch, FindsWhatTransformersFinds) {
  const nlohmann::json golden = Golden();
  const auto vocab = golden["vocab"].get<size_t>();
  for (const auto& stored : golden["beams"]) {
    const auto& o = stored["options"];
    BeamOptions options{.beams = o["num_beams"],
                        .length_penalty = o["length_penalty"],
                        .max_tokens = o["max_new_tokens"],
                        .end_ids = stored["ends"].get<std::vector<int64_t>>()};
    options.early_stopping = o["early_stopping"].is_string()   ? EarlyStopping::kNever
                             : o["early_stopping"].get<bool>() ? EarlyStopping::kFirst
                                                               : EarlyStopping::kHeuristic;
    auto table = stored["table"].get<std::vector<float>>();
    for (size_t row = 0; row < vocab; ++row) {
      const std::span<float> logits = std::span(table).subspan(row * vocab, vocab);
      const double sum = LogSumExp(logits);
      for (float& value : logits) value = static_cast<float>(value - sum);
    }
    BeamSearch search(options);
    while (!search.IsDone()) {
      std::vector<std::span<const float>> rows;
      for (const BeamSearch::Beam& beam : search.beams()) {
        const size_t last = beam.ids.empty() ? 5 : static_cast<size_t>(beam.ids.back());
        rows.push_back(std::span<const float>(table).subspan(last * vocab, vocab));
      }
      search.Advance(rows);
    }
    const auto sequences = stored["sequences"].get<std::vector<std::vector<int64_t>>>();
    const auto scores = stored["scores"].get<std::vector<double>>();
    ASSERT_FALSE(search.Finished().empty());
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (scores[i] < -1e8) continue;  // a place that the reference could not fill
      ASSERT_LT(i, search.Finished().size()) << o;
      EXPECT_EQ(search.Finished()[i].ids, sequences[i]) << o << " place " << i;
      EXPECT_NEAR(search.Finished()[i].score, scores[i], 1e-4) << o << " place " << i;
    }
  }
}

}  // namespace
}  // namespace fovea::runtime
