// What a decoder is trained on, against rows written out by hand and the formula of the loss.
#include "train/language.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fovea/train.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "ops/arithmetic.h"
#include "ops/embedding.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "testing/golden.h"
#include "train/data/loader.h"
#include "train/training_testing.h"

namespace fovea::train {
namespace {

// Words of tests/golden/clip_tiny: a 3, photo 6, of 7, cat 9, dog 10, red 16.
std::shared_ptr<const text::Tokenizer> Words() {
  return text::Tokenizer::FromFolder(testing::SourcePath("tests/golden/clip_tiny"), "clip");
}

std::vector<int64_t> ValuesOf(const Tensor& tensor) {
  return {tensor.values<int64_t>().begin(), tensor.values<int64_t>().end()};
}

TEST(PrepareLanguage, PromptsAreReadAndNotLearnt) {
  const std::vector<std::string> prompts = {"a photo of", "", "a photo of"}, targets = {" a cat", "red dog", " dog"};
  const models::DecoderSpec spec{.bos = 1, .pad = 0, .eos = {22}};
  const LanguageInputs inputs = PrepareLanguage(spec, *Words(), prompts, targets, 100);
  const int64_t no = kIgnored;
  EXPECT_EQ(ValuesOf(inputs.ids), (std::vector<int64_t>{1, 3,  6,  7,  3,  9,  22,  //
                                                        1, 16, 10, 22, 0,  0,  0,   //
                                                        1, 3,  6,  7,  10, 22, 0}));
  EXPECT_EQ(ValuesOf(inputs.labels), (std::vector<int64_t>{no, no, no, no, 3,  9,  22,  //
                                                           no, 16, 10, 22, no, no, no,  //
                                                           no, no, no, no, 10, 22, no}));
  EXPECT_EQ(inputs.learnt, 8);
  EXPECT_EQ(std::count(inputs.mask.values<bool>().begin(), inputs.mask.values<bool>().end(), true), 17);
  const LanguageInputs cut = PrepareLanguage(spec, *Words(), prompts, targets, 5);
  EXPECT_EQ(cut.ids.dim(1), 5);
  EXPECT_EQ(cut.learnt, 1 + 3 + 1);
  testing::ExpectError(
      [&] { PrepareLanguage(spec, *Words(), std::span(prompts).first(1), std::span(targets).first(1), 3); },
      "left to learn");
}

// A decoder that knows how often a word follows another, and, with pictures, their first number.
struct Bigrams {
  nn::Parameter table{Shape{23, 23}}, seen{Shape{1, 23}};
  int64_t memory_size = 0;
  void Visit(nn::Visitor& v) {
    v("table", table);
    v("seen", seen);
  }
  int64_t FeatureSize() const { return 0; }
  models::DecoderSpec Decoder() const {
    return {.hidden_size = 23,
            .vocab = 23,
            .max_positions = 40,
            .bos = 1,
            .eos = {22},
            .memory_size = memory_size,
            .pictures = memory_size > 0 ? models::PicturePlace::kMemory : models::PicturePlace::kBefore};
  }
  Tensor EmbedTokens(const Tensor& ids) const { return Embedding(table, ids); }
  Tensor EmbedImages(const Tensor& pixels) const {
    return MatMul(Reshape(Mean(pixels, {1, 2, 3}), {pixels.dim(0), 1, 1}), seen);  // [B,1,23]
  }
  models::DecodeOutputs Decode(const models::DecodeInputs& inputs) const {
    Tensor h = inputs.ids.defined() ? EmbedTokens(inputs.ids) : inputs.embeddings;
    if (inputs.memory.defined()) h = h + inputs.memory;
    return {.hidden = h, .logits = h};
  }
};

double LogProbability(const std::vector<double>& logits, int64_t which) {
  double sum = 0;
  for (const double x : logits) sum += std::exp(x);
  return logits[static_cast<size_t>(which)] - std::log(sum);
}

TEST(LanguageLoss, IsTheMeanOverLearntTokens) {
  const Tensor table = testing::RandomNormal({23, 23}, 3), seen = testing::RandomNormal({1, 23}, 4);
  const Tensor pixels = testing::RandomNormal({2, 4, 4, 3}, 5);
  const std::vector<std::string> prompts = {"a photo of", ""}, targets = {" a cat", "red dog"};
  const std::vector<std::vector<int64_t>> ids = {{1, 3, 6, 7, 3, 9, 22}, {1, 16, 10, 22}};
  for (const std::string kind : {"text", "memory", "prefix"}) {
    Bigrams net;
    net.memory_size = kind == "memory" ? 23 : 0;
    net.table.Assign(table.Clone());
    net.seen.Assign(seen.Clone());
    const auto model = models::MakeModel(std::move(net));
    const Tensor pictures = kind == "text" ? Tensor() : model->EmbedImages(pixels);
    const LanguageInputs inputs = PrepareLanguage(model->Decoder(), *Words(), prompts, targets, 40);
    const double loss = LanguageLoss(*model, inputs, pictures, 0.0f).item();
    double expected = 0;
    int64_t count = 0;
    for (size_t row = 0; row < 2; ++row) {
      double brightness = 0;
      for (int64_t i = 0; i < 48; ++i) brightness += pixels.values<float>()[row * 48 + static_cast<size_t>(i)] / 48.0;
      // With a picture before the text even the start token is told of, and learnt only where labels say so.
      const size_t first = row == 0 ? 4 : 1;
      for (size_t t = first; t < ids[row].size(); ++t) {
        std::vector<double> logits;
        for (int64_t v = 0; v < 23; ++v) {
          double logit = table.values<float>()[static_cast<size_t>(ids[row][t - 1] * 23 + v)];
          if (kind == "memory") logit += brightness * seen.values<float>()[static_cast<size_t>(v)];
          logits.push_back(logit);
        }
        expected -= LogProbability(logits, ids[row][t]);
        ++count;
      }
    }
    EXPECT_NEAR(loss, expected / static_cast<double>(count), 1e-5) << kind;
  }
}

// A tiny GPT-2 learns the answers of a file of questions.
TEST(LanguageRun, LearnsAnswersAndServesThem) {
  testing::TemporaryFolder folder;
  const std::string base = folder.File("base");
  std::filesystem::create_directories(base);
  const auto golden = formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/gpt2_small.safetensors"));
  auto config = nlohmann::json::parse(golden.metadata().at("config"));
  ASSERT_GE(config.at("vocab_size").get<int>(), 23);
  config["bos_token_id"] = 1;
  config["eos_token_id"] = 22;
  config["n_inner"] = 4 * config.at("n_embd").get<int>();
  base::WriteTextFileAtomically(base + "/config.json", config.dump());
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
    base::WriteTextFileAtomically(base + "/" + file,
                                  base::ReadTextFile(testing::SourcePath("tests/golden/clip_tiny/") + file));
  }
  std::vector<NamedTensor> tensors;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.")) tensors.push_back({info.name.substr(8), golden.Get(info.name)});
  }
  formats::WriteSafetensors(base + "/model.safetensors", tensors);
  std::ofstream questions(folder.File("questions.jsonl"));
  for (int i = 0; i < 24; ++i) {
    const bool is_cat = i % 2 == 0;
    questions << nlohmann::json{{"question", is_cat ? "a photo of the cat" : "a photo of the dog"},
                                {"answer", is_cat ? "red coffee" : "two temple"}}
              << "\n";
  }
  questions.close();
  std::ofstream(folder.File("recipe.json")) << R"({"output": "run", "model": "base", "task": "language", "seed": 1,
      "steps": 60, "batch_size": 8, "log_every": 10, "optimizer": {"learning_rate": 0.01},
      "data": {"train": ["questions.jsonl"], "validation": ["questions.jsonl"], "prompt_field": "question",
               "target_field": "answer"}})";
  const TrainReport report = Train(folder.File("recipe.json"), {});
  EXPECT_EQ(report.metric, "token_probability");
  EXPECT_GT(report.best, 0.6) << "at first it is one in the number of words";
  const TrainReport parts =
      Train(folder.File("recipe.json"), {.overrides = {"output=parts", "micro_batch_size=3", "steps=2", "log_every=1",
                                                       "frozen_statistics=true", "optimizer.type=sgd"}});
  const TrainReport whole =
      Train(folder.File("recipe.json"),
            {.overrides = {"output=whole", "steps=2", "log_every=1", "frozen_statistics=true", "optimizer.type=sgd"}});
  const auto loss = [](const std::string& run) {
    std::ifstream file(run + "/metrics.jsonl");
    std::string line;
    std::getline(file, line);
    std::getline(file, line);
    return nlohmann::json::parse(line).at("loss").get<double>();
  };
  EXPECT_NEAR(loss(parts.folder), loss(whole.folder), 1e-4);
  testing::ExpectError(
      [&] {
        Train(folder.File("recipe.json"), {.overrides = {"output=x", "task=caption"}});
      },
      "preprocessor_config.json");
}

}  // namespace
}  // namespace fovea::train
