// Texts and regions of unequal sizes in one batch come to what each comes to alone; inputs that do not fit are refused.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/random.h"
#include "formats/safetensors.h"
#include "fovea/model.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea {
namespace {

// The network of a golden file as a folder, with the words of tests/golden/clip_tiny.
Model Load(const testing::TemporaryFolder& folder, const std::string& golden_name) {
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + golden_name + ".safetensors"));
  base::WriteTextFileAtomically(folder.File("config.json"), golden.metadata().at("config"));
  std::vector<NamedTensor> weights;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.")) weights.push_back({info.name.substr(8), golden.Get(info.name)});
  }
  formats::WriteSafetensors(folder.File("model.safetensors"), weights);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy(testing::SourcePath("tests/golden/clip_tiny/") + file, folder.File(file));
  return Model::Load(folder.path());
}

Regions Made(int64_t count, int64_t features, uint64_t seed) {
  base::Random random(seed);
  Regions regions{.count = count};
  for (int64_t i = 0; i < count * features; ++i) regions.features.push_back(static_cast<float>(random.Uniform(-1, 1)));
  for (int64_t i = 0; i < count; ++i) {
    const auto x = static_cast<float>(random.Uniform(0, 0.5)), y = static_cast<float>(random.Uniform(0, 0.5));
    for (const float side : {x, y, x + 0.4f, y + 0.4f}) regions.boxes.push_back(side);
  }
  return regions;
}

void ExpectBatchEqualsSingle(const std::string& golden, int64_t features, bool needs_boxes) {
  SCOPED_TRACE(golden);
  const testing::TemporaryFolder folder;
  const Model model = Load(folder, golden);
  const std::vector<std::string> texts = {"a dog", "a red cup"};
  std::vector<Regions> regions = {Made(4, features, 1), Made(2, features, 2)};
  if (!needs_boxes) {
    for (Regions& r : regions) r.boxes.clear();
  }
  const auto both = model.AnalyzeJointly(texts, regions);
  ASSERT_EQ(both.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const auto alone = model.AnalyzeJointly(std::span(texts).subspan(i, 1), std::span(regions).subspan(i, 1)).at(0);
    ASSERT_EQ(alone.embedding.size(), both[i].embedding.size());
    for (size_t k = 0; k < alone.embedding.size(); ++k)
      EXPECT_NEAR(alone.embedding[k], both[i].embedding[k], 1e-5) << i << " " << k;
    EXPECT_EQ(alone.heads.size(), both[i].heads.size());
  }
  EXPECT_NE(both[0].embedding, both[1].embedding);
  regions[1].features.pop_back();
  testing::ExpectError([&] { model.AnalyzeJointly(texts, regions); }, "features");
  testing::ExpectError([&] { model.AnalyzeJointly(std::span(texts).first(1), regions); }, "as many texts");
}

TEST(JointAnalysis, ABatchEqualsItsRows) {
  ExpectBatchEqualsSingle("visual_bert_answering", 7, false);
  ExpectBatchEqualsSingle("lxmert_answering", 6, true);
}

TEST(JointAnalysis, OtherModelsRefuse) {
  const Model model = Model::Load(testing::SourcePath("tests/golden/clip_tiny"));
  testing::ExpectError([&] { model.AnalyzeJointly({}, {}); }, "regions");
}

}  // namespace
}  // namespace fovea
