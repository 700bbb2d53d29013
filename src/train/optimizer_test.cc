#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"
#include "nn/entry.h"
#include "ops/loss.h"
#include "runtime/loaded_model.h"
#include "testing/testing.h"
#include "train/schedule.h"

namespace fovea::train {
namespace {

TEST(Optimizer, TenStepsMatchPyTorch) {
  const std::string path = testing::SourcePath("tests/golden/train/optimizers.json");
  const nlohmann::json golden = base::ParseJson(base::ReadTextFile(path), path);
  const auto tensor = [](const nlohmann::json& values) {
    return Tensor::FromValues<float>({4, 3}, values.get<std::vector<float>>());
  };
  ASSERT_EQ(golden["cases"].size(), 6u);
  for (const auto& stored : golden["cases"]) {
    const auto& a = stored["attributes"];
    OptimizerOptions options;
    options.type = a["type"] == "adamw"  ? OptimizerOptions::Type::kAdamW
                   : a["type"] == "lion" ? OptimizerOptions::Type::kLion
                                         : OptimizerOptions::Type::kSgd;
    options.beta1 = a.value("beta1", 0.0);
    options.beta2 = a.value("beta2", 0.0);
    options.eps = a.value("eps", 0.0);
    options.momentum = a.value("momentum", 0.0);
    options.is_nesterov = a.value("nesterov", false);
    std::vector<Slot> slots{{.name = "w", .value = tensor(golden["start"]), .weight_decay = a["weight_decay"]}};
    for (size_t step = 0; step < golden["gradients"].size(); ++step) {
      slots[0].gradient = tensor(golden["gradients"][step]);
      EXPECT_NEAR(ClipGradients(a.value("clip_norm", 1e9), slots), stored["norms"][step].get<double>(), 1e-5);
      OptimizerStep(options, a["learning_rate"], slots);
      testing::ExpectClose(slots[0].value, tensor(stored["values"][step]), 2e-6f, a.dump());
    }
  }
}

// Ten AdamW steps of a whole network in training mode.
TEST(Optimizer, EfficientNetTrainsAsInPyTorch) {
  const auto weights =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/efficientnet_train.safetensors"));
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/train/efficientnet.safetensors"));
  const auto config = base::Config::Parse(weights.metadata().at("config"), "efficientnet_train");
  const models::Entry& entry = runtime::FindEntry(config);
  std::vector<NamedTensor> tensors;
  for (const auto& info : weights.tensors()) {
    if (info.name.starts_with("weights.")) tensors.push_back({info.name.substr(8), weights.Get(info.name).Clone()});
  }
  const auto model = entry.create(config);
  runtime::AssignParameters(*model, entry, tensors, "golden", {.keeps_compact_weights = false});
  const OptimizerOptions options{.learning_rate = 2e-3, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
  std::vector<Slot> slots;
  std::vector<nn::Parameter*> parameters;
  nn::ForEachParameter(*model, [&](const std::string& path, nn::Parameter& parameter) {
    if (parameter.kind() != nn::Parameter::Kind::kTrained) return;
    slots.push_back(
        {.name = path, .value = parameter.value(), .weight_decay = IsExemptFromDecay(parameter.shape()) ? 0.0 : 0.05});
    parameters.push_back(&parameter);
  });
  for (int64_t step = 0; step < 10; ++step) {
    Tape tape;
    for (const Slot& slot : slots) tape.Watch(slot.value);
    const Tensor loss =
        CrossEntropy(model->EncodeImages(weights.Get("input.pixels")).logits, weights.Get("input.labels"));
    EXPECT_NEAR(loss.item(), golden.Get("losses").data<float>()[step], 5e-6f) << "step " << step;
    const Gradients gradients = tape.Backward(loss);
    for (Slot& slot : slots) slot.gradient = gradients[slot.value].Contiguous();
    OptimizerStep(options, options.learning_rate, slots);
    for (nn::Parameter* parameter : parameters) parameter->MarkChanged();
  }
  // AdamW divides by the gradient's own size, so where that is hardly more than rounding, so is the direction.
  // PyTorch's own f32 is up to 3.1e-4 away from these f64 numbers.
  int64_t compared = 0;
  nn::ForEachParameter(*model, [&](const std::string& path, nn::Parameter& parameter) {
    if (parameter.kind() == nn::Parameter::Kind::kCounter) return;
    const Tensor expected = golden.Get("after." + path);
    float scale = 0.0f;
    for (const float value : expected.values<float>()) scale = std::max(scale, std::fabs(value));
    testing::ExpectClose(parameter.value(), expected, 1e-3f * std::max(1.0f, scale), path);
    ++compared;
  });
  EXPECT_GT(compared, 20);
}

// Ten AdamW steps without dropout from a golden model of two towers and one of text; `loss_of` gets the network and the
// inputs of the golden file.
void ExpectTenSteps(const std::string& name,
                    const std::function<Tensor(const models::Model&, const formats::SafetensorsFile&)>& loss_of) {
  const auto weights =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + name + ".safetensors"));
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/train/" + name + ".safetensors"));
  const auto config = base::Config::Parse(weights.metadata().at("config"), name);
  const models::Entry& entry = runtime::FindEntry(config);
  std::vector<NamedTensor> tensors;
  for (const auto& info : weights.tensors()) {
    if (info.name.starts_with("weights.")) tensors.push_back({info.name.substr(8), weights.Get(info.name).Clone()});
  }
  const auto model = entry.create(config);
  if (entry.adapt != nullptr) entry.adapt(tensors, config);
  runtime::AssignParameters(*model, entry, tensors, name, {.keeps_compact_weights = false});
  std::vector<Slot> slots;
  std::vector<nn::Parameter*> parameters;
  nn::ForEachParameter(*model, [&](const std::string& path, nn::Parameter& parameter) {
    if (parameter.kind() != nn::Parameter::Kind::kTrained) return;
    slots.push_back(
        {.name = path, .value = parameter.value(), .weight_decay = IsExemptFromDecay(parameter.shape()) ? 0.0 : 0.05});
    parameters.push_back(&parameter);
  });
  const OptimizerOptions options{.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
  for (int64_t step = 0; step < 10; ++step) {
    Tape tape({.is_training = false});
    for (const Slot& slot : slots) tape.Watch(slot.value);
    const Tensor loss = loss_of(*model, weights);
    EXPECT_NEAR(loss.item(), golden.Get("losses").data<float>()[step], 1e-4f) << name << " step " << step;
    const Gradients gradients = tape.Backward(loss);
    for (Slot& slot : slots)
      slot.gradient = gradients[slot.value].defined() ? gradients[slot.value].Contiguous() : Tensor();
    OptimizerStep(options, 2e-3, slots);
    for (nn::Parameter* parameter : parameters) parameter->MarkChanged();
  }
  int64_t compared = 0;
  for (const Slot& slot : slots) {
    if (!golden.Has("after." + slot.name)) continue;
    testing::ExpectClose(slot.value, golden.Get("after." + slot.name), 1e-3f, name + " " + slot.name);
    ++compared;
  }
  EXPECT_EQ(compared, static_cast<int64_t>(golden.tensors().size()) - 1) << name << ": tensors that differ in name";
}

TEST(Optimizer, ClipTrainsAsInPyTorch) {
  ExpectTenSteps("clip_openai", [](const models::Model& model, const formats::SafetensorsFile& in) {
    const Tensor images = model.EncodeImages(in.Get("input.pixels")).features;
    const Tensor texts = model.EncodeTexts({.ids = in.Get("input.ids"), .mask = in.Get("input.mask")}).features;
    return ContrastiveLoss(model.MatchLogits(images, texts));
  });
}

TEST(Optimizer, BertTrainsAsInPyTorch) {
  ExpectTenSteps("bert_classifier", [](const models::Model& model, const formats::SafetensorsFile& in) {
    return CrossEntropy(model.EncodeTexts({.ids = in.Get("input.ids"), .mask = in.Get("input.mask")}).logits,
                        in.Get("input.targets"));
  });
}

TEST(Schedule, WarmsUpAndFalls) {
  using Type = ScheduleOptions::Type;
  const ScheduleOptions cosine{.type = Type::kCosine, .warmup_steps = 4, .end_factor = 0.1};
  EXPECT_DOUBLE_EQ(LearningRateFactor(cosine, 0, 104), 0.25);
  EXPECT_DOUBLE_EQ(LearningRateFactor(cosine, 3, 104), 1.0);
  EXPECT_DOUBLE_EQ(LearningRateFactor(cosine, 4, 104), 1.0);
  EXPECT_NEAR(LearningRateFactor(cosine, 54, 104), 0.55, 1e-12);
  EXPECT_NEAR(LearningRateFactor(cosine, 104, 104), 0.1, 1e-12);
  EXPECT_NEAR(LearningRateFactor({.type = Type::kLinear}, 25, 100), 0.75, 1e-12);
  EXPECT_EQ(LearningRateFactor({.type = Type::kConstant}, 99, 100), 1.0);
  EXPECT_NEAR(EmaDecay(0.999, 1), 2.0 / 11, 1e-12);
  EXPECT_EQ(EmaDecay(0.999, 1000000), 0.999);
}

}  // namespace
}  // namespace fovea::train
