// Training of two towers that start from two models, on grids that are kept: data, composition, and a whole run.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "formats/safetensors.h"
#include "fovea/train.h"
#include "runtime/loaded_model.h"
#include "testing/golden.h"
#include "train/data/grid_cache.h"
#include "train/network.h"
#include "train/training_testing.h"

namespace fovea::train {
namespace {

using fovea::testing::ExpectError;
using nlohmann::json;

json GoldenConfig(const std::string& name) {
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + name + ".safetensors"));
  return json::parse(golden.metadata().at("config"));
}

// Folders vision/ (the tiny EfficientNet, classes "class 0"...), text/ (a tiny BERT), dual/ (config and tokenizer of
// their dual encoder) and pictures/ with captions, and a recipe that trains them.
class CachedTraining : public ::testing::Test {
 protected:
  CachedTraining() {
    WriteTinyModel(folder_.File("vision"));
    const auto bert =
        formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/bert_no_pooler.safetensors"));
    json text = GoldenConfig("bert_no_pooler");
    std::vector<NamedTensor> weights;
    for (const auto& info : bert.tensors()) {
      if (info.name.starts_with("weights.")) weights.push_back({info.name.substr(8), bert.Get(info.name)});
    }
    std::filesystem::create_directories(folder_.File("text"));
    std::filesystem::create_directories(folder_.File("dual"));
    base::WriteTextFileAtomically(folder_.File("text/config.json"), text.dump());
    formats::WriteSafetensors(folder_.File("text/model.safetensors"), weights);
    json vision = GoldenConfig("efficientnet_train");
    const json dual = {{"architectures", {"FoveaDualEncoder"}},
                       {"model_type", "fovea-dual-encoder"},
                       {"projection_dim", 16},
                       {"projection_hidden", 24},
                       {"pooling_heads", 4},
                       {"logit_scale_init_value", 2.0},
                       {"vision_config", vision},
                       {"text_config", text}};
    base::WriteTextFileAtomically(folder_.File("dual/config.json"), dual.dump());
    base::WriteTextFileAtomically(folder_.File("dual/preprocessor_config.json"),
                                  base::ReadTextFile(folder_.File("vision/preprocessor_config.json")));
    base::WriteTextFileAtomically(folder_.File("dual/tokenizer.json"), R"({"version": "1.0", "added_tokens": [],
      "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
      "lowercase": true}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": {"type": "BertProcessing",
      "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}, "decoder": null, "truncation": null, "padding": null, "model": {"type":
      "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab":
      {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "red": 5, "green": 6, "blue": 7, "picture": 8}}})");
    WriteColourPictures(folder_.File("pictures"), 8);
    for (const std::string colour : {"red", "green", "blue"}) {
      for (int i = 0; i < 8; ++i) {
        base::WriteTextFileAtomically(folder_.File("pictures/" + colour + "/" + std::to_string(i) + ".txt"),
                                      "a " + colour + " picture\n" + colour + "\n");
      }
    }
    recipe_ = {{"output", "out"},
               {"task", "contrastive"},
               {"model", "dual"},
               {"vision_model", "vision"},
               {"text_model", "text"},
               {"data",
                {{"train", {"pictures"}},
                 {"augment", false},
                 {"captions_per_picture", 2},
                 {"cache_grids", {{"blocks", 1}, {"crop", {6, 8}}, {"flips", true}, {"file", "cache.safetensors"}}}}},
               {"groups",
                {{{"match", {"vision_model.embeddings.", "blocks.0."}}, {"frozen", true}},
                 {{"match", {"vision_model.", "text_model."}}, {"learning_rate_scale", 0.1}}}},
               {"frozen_statistics", true},
               {"optimizer", {{"learning_rate", 0.01}}},
               {"batch_size", 12},
               {"steps", 120},
               {"log_every", 20}};
  }

  std::string RecipeFile() {
    base::WriteTextFileAtomically(folder_.File("recipe.json"), recipe_.dump());
    return folder_.File("recipe.json");
  }

  testing::TemporaryFolder folder_;
  json recipe_;
};

TEST_F(CachedTraining, TowersStartFromTheTwoModels) {
  const Recipe recipe = ReadRecipe(RecipeFile(), {});
  const Network network = BuildNetwork(recipe, {});
  const auto values = Values(*network.model);
  const auto vision = formats::SafetensorsFile::Open(folder_.File("vision/model.safetensors"));
  const auto text = formats::SafetensorsFile::Open(folder_.File("text/model.safetensors"));
  testing::ExpectClose(values.at("vision_model.encoder.top_conv.weight"),
                       vision.Get("efficientnet.encoder.top_conv.weight"), 0.0f);
  const auto is_words = [](const auto& info) { return info.name.ends_with("embeddings.word_embeddings.weight"); };
  const auto words = std::ranges::find_if(text.tensors(), is_words);
  ASSERT_NE(words, text.tensors().end());
  testing::ExpectClose(values.at("text_model.embeddings.word_embeddings.weight"), text.Get(words->name), 0.0f);
  EXPECT_FLOAT_EQ(values.at("logit_scale").item(), 2.0f);
  for (const std::string& name : network.fresh) {
    EXPECT_FALSE(name.starts_with("vision_model") || name.starts_with("text_model")) << name;
  }
}

TEST_F(CachedTraining, ATowerThatDoesNotFitIsRefused) {
  json dual = json::parse(base::ReadTextFile(folder_.File("dual/config.json")));
  dual["text_config"]["vocab_size"] = 23;
  base::WriteTextFileAtomically(folder_.File("dual/config.json"), dual.dump());
  ExpectError([&] { BuildNetwork(ReadRecipe(RecipeFile(), {}), {}); }, "word_embeddings");
}

TEST_F(CachedTraining, LearnsTheColoursAndLeavesWhatIsFrozen) {
  const TrainReport report = Train(RecipeFile(), {});
  EXPECT_EQ(report.steps, 120);
  std::vector<double> losses;
  for (const std::string& line : base::Split(base::ReadTextFile(folder_.File("out/metrics.jsonl")), '\n')) {
    if (!line.empty()) losses.push_back(json::parse(line).at("loss"));
  }
  ASSERT_EQ(losses.size(), 6u);
  // Guessing gives ln 12 = 2.48; who knows the colours still cannot tell the four pictures of each apart: ln 4 = 1.39.
  EXPECT_LT(losses.back(), 2.1);
  EXPECT_GT(losses.back(), 1.3);
  EXPECT_GT(losses.front(), losses.back() + 0.3);
  const auto before = formats::SafetensorsFile::Open(folder_.File("vision/model.safetensors"));
  const auto after = formats::SafetensorsFile::Open(folder_.File("out/model.safetensors"));
  testing::ExpectClose(after.Get("vision_model.embeddings.convolution.weight"),
                       before.Get("efficientnet.embeddings.convolution.weight"), 0.0f);
  const Tensor moved = after.Get("vision_model.encoder.top_conv.weight");
  EXPECT_NE(moved.data<float>()[0], before.Get("efficientnet.encoder.top_conv.weight").data<float>()[0]);
}

TEST_F(CachedTraining, ARunThatReadsItsFeaturesIsTheSameRun) {
  Train(RecipeFile(), {.overrides = {"steps=3", "output=first"}});
  std::vector<std::string> notes;
  TrainOptions options{.overrides = {"steps=3", "output=second"}};
  options.on_note = [&](const std::string& note) { notes.push_back(note); };
  Train(folder_.File("recipe.json"), options);
  EXPECT_TRUE(
      std::ranges::any_of(notes, [](const std::string& note) { return note.find("from") != std::string::npos; }));
  EXPECT_EQ(base::ReadTextFile(folder_.File("first/model.safetensors")),
            base::ReadTextFile(folder_.File("second/model.safetensors")));
}

TEST_F(CachedTraining, WeakLabelsStandBesideCaptions) {
  std::filesystem::remove(folder_.File("pictures/red/0.txt"));
  recipe_["data"]["weak_labels"] = {
      {"model", "vision"}, {"share", 1.0}, {"least_probability", 0.0}, {"prompts", {"a picture of {}"}}};
  const Recipe recipe = ReadRecipe(RecipeFile(), {});
  const Network network = BuildNetwork(recipe, {});
  const auto teacher = runtime::LoadedModel::Load(recipe.weak_labels.model, "vision");
  const GridCache cache({.filter = {.paths = recipe.train_paths, .label_field = {}, .classes = {}},
                         .preprocess = network.preprocess,
                         .grids = recipe.grids,
                         .weak_labels = recipe.weak_labels,
                         .model = network.model.get(),
                         .teacher = &teacher->network(),
                         .class_names = teacher->class_names()});
  EXPECT_EQ(cache.samples().size(), 24u);
  GridBatches batches(
      cache, {.grids = recipe.grids, .weak_labels = recipe.weak_labels, .captions_per_picture = 2, .seed = 1}, {});
  Batch batch;
  ASSERT_TRUE(batches.Next(24, batch));
  std::map<std::string, int> seen;
  for (size_t i = 0; i < 24; ++i) {
    ++seen[batch.keys[i]];
    const bool has_caption = batch.keys[i] != "red/0.png";
    EXPECT_EQ(batch.caption_sets[0][i].find("class") == std::string::npos, has_caption) << batch.caption_sets[0][i];
    EXPECT_TRUE(batch.caption_sets[1][i].starts_with("a picture of class ")) << batch.caption_sets[1][i];
  }
  EXPECT_EQ(seen.size(), 24u);  // an epoch sees each picture once
  const int64_t side = batch.grids.dim(1);
  EXPECT_TRUE(side == 6 || side == 8) << side;

  // A second stream that starts in the middle goes on as the first does.
  Batch next, resumed;
  ASSERT_TRUE(batches.Next(6, next));
  GridBatches other(cache,
                    {.grids = recipe.grids, .weak_labels = recipe.weak_labels, .captions_per_picture = 2, .seed = 1},
                    {.epoch = 0, .taken = 24});
  ASSERT_TRUE(other.Next(6, resumed));
  EXPECT_EQ(next.keys, resumed.keys);
  EXPECT_EQ(next.caption_sets, resumed.caption_sets);
}

TEST_F(CachedTraining, RefusesWhatCannotBeKept) {
  json groups = recipe_["groups"];
  recipe_["groups"] = json::array({{{"match", "vision_model.embeddings."}, {"frozen", true}}});
  ExpectError([&] { Train(RecipeFile(), {}); }, "must be frozen");
  recipe_["groups"] = groups;
  recipe_["data"]["cache_grids"]["blocks"] = 99;
  ExpectError([&] { Train(RecipeFile(), {}); }, "at most");
  recipe_["data"]["cache_grids"]["blocks"] = 1;
  recipe_["data"]["augment"] = true;
  ExpectError([&] { Train(RecipeFile(), {}); }, "\"augment\": false");
  recipe_["data"].erase("cache_grids");
  ExpectError([&] { Train(RecipeFile(), {}); }, "need data.cache_grids");
  recipe_["data"]["cache_grids"] = {{"blocks", 1}};
  recipe_["data"]["augment"] = false;
  recipe_.erase("vision_model");
  ExpectError([&] { Train(RecipeFile(), {}); }, "expected vision_model beside text_model");
}

}  // namespace
}  // namespace fovea::train
