// The generation loop over the decoders of the golden files: what it gives is what transformers' generate gives,
// whoever else is being served, however the prompt is cut into pieces, and whatever an earlier request left behind.
#include "runtime/generator.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "eval/golden.h"
#include "formats/safetensors.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea::runtime {
namespace {

struct Case {
  std::unique_ptr<models::Model> model;
  std::vector<std::vector<int64_t>> prompts, expected;
};

Case ReadCase(const std::string& name) {
  const auto file = formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + name + ".safetensors"));
  Case result{.model = eval::BuildGolden(file), .prompts = {}, .expected = {}};
  const Tensor ids = file.Get("generate.ids").Clone(), mask = file.Get("generate.mask").Clone();
  const Tensor expected = file.Get("generate.expected").Clone();
  for (int64_t row = 0; row < ids.dim(0); ++row) {
    auto& prompt = result.prompts.emplace_back();
    for (int64_t t = 0; t < ids.dim(1); ++t) {
      const int64_t at = row * ids.dim(1) + t;
      if (mask.data<bool>()[at]) prompt.push_back(ids.data<int64_t>()[at]);
    }
    const int64_t* begin = expected.data<int64_t>() + row * expected.dim(1);
    result.expected.emplace_back(begin, begin + expected.dim(1));
  }
  return result;
}

Prompt PromptOf(std::vector<int64_t> ids) { return {.ids = std::move(ids)}; }

const GenerateOptions kGreedy32 = {.max_tokens = 32, .ignores_end = true};

TEST(Generator, ServesManyRequestsAsTheReferenceServesEach) {
  for (const std::string name : {"llama_plain", "gpt2_small"}) {
    const Case c = ReadCase(name);
    // Chunks of two tokens, two rows at once, and requests that come while others are half way.
    Generator generator(*c.model, {.max_rows = 2, .prefill_chunk = 2});
    std::vector<int64_t> numbers;
    for (const auto& prompt : c.prompts) {
      numbers.push_back(generator.Add(PromptOf(prompt), kGreedy32));
      for (int i = 0; i < 7; ++i) generator.Step();
    }
    while (generator.Step()) {
    }
    for (size_t i = 0; i < numbers.size(); ++i) {
      ASSERT_TRUE(generator.IsDone(numbers[i]));
      const Generation got = generator.Take(numbers[i]);
      EXPECT_EQ(got.ids, c.expected[i]) << name << " request " << i;
      EXPECT_EQ(got.reason, FinishReason::kLength);
    }
  }
}

TEST(Generator, PrefixesAreReadOnce) {
  const Case c = ReadCase("llama_plain");
  Generator generator(*c.model);
  const Generation first = generator.Run(PromptOf(c.prompts[1]), kGreedy32);
  EXPECT_EQ(first.reused_tokens, 0);
  // The conversation so far and one token more: all that the cache holds is reused.
  std::vector<int64_t> longer = c.prompts[1];
  longer.insert(longer.end(), first.ids.begin(), first.ids.begin() + 20);
  const Generation second = generator.Run(PromptOf(longer), {.max_tokens = 12, .ignores_end = true});
  EXPECT_EQ(second.reused_tokens, static_cast<int64_t>(longer.size()) - 1);
  EXPECT_EQ(second.ids, std::vector<int64_t>(c.expected[1].begin() + 20, c.expected[1].end()));
  // Keys that differ (another picture behind the same ids) are read anew.
  Prompt other = PromptOf(longer);
  other.keys.assign(other.ids.begin(), other.ids.end());
  other.keys[2] = 12345678901234567ull;
  EXPECT_EQ(generator.Run(other, {.max_tokens = 1}).reused_tokens, 0);
}

TEST(Generator, EndTokensStopStringsAndCancelling) {
  const Case c = ReadCase("llama_plain");
  Generator generator(*c.model);
  const std::vector<int64_t>& expected = c.expected[1];
  const int64_t end = expected[6];
  ASSERT_EQ(std::ranges::find(expected, end) - expected.begin(), 6);
  const Generation ended = generator.Run(PromptOf(c.prompts[1]), {.end_ids = {end}});
  EXPECT_EQ(ended.ids, std::vector<int64_t>(expected.begin(), expected.begin() + 6));
  EXPECT_EQ(ended.reason, FinishReason::kEnd);
  const Generation later = generator.Run(PromptOf(c.prompts[1]), {.max_tokens = 9, .min_tokens = 8, .end_ids = {end}});
  EXPECT_GE(later.ids.size(), 8u);
  int64_t seen = 0;
  const Generation stopped =
      generator.Run(PromptOf(c.prompts[1]), kGreedy32, [&](const Choice&) { return ++seen < 3; });
  EXPECT_EQ(stopped.ids.size(), 3u);
  EXPECT_EQ(stopped.reason, FinishReason::kStopped);
  const std::atomic<bool> cancel = true;
  EXPECT_TRUE(generator.Run(PromptOf(c.prompts[1]), kGreedy32, nullptr, &cancel).ids.empty());
}

TEST(Generator, ScoresAreThoseOfTheChoices) {
  const Case c = ReadCase("llama_plain");
  Generator generator(*c.model);
  const GenerateOptions options{.sampling = {.top_logprobs = 0}, .max_tokens = 10, .ignores_end = true};
  const Generation greedy = generator.Run(PromptOf(c.prompts[0]), options);
  const std::vector<float> scores = generator.Score(PromptOf(c.prompts[0]), greedy.ids);
  ASSERT_EQ(scores.size(), greedy.choices.size());
  for (size_t i = 0; i < scores.size(); ++i) EXPECT_NEAR(scores[i], greedy.choices[i].logprob, 1e-4);
}

TEST(Generator, BeamsAreThoseOfTransformers) {
  const auto golden = nlohmann::json::parse(base::ReadTextFile(testing::SourcePath("tests/golden/runtime/beams.json")));
  for (const auto& stored : golden) {
    const Case c = ReadCase(stored["model"]);
    Generator generator(*c.model);
    const GenerateOptions options{.max_tokens = stored["max_new_tokens"],
                                  .end_ids = stored["ends"].get<std::vector<int64_t>>(),
                                  .beams = stored["num_beams"],
                                  .length_penalty = stored["length_penalty"]};
    const Generation got = generator.Run(PromptOf(c.prompts[stored["row"].get<size_t>()]), options);
    EXPECT_EQ(got.ids, stored["ids"].get<std::vector<int64_t>>()) << stored.dump();
    EXPECT_NEAR(got.score, stored["score"].get<double>(), 1e-4) << stored.dump();
  }
}

TEST(Generator, RefusesWhatCannotBe) {
  const Case c = ReadCase("llama_plain");
  Generator generator(*c.model);
  testing::ExpectError([&] { generator.Add({}, {}); }, "expected at least one token");
  testing::ExpectError([&] { generator.Add(PromptOf(std::vector<int64_t>(200, 5)), {}); }, "the prompt has 200 tokens");
  testing::ExpectError([&] { generator.Add(PromptOf({1}), {.sampling = {.temperature = 1}, .beams = 2}); },
                       "beam search takes no temperature");
  testing::ExpectError([&] { generator.Add(PromptOf({1}), {.sampling = {.temperature = -1}}); },
                       "expected temperature in [0,100]");
}

}  // namespace
}  // namespace fovea::runtime
