#include "eval/golden.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "runtime/loaded_model.h"

namespace fovea::eval {
namespace {

constexpr std::string_view kInput = "input.", kWeights = "weights.";

Tensor Find(const TensorsByName& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found != tensors.end() ? found->second : Tensor();
}

void Keep(TensorsByName& outputs, const std::string& name, const Tensor& tensor) {
  if (tensor.defined()) outputs[name] = tensor;
}

}  // namespace

std::unique_ptr<models::Model> BuildGolden(const formats::SafetensorsFile& file) {
  const auto text = file.metadata().find("config");
  Require(text != file.metadata().end(), "[golden] expected \"config\" in the metadata of the reference");
  const base::Config config = base::Config::Parse(text->second, "config in the golden file");
  const models::Entry& entry = runtime::FindEntry(config);
  std::vector<NamedTensor> weights;
  for (const auto& info : file.tensors()) {
    // Clones: training mode writes into the running statistics.
    if (info.name.starts_with(kWeights))
      weights.push_back({info.name.substr(kWeights.size()), file.Get(info.name).Clone()});
  }
  if (entry.adapt != nullptr) entry.adapt(weights, config);
  auto model = entry.create(config);
  runtime::AssignParameters(*model, entry, weights, "the golden file", {.keeps_compact_weights = false});
  return model;
}

TensorsByName GoldenInputs(const formats::SafetensorsFile& file) {
  TensorsByName inputs;
  for (const auto& info : file.tensors()) {
    if (info.name.starts_with(kInput)) inputs[info.name.substr(kInput.size())] = file.Get(info.name).Clone();
  }
  return inputs;
}

TensorsByName RunCapabilities(const models::Model& model, const TensorsByName& inputs) {
  const auto input = [&](const std::string& name) { return Find(inputs, name); };
  const models::TextInputs text{.ids = input("ids"), .mask = input("mask"), .type_ids = input("type_ids")};
  TensorsByName outputs;
  if (input("regions").defined()) {
    const models::JointOutputs joint = model.EncodeJointly(
        {.text = text, .regions = input("regions"), .boxes = input("boxes"), .region_mask = input("region_mask")});
    Keep(outputs, "joint_features", joint.features);
    Keep(outputs, "joint_text_tokens", joint.text_tokens);
    Keep(outputs, "joint_regions", joint.regions);
    for (const NamedTensor& head : joint.heads) Keep(outputs, head.name, head.tensor);
    return outputs;
  }
  if (text.ids.defined() && model.CanDecode() && !model.CanEncodeTexts()) {
    const models::DecodeOutputs decoded = model.Decode(
        {.ids = text.ids, .mask = text.mask, .memory = input("memory"), .memory_mask = input("memory_mask")});
    Keep(outputs, "hidden", decoded.hidden);
    Keep(outputs, "token_logits", decoded.logits);
    return outputs;
  }
  if (input("decoder_ids").defined()) {
    const models::TextOutputs texts = model.EncodeTexts(text);
    const models::DecodeOutputs decoded = model.Decode(
        {.ids = input("decoder_ids"), .mask = input("decoder_mask"), .memory = texts.tokens, .memory_mask = text.mask});
    Keep(outputs, "text_tokens", texts.tokens);
    Keep(outputs, "hidden", decoded.hidden);
    Keep(outputs, "token_logits", decoded.logits);
    return outputs;
  }
  models::ImageOutputs image;
  if (input("patches").defined()) {
    image = model.EncodePatches({.patches = input("patches"), .mask = input("patch_mask"), .shapes = input("shapes")});
  } else if (input("pixels").defined()) {
    image = model.EncodeImages(input("pixels"));
  }
  Keep(outputs, "features", image.features);
  Keep(outputs, "grid", image.grid);
  Keep(outputs, "logits", image.logits);
  if (!text.ids.defined()) return outputs;
  const models::TextOutputs texts = model.EncodeTexts(text);
  Keep(outputs, "text_features", texts.features);
  Keep(outputs, "text_tokens", texts.tokens);
  Keep(outputs, "text_logits", texts.logits);
  if (image.features.defined() && model.HowItMatches() != models::Matching::kNone)
    outputs["logits_per_image"] = model.MatchLogits(image.features, texts.features);
  return outputs;
}

Difference Compare(const Tensor& actual, const Tensor& expected, int64_t step, const std::string& name) {
  const Tensor a = actual.To(DType::kF32).Contiguous(), e = expected.To(DType::kF32).Contiguous();
  const int64_t count = (a.numel() + step - 1) / step;
  if (count != e.numel()) {
    Fail(ErrorCode::kCorruptData, "[golden] ", name, ": the reference holds ", e.numel(), " numbers ", e.shape(),
         step > 1 ? base::StrCat(", every ", step, "th") : "", "; the model gives ", a.numel(), " ", a.shape());
  }
  Difference difference;
  for (int64_t i = 0; i < count; ++i) {
    const double x = a.data<float>()[i * step], y = e.data<float>()[i];
    const double error = std::fabs(x - y);
    difference.max_abs = std::max(difference.max_abs, std::isnan(error) ? INFINITY : error);
    difference.scale = std::max(difference.scale, std::fabs(y));
  }
  return difference;
}

}  // namespace fovea::eval
