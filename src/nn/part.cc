#include "nn/part.h"

#include <algorithm>
#include <set>

namespace fovea::models {
namespace {

const Entry& EntryOf(const base::Config& config, std::string_view who) {
  const auto model_type = config.Require<std::string>("model_type");
  for (const Entry* entry : AllEntries()) {
    if (entry->model_type == model_type || std::ranges::count(entry->aliases, model_type) > 0) return *entry;
  }
  Fail(ErrorCode::kUnimplemented, "[", who, "] a part of model_type \"", base::PrintableUtf8(model_type),
       "\" is not implemented");
}

// The tensors "<prefix>." without the prefix.
std::vector<NamedTensor> Below(std::span<const NamedTensor> tensors, const std::string& prefix) {
  std::vector<NamedTensor> found;
  for (const NamedTensor& tensor : tensors) {
    if (tensor.name.starts_with(prefix)) found.push_back({tensor.name.substr(prefix.size()), tensor.tensor});
  }
  return found;
}

}  // namespace

class Part::Prefixed {
 public:
  explicit Prefixed(const std::string& prefix) {
    const auto* outer = nn::StageWatch::Active();
    if (outer == nullptr) return;
    watch_.emplace([outer, &prefix](const std::string& name, const Tensor& value) { (*outer)(prefix + name, value); });
  }

 private:
  std::optional<nn::StageWatch> watch_;
};

Part::Part(const base::Config& config, std::string_view who, std::string stage_prefix)
    : model_(EntryOf(config, who).create(config)), stage_prefix_(std::move(stage_prefix)) {}

ImageOutputs Part::EncodeImages(const Tensor& pixels) const {
  const Prefixed prefixed(stage_prefix_);
  return model_->EncodeImages(pixels);
}

TextOutputs Part::EncodeTexts(const TextInputs& inputs) const {
  const Prefixed prefixed(stage_prefix_);
  return model_->EncodeTexts(inputs);
}

DecodeOutputs Part::Decode(const DecodeInputs& inputs) const {
  const Prefixed prefixed(stage_prefix_);
  return model_->Decode(inputs);
}

base::Config PartConfig(const base::Config& config, std::string_view key, std::string_view fallback,
                        std::string_view who, std::initializer_list<std::string_view> known) {
  base::Config part = config.Object(key);
  if (!part.Has("model_type")) {
    Require(!fallback.empty(), "[", who, "] expected a model_type in ", key, " of ", config.source());
    part = base::Config::Parse(base::StrCat("{\"model_type\": \"", fallback, "\"}"), config.source()).MergedOver(part);
  }
  const auto model_type = part.Require<std::string>("model_type");
  if (known.size() > 0 && std::ranges::count(known, model_type) == 0) {
    Fail(ErrorCode::kUnimplemented, "[", who, "] ", key, " of model_type \"", base::PrintableUtf8(model_type),
         "\" is not implemented; there are ", base::Join(std::vector<std::string_view>(known)));
  }
  return part;
}

base::Config TiedAsWhole(const base::Config& config, const base::Config& text) {
  if (!config.Has("tie_word_embeddings")) return text;
  const std::string_view tied = config.Require<bool>("tie_word_embeddings") ? "true" : "false";
  return base::Config::Parse(base::StrCat("{\"tie_word_embeddings\": ", tied, "}"), text.source()).MergedOver(text);
}

void AdaptPart(std::vector<NamedTensor>& tensors, std::string_view prefix, const base::Config& config) {
  const std::string dotted = base::StrCat(prefix, ".");
  const Entry& entry = EntryOf(config, prefix);
  std::vector<NamedTensor> part = Below(tensors, dotted);
  std::erase_if(tensors, [&](const NamedTensor& tensor) { return tensor.name.starts_with(dotted); });
  if (entry.adapt != nullptr) entry.adapt(part, config);
  std::set<std::string> wanted;
  const auto model = entry.create(config);
  nn::ForEachParameter(*model, [&](const std::string& path, nn::Parameter&) { wanted.insert(path); });
  for (const NamedTensor& tensor : part) {
    const std::string name = Renamed(tensor.name, entry.renames);
    const bool is_unused = std::ranges::any_of(entry.unused, [&](auto pattern) { return IsLike(name, pattern); });
    if (!is_unused || wanted.contains(name)) tensors.push_back({dotted + name, tensor.tensor});
  }
}

media::PreprocessSpec PartInputSpec(const base::Config& config, std::string_view who) {
  const Entry& entry = EntryOf(config, who);
  if (entry.input_spec == nullptr)
    Fail(ErrorCode::kUnimplemented, "[", who, "] a part of model_type ", entry.model_type, " sees no pictures");
  return entry.input_spec(config);
}

base::Config AmendPart(const base::Config& config, std::string_view prefix, std::span<const NamedTensor> tensors) {
  const Entry& entry = EntryOf(config, prefix);
  return entry.amend == nullptr ? config : entry.amend(config, Below(tensors, base::StrCat(prefix, ".")));
}

}  // namespace fovea::models
