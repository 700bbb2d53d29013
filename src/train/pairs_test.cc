// Runs over pictures with captions on a tiny CLIP: cached features give the run of the computed ones, several captions
// count, the report shows what is found, and a teacher's share of the loss.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fovea/train.h"
#include "testing/golden.h"
#include "train/contrastive.h"
#include "train/training_testing.h"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;

class PairsRun : public ::testing::Test {
 protected:
  PairsRun() {
    WriteColourPictures(folder_.File("pictures"), 8);
    WriteColourCaptions(folder_.File("pictures"));
    WriteRecipe(R"({"output": "run", "task": "contrastive", "seed": 3, "steps": 6, "batch_size": 8, "log_every": 2,
                    "validate_every": 6, "frozen_statistics": true, "optimizer": {"learning_rate": 0.003},
                    "data": {"train": ["pictures"], "validation_share": 0.25, "threads": 2, "augment": false}})");
  }
  void WriteRecipe(const std::string& text) {
    auto recipe = nlohmann::json::parse(text);
    recipe["model"] = testing::SourcePath("tests/golden/clip_tiny");
    std::ofstream(folder_.File("recipe.json")) << recipe.dump();
  }
  TrainReport Run(const std::string& output, std::vector<std::string> overrides, bool resume = false) const {
    overrides.push_back("output=" + output);
    return Train(folder_.File("recipe.json"), {.overrides = overrides, .resume = resume});
  }
  std::map<std::string, Tensor> Weights(const std::string& run) const {
    std::map<std::string, Tensor> weights;
    for (const auto& tensor : formats::SafetensorsFile::Open(folder_.File(run) + "/model.safetensors").GetAll())
      weights[tensor.name] = tensor.tensor;
    return weights;
  }
  void ExpectSame(const std::string& a, const std::string& b, float tolerance) const {
    const auto left = Weights(a), right = Weights(b);
    for (const auto& [name, value] : left) testing::ExpectClose(right.at(name), value, tolerance, name);
  }

  testing::TemporaryFolder folder_;
};

constexpr char kFrozenPictures[] = R"(groups=[{"match": "vision_model", "frozen": true},
                                              {"match": "visual_projection", "frozen": true}])";

TEST_F(PairsRun, CachedFeaturesGiveTheRunOfTheTowers) {
  Run("plain", {kFrozenPictures});
  Run("cached", {kFrozenPictures, "data.cache_features=true"});
  ExpectSame("plain", "cached", 2e-5f);
  const std::string file = folder_.File("cached/features/pictures.features.safetensors");
  ASSERT_TRUE(fs::exists(file));
  EXPECT_FALSE(fs::exists(folder_.File("cached/features/texts.features.safetensors"))) << "that tower is trained";

  // The file is used, not only written: a row changed there changes the run.
  fs::create_directories(folder_.File("used/features"));
  std::string bytes = base::ReadTextFile(file);
  const std::string copy = folder_.File("used/features/pictures.features.safetensors");
  base::WriteTextFileAtomically(copy, bytes);
  const auto written = fs::last_write_time(copy);
  Run("used", {kFrozenPictures, "data.cache_features=true"});
  ExpectSame("cached", "used", 0.0f);
  EXPECT_EQ(fs::last_write_time(copy), written) << "a file that fits is read, not made";
  for (size_t i = bytes.size() / 2; i + 3 < bytes.size(); i += 4) bytes[i + 3] ^= static_cast<char>(0x80);  // signs
  fs::create_directories(folder_.File("changed/features"));
  base::WriteTextFileAtomically(folder_.File("changed/features/pictures.features.safetensors"), bytes);
  Run("changed", {kFrozenPictures, "data.cache_features=true"});
  const auto used = Weights("used"), changed = Weights("changed");
  const Tensor a = used.at("text_projection.weight"), b = changed.at("text_projection.weight");
  EXPECT_FALSE(std::equal(a.raw(), a.raw() + a.size_bytes(), b.raw()));

  // Another picture: another file.
  fs::copy_file(folder_.File("pictures/red/1.png"), folder_.File("pictures/red/2.png"),
                fs::copy_options::overwrite_existing);
  fs::create_directories(folder_.File("anew/features"));
  base::WriteTextFileAtomically(folder_.File("anew/features/pictures.features.safetensors"), base::ReadTextFile(file));
  Run("anew", {kFrozenPictures, "data.cache_features=true"});
  EXPECT_NE(base::ReadTextFile(folder_.File("anew/features/pictures.features.safetensors")), base::ReadTextFile(file));
}

TEST_F(PairsRun, CachedTextsAndTeachersToo) {
  const std::string frozen_texts = R"(groups=[{"match": "text_", "frozen": true}])";
  Run("plain", {frozen_texts});
  Run("cached", {frozen_texts, "data.cache_features=true"});
  ExpectSame("plain", "cached", 2e-5f);
  EXPECT_TRUE(fs::exists(folder_.File("cached/features/texts.features.safetensors")));

  const std::string teacher = "loss.teacher=" + testing::SourcePath("tests/golden/clip_tiny");
  const std::vector<std::string> student = {"from_scratch=true", teacher, "loss.distillation=0.5"};
  Run("student", student);
  std::vector<std::string> with_cache = student;
  with_cache.emplace_back("data.cache_features=true");
  Run("cached_student", with_cache);
  ExpectSame("student", "cached_student", 2e-4f);
}

TEST_F(PairsRun, CachesAreRefusedWhereTheyWouldBeWrong) {
  const auto expect = [&](std::vector<std::string> overrides, const std::string& message) {
    overrides.emplace_back("data.cache_features=true");
    testing::ExpectError([&] { Run("refused", overrides); }, message);
  };
  expect({}, "needs a frozen tower");
  expect({kFrozenPictures, "data.augment=true"}, "cannot be augmented");
  expect({kFrozenPictures, "frozen_statistics=false"}, "frozen_statistics");
  expect({"task=classify"}, "contrastive and distill");
}

TEST_F(PairsRun, EveryCaptionCountsAndTheReportShowsPictures) {
  const TrainReport report = Run("run", {});
  nlohmann::json validation;
  std::ifstream file(report.folder + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto metrics = nlohmann::json::parse(line);
    if (metrics.contains("validation")) validation = metrics["validation"];
  }
  EXPECT_EQ(validation.at("captions"), 2 * validation.at("n").get<int>());
  const std::string html = base::ReadTextFile(report.folder + "/report.html");
  EXPECT_NE(html.find("src='data:image/jpeg;base64,"), std::string::npos);
  EXPECT_NE(html.find("in the snow"), std::string::npos) << "the second caption of a picture is among the examples";
  EXPECT_EQ(html.find("http"), std::string::npos) << "the report must need nothing else";
}

TEST_F(PairsRun, CheckpointedBlocksGiveTheSameRun) {
  Run("plain", {});
  Run("again", {"gradient_checkpointing=true"});
  ExpectSame("plain", "again", 0.0f);
  Run("parts", {"gradient_checkpointing=true", "micro_batch_size=3"});
  ExpectSame("plain", "parts", 1e-4f);
}

TEST_F(PairsRun, TeachersShareIsOnTheWayFromOneLossToTheOther) {
  const auto loss_of = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> overrides = {"steps=1", "log_every=1", "from_scratch=true"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    Run(name, overrides);
    std::ifstream file(folder_.File(name) + "/metrics.jsonl");
    std::string line;
    std::getline(file, line);
    return nlohmann::json::parse(line).at("loss").get<double>();
  };
  const std::string teacher = "loss.teacher=" + testing::SourcePath("tests/golden/clip_tiny");
  const double own = loss_of("own", {}), none = loss_of("none", {teacher, "loss.distillation=0"}),
               all = loss_of("all", {teacher, "loss.distillation=1"}),
               some = loss_of("some", {teacher, "loss.distillation=0.25"});
  EXPECT_NEAR(none, own, 1e-6);
  EXPECT_GT(std::fabs(all - own), 1e-3);
  EXPECT_NEAR(some, 0.75 * own + 0.25 * all, 1e-5);
}

}  // namespace
}  // namespace fovea::train
