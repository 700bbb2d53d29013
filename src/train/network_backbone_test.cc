// An encoder without classes (DINO's ViT, as it is published) as the beginning of a classifier; the picture tower of a
// dual encoder as the eyes of a captioner.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "formats/safetensors.h"
#include "testing/testing.h"
#include "train/network.h"

namespace fovea::train {
namespace {

TEST(BuildNetwork, GivesABackboneAHeadForNewClassesAndKeepsItsWeights) {
  const auto golden = formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/vit_dino.safetensors"));
  const testing::TemporaryFolder folder;
  auto config = nlohmann::json::parse(golden.metadata().at("config"));
  config.erase("add_pooling_layer");
  base::WriteTextFileAtomically(folder.File("config.json"), config.dump());
  std::vector<NamedTensor> weights;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.vit.")) weights.push_back({info.name.substr(12), golden.Get(info.name)});
  }
  formats::WriteSafetensors(folder.File("model.safetensors"), weights);

  Recipe recipe;
  recipe.model = folder.path();
  const Network network = BuildNetwork(recipe, {"cat", "dog", "rocket"});
  EXPECT_EQ(network.head, (std::vector<std::string>{"classifier.bias", "classifier.weight"}));
  std::vector<std::string> fresh = network.fresh;
  std::sort(fresh.begin(), fresh.end());
  EXPECT_EQ(fresh, network.head);
  EXPECT_EQ(network.config.Get<std::vector<std::string>>("architectures", {}),
            std::vector<std::string>{"ViTForImageClassification"});
  const auto values = Values(*network.model);
  EXPECT_EQ(values.at("classifier.weight").shape(), (Shape{3, 24}));
  testing::ExpectClose(values.at("vit.layernorm.weight"), golden.Get("weights.vit.layernorm.weight"), 0.0f);
}

TEST(BuildNetwork, StartsTheEyesOfACaptionerFromTheTowerOfADualEncoder) {
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/fovea_dual_encoder_base.safetensors"));
  const auto config = nlohmann::json::parse(golden.metadata().at("config"));
  const testing::TemporaryFolder dual, captioner;
  base::WriteTextFileAtomically(dual.File("config.json"), config.dump());
  std::vector<NamedTensor> weights;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.")) weights.push_back({info.name.substr(8), golden.Get(info.name)});
  }
  formats::WriteSafetensors(dual.File("model.safetensors"), weights);
  const nlohmann::json asked = {
      {"model_type", "show_and_tell"}, {"vocab_size", 20}, {"vision_config", config.at("vision_config")}};
  base::WriteTextFileAtomically(captioner.File("config.json"), asked.dump());

  Recipe recipe;
  recipe.task = Task::kCaption;
  recipe.model = captioner.path();
  recipe.vision_model = dual.path();
  const Network network = BuildNetwork(recipe, {});
  int64_t tower = 0;
  for (const auto& [name, value] : Values(*network.model)) {
    constexpr std::string_view kTower = "vision_model.efficientnet.";
    if (!name.starts_with(kTower) || name.ends_with("num_batches_tracked")) continue;
    testing::ExpectClose(value, golden.Get("weights.vision_model." + name.substr(kTower.size())), 0.0f, name);
    ++tower;
  }
  EXPECT_GT(tower, 20);
  for (const std::string& name : network.fresh) EXPECT_FALSE(name.starts_with("vision_model.")) << name;
}

}  // namespace
}  // namespace fovea::train
