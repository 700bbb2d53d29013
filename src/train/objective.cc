#include "train/objective.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "fovea/eval.h"
#include "ops/arithmetic.h"
#include "ops/loss.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "runtime/loaded_model.h"
#include "runtime/model_folder.h"
#include "runtime/text_encoder.h"
#include "train/caption_sets.h"
#include "train/contrastive.h"

namespace fovea::train {
namespace {

constexpr int64_t kValidationBatch = 32;

// Runs `loss(begin, end)` on a tape for each part of the batch, weighted by its share.
template <typename Loss>
double AccumulateParts(const Recipe& recipe, int64_t rows, Trainable& trainable, uint64_t seed, Loss&& loss) {
  const int64_t part = recipe.micro_batch_size > 0 ? std::min(recipe.micro_batch_size, rows) : rows;
  double sum = 0;
  for (int64_t begin = 0; begin < rows; begin += part) {
    const int64_t end = std::min(rows, begin + part);
    Tape tape({.is_training = !recipe.has_frozen_statistics, .seed = MixSeeds(seed, static_cast<uint64_t>(begin))});
    trainable.Bind(tape);
    const Tensor weighted = loss(begin, end) * (static_cast<float>(end - begin) / static_cast<float>(rows));
    sum += weighted.item();
    trainable.Collect(tape.Backward(weighted));
  }
  return sum;
}

class Classification final : public Objective {
 public:
  Classification(const Recipe& recipe, const Network& network) : recipe_(recipe), network_(network) {}

  double Accumulate(const Batch& batch, Trainable& trainable, uint64_t seed) const override {
    return AccumulateParts(recipe_, batch.pixels.dim(0), trainable, seed, [&](int64_t begin, int64_t end) {
      const Tensor logits = network_.model->EncodeImages(RowsOf(batch.pixels, begin, end)).logits;  // [B,V]
      return CrossEntropy(logits, RowsOf(batch.labels, begin, end),
                          {.label_smoothing = static_cast<float>(recipe_.label_smoothing)});
    });
  }

  double Validate(Loader& loader, nlohmann::ordered_json& metrics) const override {
    std::vector<float> scores;
    std::vector<int64_t> labels;
    double loss = 0;
    Batch batch;
    while (loader.Next(kValidationBatch, batch)) {
      const Tensor logits = network_.model->EncodeImages(batch.pixels).logits;  // [B,V]
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

 private:
  const Recipe& recipe_;
  const Network& network_;
};

// A student learns how alike a teacher holds the pictures of a batch to be (affinity mimicking of TinyCLIP, picture to
// picture): no labels, and the sizes of the embeddings may differ.
class Distillation final : public Objective {
 public:
  Distillation(const Recipe& recipe, const Network& network)
      : recipe_(recipe),
        network_(network),
        teacher_(runtime::LoadedModel::Load(runtime::ResolveModelFolder(recipe.teacher), recipe.teacher)) {
    Require(teacher_->network().CanEncodeImages(), "[train] the teacher ", recipe.teacher, " does not encode pictures");
    Require(teacher_->preprocess().ToString() == network.preprocess.ToString(),
            "[train] the teacher prepares pictures as ", teacher_->preprocess().ToString(), ", the student as ",
            network.preprocess.ToString(), "; hint: both look at the same pixels");
  }

  double Accumulate(const Batch& batch, Trainable& trainable, uint64_t seed) const override {
    return AccumulateParts(recipe_, batch.pixels.dim(0), trainable, seed,
                           [&](int64_t begin, int64_t end) { return Loss(RowsOf(batch.pixels, begin, end)); });
  }

  double Validate(Loader& loader, nlohmann::ordered_json& metrics) const override {
    double loss = 0;
    int64_t n = 0;
    Batch batch;
    while (loader.Next(kValidationBatch, batch)) {
      loss += Loss(batch.pixels).item() * static_cast<double>(batch.keys.size());
      n += static_cast<int64_t>(batch.keys.size());
    }
    Require(n > 0, "[train] there is no validation picture");
    metrics["n"] = n;
    metrics["loss"] = loss / static_cast<double>(n);
    return 1.0 / (1.0 + loss / static_cast<double>(n));
  }

  std::string metric() const override { return "agreement"; }

 private:
  Tensor Loss(const Tensor& pixels) const {
    Tensor wanted;  // [B,B]
    {
      const Tape::Pause pause;
      const Tensor teacher = L2Normalize(teacher_->network().EncodeImages(pixels).features);  // [B,D]
      wanted = MatMul(teacher, teacher, {.transpose_b = true});
    }
    const Tensor student = L2Normalize(network_.model->EncodeImages(pixels).features);  // [B,D']
    const Tensor found = MatMul(student, student, {.transpose_b = true});               // [B,B]
    return AffinityDistillationLoss(found, wanted, static_cast<float>(recipe_.temperature));
  }

  const Recipe& recipe_;
  const Network& network_;
  std::shared_ptr<const runtime::LoadedModel> teacher_;
};

// Pictures and captions of a two-tower model, compared by its own score.
class Pairs final : public Objective {
 public:
  Pairs(const Recipe& recipe, const Network& network)
      : recipe_(recipe),
        network_(network),
        texts_(network.base_folder, network.config.Require<std::string>("model_type")) {}

  double Accumulate(const Batch& batch, Trainable& trainable, uint64_t seed) const override {
    if (batch.grids.defined()) {
      return CaptionSetStep(*network_.model, texts_, batch, trainable,
                            {.blocks = recipe_.cache.blocks,
                             .label_smoothing = static_cast<float>(recipe_.label_smoothing),
                             .is_training = !recipe_.has_frozen_statistics,
                             .seed = seed});
    }
    return ContrastiveStep(*network_.model, batch.pixels, texts_.Prepare(*network_.model, batch.captions), trainable,
                           {.loss = recipe_.contrastive_loss,
                            .label_smoothing = static_cast<float>(recipe_.label_smoothing),
                            .margin = static_cast<float>(recipe_.margin),
                            .part = recipe_.micro_batch_size,
                            .is_training = !recipe_.has_frozen_statistics,
                            .seed = seed});
  }

  // Retrieval among all validation pictures and one caption of each.
  double Validate(Loader& loader, nlohmann::ordered_json& metrics) const override {
    std::vector<float> images, texts;
    std::vector<int64_t> owner;
    int64_t dim = 0;
    const auto append = [](const Tensor& features, std::vector<float>& to) {
      const Tensor unit = L2Normalize(features);
      to.insert(to.end(), unit.values<float>().begin(), unit.values<float>().end());
    };
    Batch batch;
    while (loader.Next(kValidationBatch, batch)) {
      const Tensor features = network_.model->EncodeImages(batch.pixels).features;  // [B,D]
      dim = features.dim(1);
      append(features, images);
      append(texts_.Features(*network_.model, batch.captions), texts);
      for (size_t i = 0; i < batch.keys.size(); ++i) owner.push_back(static_cast<int64_t>(owner.size()));
    }
    Require(!owner.empty(), "[train] no validation picture has a caption");
    const RetrievalReport report = MeasureRetrieval(images, texts, dim, owner);
    metrics["n"] = report.images;
    const std::pair<const char*, const RetrievalDirection*> directions[] = {{"image_to_text", &report.image_to_text},
                                                                            {"text_to_image", &report.text_to_image}};
    for (const auto& [name, direction] : directions) {
      metrics[std::string(name) + "_recall_at_1"] = direction->recall_at_1;
      metrics[std::string(name) + "_recall_at_5"] = direction->recall_at_5;
      metrics[std::string(name) + "_recall_at_10"] = direction->recall_at_10;
      metrics[std::string(name) + "_median_rank"] = direction->median_rank;
    }
    return (report.image_to_text.recall_at_1 + report.text_to_image.recall_at_1) / 2;
  }

  std::string metric() const override { return "recall_at_1"; }

 private:
  const Recipe& recipe_;
  const Network& network_;
  runtime::TextEncoder texts_;
};

}  // namespace

Tensor RowsOf(const Tensor& x, int64_t begin, int64_t end) {
  return begin == 0 && end == x.dim(0) ? x : x.Sliced(0, begin, end).Contiguous();
}

std::unique_ptr<Objective> MakeObjective(const Recipe& recipe, const Network& network) {
  if (recipe.task == Task::kContrastive) {
    if (!network.model->CanEncodeImages() || !network.model->CanEncodeTexts() ||
        network.model->HowItMatches() == models::Matching::kNone) {
      Fail(ErrorCode::kUnimplemented, "[train] task contrastive needs a model with a picture and a text tower; ",
           recipe.model, " has none");
    }
    return std::make_unique<Pairs>(recipe, network);
  }
  if (!network.model->CanEncodeImages())
    Fail(ErrorCode::kUnimplemented, "[train] the model ", recipe.model, " does not encode pictures");
  if (recipe.task == Task::kDistill) return std::make_unique<Distillation>(recipe, network);
  Require(network.class_names.size() >= 2 && !network.head.empty(), "[train] ", recipe.model,
          " has no classifier, or the data has fewer than two classes");
  return std::make_unique<Classification>(recipe, network);
}

}  // namespace fovea::train
