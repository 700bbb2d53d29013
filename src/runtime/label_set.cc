#include "runtime/label_set.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "base/hash.h"
#include "base/strings.h"
#include "formats/safetensors.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "runtime/loaded_model.h"

namespace fovea::runtime {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPlace = "{}";
constexpr int64_t kMostTexts = 4'000'000;

std::string Filled(const std::string& pattern, const std::string& label) {
  std::string text = pattern;
  for (size_t at = text.find(kPlace); at != std::string::npos; at = text.find(kPlace, at + label.size()))
    text.replace(at, kPlace.size(), label);
  return text;
}

void Check(const LoadedModel& model, const std::vector<std::string>& names, const LabelOptions& options) {
  if (model.network().HowItMatches() == models::Matching::kNone) {
    Fail(ErrorCode::kUnimplemented, "[classify] the model ", base::PrintableUtf8(model.info().name),
         " has no text tower, so it cannot compare pictures with labels of yours");
  }
  Require(!names.empty(), "[classify] expected at least one label");
  for (const std::string& name : names) Require(!name.empty(), "[classify] expected labels, got an empty one");
  Require(!options.templates.empty(), "[classify] expected at least one template");
  for (const std::string& pattern : options.templates) {
    Require(pattern.find(kPlace) != std::string::npos, "[classify] expected {} in the template for the label, got \"",
            base::PrintableUtf8(pattern), "\"");
  }
  Require(static_cast<int64_t>(names.size() * options.templates.size()) <= kMostTexts, "[classify] expected at most ",
          kMostTexts, " texts, got ", names.size(), " labels in ", options.templates.size(), " templates");
}

std::string CacheFile(const LoadedModel& model, const std::vector<std::string>& names, const LabelOptions& options) {
  if (options.cache_folder.empty()) return "";
  base::ContentHasher hasher;
  hasher.Add(model.info().fingerprint);
  for (const auto* list : {&names, &options.templates}) {
    hasher.Add(std::to_string(list->size()));
    for (const std::string& text : *list) hasher.Add(std::to_string(text.size())).Add(":").Add(text);
  }
  return options.cache_folder + "/" + hasher.Hex() + ".safetensors";
}

// The stored features, undefined when there are none that fit.
Tensor ReadCache(const std::string& file, int64_t count) {
  std::error_code ignored;
  if (file.empty() || !fs::exists(file, ignored)) return {};
  try {
    const Tensor features = formats::SafetensorsFile::Open(file).Get("features").Clone();
    const bool fits = features.dtype() == DType::kF32 && features.rank() == 2 && features.dim(0) == count;
    return fits ? features : Tensor();
  } catch (const Error&) {
    return {};  // damaged: made anew
  }
}

void WriteCache(const std::string& file, const Tensor& features) {
  if (file.empty()) return;
  try {
    std::error_code ignored;
    fs::create_directories(fs::path(file).parent_path(), ignored);
    const NamedTensor named{"features", features};
    formats::WriteSafetensors(file, {&named, 1});
  } catch (const Error&) {
    // A cache that cannot be written (no space, no right) costs time, not answers.
  }
}

}  // namespace

std::vector<std::string> LabelTexts(const std::vector<std::string>& names, const std::string& pattern) {
  std::vector<std::string> texts;
  for (const std::string& name : names) texts.push_back(Filled(pattern, name));
  return texts;
}

LabelFeatures EncodeLabels(const LoadedModel& model, const std::vector<std::string>& names,
                           const LabelOptions& options) {
  Check(model, names, options);
  const std::string file = CacheFile(model, names, options);
  const auto count = static_cast<int64_t>(names.size());
  Tensor features = ReadCache(file, count);
  if (features.defined()) return {names, features};
  std::vector<Tensor> by_template;
  for (const std::string& pattern : options.templates) {
    by_template.push_back(L2Normalize(model.TextFeatures(LabelTexts(names, pattern))));  // [N,D]
  }
  features = L2Normalize(Mean(Stack(by_template, 0), {0})).Contiguous();  // [N,D]
  WriteCache(file, features);
  return {names, features};
}

std::vector<std::vector<Label>> ScoreLabels(const LoadedModel& model, const Tensor& image_features,
                                            const LabelFeatures& labels, int64_t top_k) {
  const Tensor logits = model.network().MatchLogits(image_features, labels.features).Contiguous();  // [B,N]
  const bool is_sigmoid = model.network().HowItMatches() == models::Matching::kSigmoid;
  const int64_t count = logits.dim(1), shown = std::min(top_k, count);
  std::vector<std::vector<Label>> scored;
  for (int64_t b = 0; b < logits.dim(0); ++b) {
    const float* row = logits.data<float>() + b * count;
    std::vector<int64_t> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + shown, order.end(),
                      [&](int64_t i, int64_t j) { return row[i] != row[j] ? row[i] > row[j] : i < j; });
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(row[i]) - row[order[0]]);
    std::vector<Label>& best = scored.emplace_back();
    for (int64_t i = 0; i < shown; ++i) {
      const int64_t index = order[static_cast<size_t>(i)];
      const double logit = row[index];
      const double score = is_sigmoid ? 1 / (1 + std::exp(-logit)) : std::exp(logit - row[order[0]]) / sum;
      best.push_back({labels.names[static_cast<size_t>(index)], index, static_cast<float>(score)});
    }
  }
  return scored;
}

}  // namespace fovea::runtime
