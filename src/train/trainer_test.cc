// Whole runs on a tiny network: it learns, its folder is a model like any other, and what cannot work is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fovea/model.h"
#include "fovea/train.h"
#include "testing/golden.h"
#include "train/recipe.h"
#include "train/training_testing.h"

namespace fovea::train {
namespace {

class Trainer : public ::testing::Test {
 protected:
  Trainer() {
    WriteTinyModel(folder_.File("base"));
    WriteColourPictures(folder_.File("pictures"), 16);
    Write(R"({"output": "run", "model": "base", "seed": 3, "steps": 60, "batch_size": 16, "log_every": 20,
              "data": {"train": ["pictures"], "validation_share": 0.25, "threads": 2},
              "optimizer": {"learning_rate": 0.01}, "validate_every": 30})");
  }
  void Write(const std::string& text) { std::ofstream(folder_.File("recipe.json")) << text; }
  TrainReport Run(const std::vector<std::string>& overrides = {}) const {
    return Train(folder_.File("recipe.json"), {.overrides = overrides});
  }
  std::map<std::string, Tensor> Weights(const std::string& run) const {
    std::map<std::string, Tensor> weights;
    for (const auto& tensor : formats::SafetensorsFile::Open(folder_.File(run) + "/model.safetensors").GetAll())
      weights[tensor.name] = tensor.tensor;
    return weights;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Trainer, LearnsColoursAndServesThem) {
  const TrainReport report = Run({"ema_decay=0.9"});
  EXPECT_EQ(report.steps, 60);
  EXPECT_EQ(report.metric, "top1");
  EXPECT_GE(report.best, 0.9);
  const Model model = Model::Load(report.folder);
  EXPECT_EQ(model.class_names(), (std::vector<std::string>{"blue", "green", "red"}));
  const Image image = ReadImage(folder_.File("pictures/green/3.png"));
  EXPECT_EQ(model.Classify({&image, 1})[0][0].name, "green");
  const std::string html = base::ReadTextFile(report.folder + "/report.html");
  EXPECT_NE(html.find("Validation: top1"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos) << "the report must need nothing else";
}

TEST_F(Trainer, SameSeedSameBitsWhateverTheLoaderThreads) {
  Run({"output=a", "steps=6"});
  Run({"output=b", "steps=6", "data.threads=1"});
  Run({"output=c", "steps=6", "seed=4"});
  const auto a = Weights("a"), b = Weights("b"), c = Weights("c");
  bool differs = false;
  for (const auto& [name, value] : a) {
    testing::ExpectClose(b.at(name), value, 0.0f, name);
    const Tensor other = c.at(name);
    differs |= !std::equal(value.raw(), value.raw() + value.size_bytes(), other.raw());
  }
  EXPECT_TRUE(differs) << "another seed must give another run";
}

TEST_F(Trainer, MicroBatchesAddUpToTheBatch) {
  const std::vector<std::string> common = {"steps=1", "frozen_statistics=true", "optimizer.type=sgd",
                                           "optimizer.momentum=0"};
  const auto run = [&](const std::string& name, const std::string& size) {
    std::vector<std::string> overrides = common;
    overrides.push_back("output=" + name);
    overrides.push_back("micro_batch_size=" + size);
    Run(overrides);
    return Weights(name);
  };
  const auto whole = run("whole", "0"), parts = run("parts", "5");
  for (const auto& [name, value] : whole) testing::ExpectClose(parts.at(name), value, 1e-5f, name);
}

TEST_F(Trainer, FrozenParametersStayAndGroupsMustMatch) {
  Run({"output=head", "steps=5", "frozen_statistics=true", R"(groups=[{"match": "efficientnet", "frozen": true}])"});
  const auto before = Weights("base"), after = Weights("head");
  for (const auto& [name, value] : after) {
    if (name.starts_with("efficientnet")) testing::ExpectClose(value, before.at(name), 0.0f, name);
  }
  testing::ExpectError([&] { Run({"output=x", R"(groups=[{"match": "no.such"}])"}); }, "no parameter of this model");
  testing::ExpectError([&] { Run({"output=y", R"(groups=[{"match": "", "frozen": true}])"}); }, "nothing to train");
}

// LoRA's step against the definition: from B = 0 only B moves, by the projection of the gradient onto A.
TEST_F(Trainer, LoraChangesOnlyItsTargetsByAMatrixOfLowRank) {
  Run({"output=lora", "steps=10", "frozen_statistics=true", "optimizer.learning_rate=0.05",
       R"(lora={"rank": 1, "targets": ["project_conv"]})"});
  const auto before = Weights("base"), after = Weights("lora");
  int changed = 0;
  for (const auto& [name, value] : after) {
    if (name.starts_with("classifier")) continue;
    EXPECT_EQ(name.find("lora"), std::string::npos) << "exports are merged";
    const Tensor old = before.at(name);
    if (name.find("project_conv") == std::string::npos) {
      testing::ExpectClose(value, old, 0.0f, name);
      continue;
    }
    ++changed;
    // Every 2x2 minor of a matrix of rank 1 is zero.
    const int64_t O = value.dim(0), I = value.numel() / O;
    const auto delta = [&](int64_t o, int64_t i) {
      return static_cast<double>(value.data<float>()[o * I + i]) - old.data<float>()[o * I + i];
    };
    double largest = 0;
    for (int64_t o = 0; o < O; ++o)
      for (int64_t i = 0; i < I; ++i) largest = std::max(largest, std::fabs(delta(o, i)));
    EXPECT_GT(largest, 1e-3) << name;
    for (int64_t o = 1; o < O; ++o)
      for (int64_t i = 1; i < I; ++i)
        EXPECT_NEAR(delta(0, 0) * delta(o, i), delta(0, i) * delta(o, 0), 1e-4 * largest * largest + 1e-9) << name;
  }
  EXPECT_EQ(changed, 4);
}

TEST_F(Trainer, StopsWhenTheLossIsNoNumber) {
  testing::ExpectError(
      [&] {
        Run({"optimizer.learning_rate=1e3", "optimizer.type=sgd", "steps=200", "frozen_statistics=true"});
      },
      "batch: ");
}

TEST_F(Trainer, DistillsWithoutLabels) {
  const TrainReport report = Run({"task=distill", "loss.teacher=" + folder_.File("base"), "from_scratch=true",
                                  "loss.temperature=0.1", "optimizer.learning_rate=0.003"});
  double first = 0, last = 0;
  std::ifstream file(report.folder + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto metrics = nlohmann::json::parse(line);
    if (!metrics.contains("loss")) continue;
    last = metrics["loss"];
    if (first == 0) first = last;
  }
  EXPECT_LT(last, first);
}

TEST_F(Trainer, RefusesWhatItDoesNotKnow) {
  const auto expect = [&](const std::string& setting, const std::string& message) {
    testing::ExpectError([&] { Run({setting}); }, message);
  };
  expect("bach_size=3", "did you mean \"batch_size\"");
  expect("optimizer.lerning_rate=1", "did you mean \"optimizer.learning_rate\"");
  expect("optimizer.type=adam", "one of adamw, sgd, lion, got \"adam\"");
  expect("precision=bf16", "not supported yet");
  expect("data.cache_features=true", "contrastive and distill");
  expect("data.augment={\"hue\": 0.6}", "hue");
  expect("layer_decay=1.5", "layer_decay");
  expect("optimizer.momentum=0.9", "unknown key \"optimizer.momentum\"");
  expect("loss.teacher=x", "unknown key \"loss.teacher\"");
  expect("epochs=1", "either epochs or steps");
  expect("task=contrastive", "text tower");
  expect("data.train=[\"nowhere\"]", "nowhere");
  expect("clip_norm=-1", "clip_norm");
  Run({"steps=2"});
  testing::ExpectError([&] { Run({"steps=2"}); }, "already holds a run");
  testing::ExpectError(
      [&] {
        Train(folder_.File("recipe.json"), {.overrides = {"steps=2", "batch_size=8"}, .resume = true});
      },
      "\"batch_size\"");
}

}  // namespace
}  // namespace fovea::train
