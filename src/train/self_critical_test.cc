// Self-critical training: the loss against PyTorch, samples against the model's own probabilities, rewards against
// CIDEr-D, and runs of a tiny captioner that learns captions and answers, and then from what it writes itself.
#include "train/self_critical.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "fovea/train.h"
#include "nn/pictures.h"
#include "ops/softmax.h"
#include "runtime/loaded_model.h"
#include "testing/golden.h"
#include "testing/shard.h"
#include "train/language.h"
#include "train/training_testing.h"

namespace fovea::train {
namespace {

using nlohmann::json;

TEST(SelfCritical, LossAndGradientMatchPyTorch) {
  const std::string path = testing::SourcePath("tests/golden/train/self_critical.json");
  const json golden = base::ParseJson(base::ReadTextFile(path), path);
  const auto shape = golden["shape"].get<std::vector<int64_t>>();
  const Shape sizes{std::span<const int64_t>(shape)};
  const Tensor logits = Tensor::FromValues<float>(sizes, golden["logits"].get<std::vector<float>>());
  const Tensor labels = Tensor::FromValues<int64_t>({shape[0], shape[1]}, golden["labels"].get<std::vector<int64_t>>());
  const std::vector<double> advantages =
      Advantages(golden["rewards"].get<std::vector<double>>(), golden["samples"].get<int64_t>());
  const auto expected = golden["advantages"].get<std::vector<double>>();
  ASSERT_EQ(advantages.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(advantages[i], expected[i], 1e-8);
  const auto tokens = static_cast<double>(
      std::ranges::count_if(labels.values<int64_t>(), [](int64_t label) { return label != kIgnored; }));
  Tape tape;
  tape.Watch(logits);
  const Tensor loss = PolicyLoss(logits, labels, advantages, tokens);
  EXPECT_NEAR(loss.item(), golden["loss"].get<double>(), 1e-6);
  testing::ExpectClose(tape.Backward(loss)[logits],
                       Tensor::FromValues<float>(sizes, golden["gradient"].get<std::vector<float>>()), 1e-6f);
}

TEST(SelfCritical, ASampleAloneHasNoBaseline) {
  const std::vector<double> rewards = {1, 2};
  testing::ExpectError([&] { Advantages(rewards, 1); }, "at least 2 samples");
}

// Shares of the first and of the second word among 4,000 samples of each of two pictures.
TEST(SampleTexts, DrawsFromTheModelsDistribution) {
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/fovea_captioner_base.safetensors"));
  const auto config = base::Config::Parse(golden.metadata().at("config"), "fovea_captioner_base");
  const models::Entry& entry = runtime::FindEntry(config);
  std::vector<NamedTensor> weights;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.")) weights.push_back({info.name.substr(8), golden.Get(info.name).Clone()});
  }
  const auto model = entry.create(config);
  runtime::AssignParameters(*model, entry, weights, "golden");
  const models::DecoderSpec spec = model->Decoder();
  const Tensor pictures = testing::RandomNormal({2, 6, spec.memory_size}, 8);
  const SamplingLimits limits{.samples = 4000, .max_tokens = 2, .temperature = 0.7, .seed = 3};
  const std::vector<SampledText> texts = SampleTexts(*model, pictures, limits);
  ASSERT_EQ(texts.size(), 8000u);
  const auto probabilities = [&](int64_t picture, const std::vector<int64_t>& ids) {
    const auto T = static_cast<int64_t>(ids.size());
    const Tensor logits = model
                              ->Decode(models::JoinPictures(*model, Tensor::FromValues<int64_t>({1, T}, ids), {},
                                                            pictures.Sliced(0, picture, picture + 1).Contiguous()))
                              .logits;  // [1,T,V]
    std::vector<double> shares;
    double sum = 0;
    for (int64_t v = 0; v < spec.vocab; ++v) {
      shares.push_back(std::exp(logits.Contiguous().data<float>()[(T - 1) * spec.vocab + v] / limits.temperature));
      sum += shares.back();
    }
    for (double& share : shares) share /= sum;
    return shares;
  };
  const auto expect_shares = [&](const std::map<int64_t, int>& counts, double n, const std::vector<double>& expected) {
    for (size_t v = 0; v < expected.size(); ++v) {
      const auto found = counts.find(static_cast<int64_t>(v));
      const double share = found == counts.end() ? 0 : found->second / n;
      EXPECT_NEAR(share, expected[v], 4.5 * std::sqrt(expected[v] / n) + 1e-3) << "token " << v;
    }
  };
  for (int64_t picture = 0; picture < 2; ++picture) {
    std::map<int64_t, int> first;
    std::map<int64_t, std::map<int64_t, int>> second;
    for (int64_t k = 0; k < limits.samples; ++k) {
      const SampledText& text = texts[static_cast<size_t>(picture * limits.samples + k)];
      const int64_t word = text.ids.empty() ? spec.eos[0] : text.ids[0];
      ++first[word];
      if (!text.ids.empty()) ++second[word][text.ids.size() > 1 ? text.ids[1] : spec.eos[0]];
    }
    expect_shares(first, static_cast<double>(limits.samples), probabilities(picture, {spec.bos}));
    const auto common = std::ranges::max_element(second, {}, [&](const auto& entry) { return first[entry.first]; });
    expect_shares(common->second, first[common->first], probabilities(picture, {spec.bos, common->first}));
  }
  const std::vector<SampledText> again = SampleTexts(*model, pictures, limits);
  EXPECT_TRUE(std::ranges::equal(texts, again, {}, &SampledText::ids, &SampledText::ids));
}

TEST(CaptionReward, IsCiderWhereTheEndIsAWord) {
  const std::vector<std::vector<std::string>> corpus = {{"a red cup of coffee.", "two red cup"},
                                                        {"a photo of a dog", "the dog in the snow"},
                                                        {"the temple near a palace", "an palace"}};
  const auto tokenizer = text::Tokenizer::FromFolder(testing::SourcePath("tests/golden/clip_tiny"), "clip");
  const auto ids = [&](const std::string& text) {
    return tokenizer->Encode(text, {.add_special_tokens = false, .use_file_limits = false}).ids;
  };
  const std::vector<SampledText> texts = {{ids("the dog in the snow"), true},
                                          {ids("the dog in the snow"), false},
                                          {ids("the dog in the"), true},
                                          {ids("the temple near a palace"), true}};
  const std::vector<double> rewards = CaptionReward(corpus)(texts, *tokenizer, std::span(corpus).subspan(1, 1));
  std::vector<std::vector<std::string>> ended = corpus;
  for (auto& captions : ended) {
    for (std::string& caption : captions) caption += " endofcaption";
  }
  const CiderD cider = CiderD::FromReferences(ended);
  EXPECT_NEAR(rewards[0], cider.Score("the dog in the snow endofcaption", cider.Prepare(ended[1])), 1e-9);
  EXPECT_GT(rewards[0], rewards[1]) << "a caption that ends where one of a person ends";
  EXPECT_GT(rewards[0], rewards[2]) << "one that breaks off";
  EXPECT_LT(rewards[3], 0.2 * rewards[0]) << "one of another picture";
}

// Pictures whose colour decides caption and answer, and a captioner of 16 numbers.
class CaptionRun : public ::testing::Test {
 protected:
  CaptionRun() {
    WriteTinyModel(folder_.File("vision"));
    const json vision = json::parse(base::ReadTextFile(folder_.File("vision/config.json")));
    const json config = {{"architectures", {"FoveaCaptioner"}},
                         {"model_type", "fovea-captioner"},
                         {"encoder_attention_heads", 4},
                         {"grid_size", 4},
                         {"vision_config", vision},
                         {"decoder",
                          {{"model_type", "gpt2"},
                           {"add_cross_attention", true},
                           {"vocab_size", 16},
                           {"n_positions", 24},
                           {"n_embd", 32},
                           {"n_layer", 1},
                           {"n_head", 4},
                           {"bos_token_id", 1},
                           {"eos_token_id", 2},
                           {"pad_token_id", 0}}}};
    std::filesystem::create_directories(folder_.File("captioner"));
    base::WriteTextFileAtomically(folder_.File("captioner/config.json"), config.dump());
    base::WriteTextFileAtomically(folder_.File("captioner/preprocessor_config.json"),
                                  base::ReadTextFile(folder_.File("vision/preprocessor_config.json")));
    base::WriteTextFileAtomically(folder_.File("captioner/tokenizer.json"), R"({"version": "1.0", "added_tokens": [],
      "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
      "lowercase": true}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null, "decoder": {"type":
      "WordPiece", "prefix": "##", "cleanup": true}, "truncation": null, "padding": null, "model": {"type":
      "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab":
      {"[PAD]": 0, "[BOS]": 1, "[EOS]": 2, "[UNK]": 3, "a": 4, "red": 5, "green": 6, "blue": 7, "picture": 8, "it": 9,
      "is": 10, "question": 11, ":": 12, "answer": 13, "colour": 14, "?": 15}}})");
    WriteColourPictures(folder_.File("pictures"), 8);
    std::vector<std::pair<std::string, std::string>> files;
    for (const std::string colour : {"red", "green", "blue"}) {
      for (int i = 0; i < 8; ++i) {
        const std::string key = colour + std::to_string(i);
        files.emplace_back(key + ".png",
                           base::ReadTextFile(folder_.File("pictures/" + colour + "/") + std::to_string(i) + ".png"));
        files.emplace_back(key + ".json", json{{"captions", {"A " + colour + " picture.", "it is " + colour}},
                                               {"qa", {{{"question", "colour?"}, {"answers", {colour}}}}}}
                                              .dump());
      }
    }
    testing::WriteShard(folder_.File("data.tar"), files);
    recipe_ = {{"output", "out"},
               {"task", "caption"},
               {"model", "captioner"},
               {"vision_model", "vision"},
               {"seed", 2},
               {"data",
                {{"train", {"data.tar"}},
                 {"augment", false},
                 {"captions_per_picture", 2},
                 {"end_marks", false},
                 {"questions", {{"per_picture", 1}}},
                 {"cache_grids", {{"blocks", 3}}}}},
               {"groups", {{{"match", "vision_model."}, {"frozen", true}}}},
               {"frozen_statistics", true},
               {"optimizer", {{"learning_rate", 0.01}}},
               {"batch_size", 12},
               {"steps", 60},
               {"log_every", 10}};
  }

  std::vector<double> Losses(const std::string& output) {
    base::WriteTextFileAtomically(folder_.File("recipe.json"), recipe_.dump());
    Train(folder_.File("recipe.json"), {});
    std::vector<double> losses;
    for (const std::string& line : base::Split(base::ReadTextFile(folder_.File(output + "/metrics.jsonl")), '\n')) {
      if (!line.empty()) losses.push_back(json::parse(line).at("loss"));
    }
    return losses;
  }

  testing::TemporaryFolder folder_;
  json recipe_;
};

TEST_F(CaptionRun, LearnsCaptionsAndAnswersThenFromItsOwn) {
  const std::vector<double> losses = Losses("out");
  EXPECT_LT(losses.back(), 0.5 * losses.front());
  recipe_["output"] = "own";
  recipe_["model"] = "out";
  recipe_.erase("vision_model");
  recipe_["steps"] = 40;
  recipe_["optimizer"]["learning_rate"] = 0.002;
  recipe_["loss"] = {{"self_critical", {{"samples", 4}, {"max_tokens", 6}}}};
  const std::vector<double> rewards = Losses("own");  // minus the mean reward of 10 steps
  EXPECT_LT(rewards.back(), rewards.front() - 0.5);
}

TEST_F(CaptionRun, RefusesWhatHasNoGrids) {
  recipe_["data"].erase("cache_grids");
  recipe_["data"].erase("captions_per_picture");
  base::WriteTextFileAtomically(folder_.File("recipe.json"), recipe_.dump());
  testing::ExpectError([&] { Train(folder_.File("recipe.json"), {}); }, "data.questions and end_marks serve");
  recipe_["data"].erase("questions");
  recipe_["data"].erase("end_marks");
  recipe_["loss"] = {{"self_critical", json::object()}};
  base::WriteTextFileAtomically(folder_.File("recipe.json"), recipe_.dump());
  testing::ExpectError([&] { Train(folder_.File("recipe.json"), {}); }, "needs data.cache_grids");
}

}  // namespace
}  // namespace fovea::train
