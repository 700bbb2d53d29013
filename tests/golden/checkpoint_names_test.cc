// Checkpoints by other hands: without the task's prefix, with torchvision's names, with transformers 5's, with parts
// left over from pre-training, without the pooler that their config.json says nothing about. Each is a golden file with
// other names, and must compute the same numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/file.h"
#include "eval/golden.h"
#include "runtime/loaded_model.h"
#include "testing/testing.h"

namespace fovea {
namespace {

struct Foreign {
  std::string title, golden;
  // Our names to theirs, in order; "^" stands for the start.
  std::vector<std::pair<std::string, std::string>> names;
  std::vector<std::string> left_over = {};  // tensors that the network has no use for
};

std::string Renamed(std::string name, const Foreign& foreign) {
  for (const auto& [ours, theirs] : foreign.names) {
    const bool is_prefix = ours.starts_with('^');
    const std::string sought = ours.substr(is_prefix ? 1 : 0);
    const size_t at = name.find(sought);
    if (at != std::string::npos && (!is_prefix || at == 0)) name.replace(at, sought.size(), theirs);
  }
  return name;
}

const std::vector<Foreign>& Cases() {
  static const std::vector<Foreign> cases = {
      {"vit_bare", "vit_pooled", {{"^vit.", ""}}, {"embeddings.mask_token"}},
      {"vit_without_pooler", "vit_dino", {{"^vit.", ""}}},
      {"vit_in_memory",
       "vit_classifier",
       {{".output.dense.", ".mlp.fc2."},
        {".attention.mlp.fc2.", ".attention.o_proj."},
        {".intermediate.dense.", ".mlp.fc1."},
        {".attention.attention.query.", ".attention.q_proj."},
        {".attention.attention.key.", ".attention.k_proj."},
        {".attention.attention.value.", ".attention.v_proj."},
        {"^vit.encoder.layer.", "vit.layers."}},
       {"vit.pooler.dense.weight", "vit.pooler.dense.bias"}},
      {"dinov2_bare", "dinov2_base", {{"^dinov2.", ""}}},
      {"convnext_bare", "convnext_bare", {{"^convnext.", ""}}},
      {"resnet_bare", "resnet_shrinking", {{"^resnet.", ""}}},
      {"resnet_of_torchvision",
       "resnet_bottleneck",
       {{"^resnet.embedder.embedder.convolution.", "conv1."},
        {"^resnet.embedder.embedder.normalization.", "bn1."},
        {"^resnet.encoder.stages.0.layers.", "layer1."},
        {"^resnet.encoder.stages.1.layers.", "layer2."},
        {".shortcut.convolution.", ".downsample.0."},
        {".shortcut.normalization.", ".downsample.1."},
        {".layer.0.convolution.", ".conv1."},
        {".layer.0.normalization.", ".bn1."},
        {".layer.1.convolution.", ".conv2."},
        {".layer.1.normalization.", ".bn2."},
        {".layer.2.convolution.", ".conv3."},
        {".layer.2.normalization.", ".bn3."},
        {"^classifier.1.", "fc."}}},
  };
  return cases;
}

class CheckpointNames : public ::testing::TestWithParam<Foreign> {
 protected:
  CheckpointNames()
      : file_(formats::SafetensorsFile::Open(
            testing::SourcePath("tests/golden/models/" + GetParam().golden + ".safetensors"))) {
    auto config = nlohmann::json::parse(file_.metadata().at("config"));
    config.erase("add_pooling_layer");  // no config.json of a checkpoint has it
    base::WriteTextFileAtomically(folder_.File("config.json"), config.dump());
    for (const auto& info : file_.tensors()) {
      if (info.name.starts_with("weights."))
        weights_.push_back({Renamed(info.name.substr(8), GetParam()), file_.Get(info.name)});
    }
    for (const std::string& name : GetParam().left_over) weights_.push_back({name, Tensor::Zeros({3})});
  }

  std::shared_ptr<const runtime::LoadedModel> Load() const {
    formats::WriteSafetensors(folder_.File("model.safetensors"), weights_);
    return runtime::LoadedModel::Load(folder_.path(), "foreign");
  }

  formats::SafetensorsFile file_;
  testing::TemporaryFolder folder_;
  std::vector<NamedTensor> weights_;
};

TEST_P(CheckpointNames, GiveTheSameNumbers) {
  const auto is_foreign = [&](const NamedTensor& weight) { return !file_.Has("weights." + weight.name); };
  EXPECT_GT(std::ranges::count_if(weights_, is_foreign), static_cast<int64_t>(weights_.size() / 2));
  const auto model = Load();
  for (const auto& [name, value] : eval::RunCapabilities(model->network(), eval::GoldenInputs(file_))) {
    const eval::Difference difference = eval::Compare(value, file_.Get("output." + name), 1, name);
    EXPECT_LT(difference.max_rel(), 1e-4) << name;
  }
}

TEST_P(CheckpointNames, StillMissNothing) {
  // One tensor less is an error that names it as this network does, also one half of a part that may be missing whole.
  const std::set<std::string> left_over(GetParam().left_over.begin(), GetParam().left_over.end());
  const auto needed = std::ranges::find_if(weights_, [&](const NamedTensor& weight) {
    return !left_over.contains(weight.name) && weight.name.ends_with("bias");
  });
  ASSERT_NE(needed, weights_.end());
  const auto pooler = std::ranges::find_if(weights_, [&](const NamedTensor& weight) {
    return !left_over.contains(weight.name) && weight.name == "pooler.dense.bias";
  });
  weights_.erase(pooler != weights_.end() ? pooler : needed);
  try {
    Load();
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("missing"), std::string::npos) << error.message();
  }
}

INSTANTIATE_TEST_SUITE_P(Foreign, CheckpointNames, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.title; });

}  // namespace
}  // namespace fovea
