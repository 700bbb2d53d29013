#include "train/objective.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fovea/eval.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "runtime/label_set.h"
#include "runtime/text_encoder.h"
#include "train/objective_parts.h"

namespace fovea::train {
namespace {

class Classification final : public Objective {
 public:
  Classification(const Recipe& recipe, const Network& network, const Processes& processes)
      : recipe_(recipe),
        network_(network),
        processes_(processes),
        texts_(network.base_folder, network.config.Require<std::string>("model_type")) {}

  double Accumulate(const Batch& batch, Trainable& trainable, uint64_t seed) const override {
    return AccumulateParts(recipe_, processes_, batch.pixels.dim(0), trainable, seed, [&](int64_t begin, int64_t end) {
      const Tensor logits = Logits(RowsOf(batch.pixels, begin, end), ClassFeatures());  // [B,V]
      return CrossEntropy(logits, RowsOf(batch.labels, begin, end),
                          {.label_smoothing = static_cast<float>(recipe_.label_smoothing)});
    });
  }

  double Validate(Loader& loader, nlohmann::ordered_json& metrics) override {
    std::vector<float> scores;
    std::vector<int64_t> labels;
    double loss = 0;
    Batch batch;
    const Tensor classes_by_name = ClassFeatures();
    while (loader.Next(kValidationBatch, batch)) {
      const Tensor logits = Logits(batch.pixels, classes_by_name).Contiguous();  // [B,V]
      loss += CrossEntropy(logits, batch.labels).item() * static_cast<double>(batch.keys.size());
      scores.insert(scores.end(), logits.values<float>().begin(), logits.values<float>().end());
      labels.insert(labels.end(), batch.labels.values<int64_t>().begin(), batch.labels.values<int64_t>().end());
    }
    Require(!labels.empty(), "[train] no validation picture has one of the classes");
    const auto V = static_cast<int64_t>(network_.class_names.size());
    const ClassificationReport report = MeasureClassification(scores, labels, V);
    metrics["n"] = report.n;
    metrics["loss"] = loss / static_cast<double>(report.n);
    metrics["top1"] = report.top1;
    metrics["top5"] = report.top5;
    nlohmann::ordered_json classes = nlohmann::ordered_json::array();
    for (int64_t v = 0; v < V; ++v) {
      const auto row = report.confusion.begin() + v * V;
      int64_t count = 0, confused = -1;
      for (int64_t other = 0; other < V; ++other) {
        count += row[other];
        if (other != v && row[other] > 0 && (confused < 0 || row[other] > row[confused])) confused = other;
      }
      if (count == 0) continue;
      nlohmann::ordered_json entry = {
          {"class", network_.class_names[static_cast<size_t>(v)]}, {"n", count}, {"found", row[v]}};
      if (confused >= 0) entry["mostly_taken_for"] = network_.class_names[static_cast<size_t>(confused)];
      classes.push_back(entry);
    }
    metrics["classes"] = classes;
    return report.top1;
  }

  std::string metric() const override { return "top1"; }

  void CacheFeatures(const TowerCache::Options& /*options*/, Trainable& /*trainable*/) override {
    Fail(ErrorCode::kUnimplemented, "[train] data.cache_features serves the tasks contrastive and distill");
  }

 private:
  // Features of the classes' names, [V,D], as runtime::EncodeLabels makes them; undefined where a head tells classes.
  Tensor ClassFeatures() const {
    if (recipe_.label_templates.empty()) return {};
    std::vector<Tensor> by_template;
    for (const std::string& pattern : recipe_.label_templates) {
      const auto inputs = texts_.Prepare(*network_.model, runtime::LabelTexts(network_.class_names, pattern));
      by_template.push_back(L2Normalize(network_.model->EncodeTexts(inputs).features));  // [V,D]
    }
    return L2Normalize(Mean(Stack(by_template, 0), {0}));
  }

  Tensor Logits(const Tensor& pixels, const Tensor& classes) const {  // [B,V]
    const models::ImageOutputs outputs = network_.model->EncodeImages(pixels);
    return classes.defined() ? network_.model->MatchLogits(outputs.features, classes) : outputs.logits;
  }

  const Recipe& recipe_;
  const Network& network_;
  const Processes& processes_;
  runtime::TextEncoder texts_;
};

void RequireClasses(const Recipe& recipe, const Network& network) {
  const bool matches = network.model->HowItMatches() != models::Matching::kNone && network.model->CanEncodeTexts();
  Require(network.class_names.size() >= 2, "[train] expected data with two classes or more, got ",
          network.class_names.size());
  if (!recipe.label_templates.empty()) {
    if (matches) return;
    Fail(ErrorCode::kUnimplemented, "[train] data.label_templates needs a model that compares pictures with texts; ",
         recipe.model, " does not");
  }
  Require(!network.head.empty(), "[train] ", recipe.model, " has no classifier",
          matches ? "; hint: data.label_templates: [\"a photo of a {}\"] tells classes by their names" : "");
}

}  // namespace

Tensor RowsOf(const Tensor& x, int64_t begin, int64_t end) {
  return begin == 0 && end == x.dim(0) ? x : x.Sliced(0, begin, end).Contiguous();
}

std::unique_ptr<Objective> MakeObjective(const Recipe& recipe, const Network& network, const Processes& processes) {
  if (recipe.task == Task::kContrastive) {
    if (!network.model->CanEncodeImages() || !network.model->CanEncodeTexts() ||
        network.model->HowItMatches() == models::Matching::kNone) {
      Fail(ErrorCode::kUnimplemented, "[train] task contrastive needs a model with a picture and a text tower; ",
           recipe.model, " has none");
    }
    return MakePairs(recipe, network, processes);
  }
  if (recipe.task == Task::kLanguage || recipe.task == Task::kCaption) {
    if (!network.model->CanDecode())
      Fail(ErrorCode::kUnimplemented, "[train] tasks language and caption need a decoder; ", recipe.model, " is none");
    if (recipe.task == Task::kLanguage && network.model->Decoder().is_encoder_decoder)
      Fail(ErrorCode::kUnimplemented, "[train] task language trains decoders that stand alone; ", recipe.model,
           " answers an encoder");
    if (recipe.task == Task::kCaption && !network.model->CanEmbedImages())
      Fail(ErrorCode::kUnimplemented, "[train] task caption needs a decoder that sees pictures; ", recipe.model,
           " sees none; hint: task language trains on texts alone");
    return MakeLanguage(recipe, network, processes);
  }
  if (!network.model->CanEncodeImages())
    Fail(ErrorCode::kUnimplemented, "[train] the model ", recipe.model, " does not encode pictures");
  if (recipe.task == Task::kDistill) return MakeDistillation(recipe, network, processes);
  RequireClasses(recipe, network);
  return std::make_unique<Classification>(recipe, network, processes);
}

}  // namespace fovea::train
