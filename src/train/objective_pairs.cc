// Pictures and captions of a two-tower model, compared by its own score; beside it, if the recipe wants, how alike a
// teacher holds pictures and captions to be. Towers that are frozen may be read from a cache.
#include <nlohmann/json.hpp>
#include <optional>

#include "fovea/eval.h"
#include "ops/norm.h"
#include "ops/shape.h"
#include "runtime/text_encoder.h"
#include "train/contrastive.h"
#include "train/objective_parts.h"
#include "train/retrieval_examples.h"

namespace fovea::train {
namespace {

constexpr char kPictures[] = "pictures", kTexts[] = "texts", kTeacherPictures[] = "teacher-pictures",
               kTeacherTexts[] = "teacher-texts";

class Pairs final : public Objective {
 public:
  Pairs(const Recipe& recipe, const Network& network, const Processes& processes)
      : recipe_(recipe),
        network_(network),
        processes_(processes),
        texts_(network.base_folder, network.config.Require<std::string>("model_type")) {
    if (!recipe.teacher.empty()) teacher_.emplace(recipe, network);
  }

  double Accumulate(const Batch& batch, Trainable& trainable, uint64_t seed) const override {
    PairInputs pairs{.pixels = batch.pixels};
    const auto is_cached = [&](const char* name) { return cache_ && cache_->Has(name); };
    if (is_cached(kPictures)) pairs.image_features = cache_->Pictures(kPictures, batch.places);
    if (is_cached(kTexts)) {
      pairs.text_features = cache_->Texts(kTexts, batch.captions);
    } else {
      pairs.texts = texts_.Prepare(*network_.model, batch.captions);
    }
    if (teacher_) {
      pairs.teacher_images = is_cached(kTeacherPictures) ? cache_->Pictures(kTeacherPictures, batch.places)
                                                         : TeacherPictures(batch.pixels);
      pairs.teacher_texts =
          is_cached(kTeacherTexts) ? cache_->Texts(kTeacherTexts, batch.captions) : TeacherTexts(batch.captions);
    }
    const double loss = ContrastiveStep(*network_.model, pairs, trainable,
                                        {.loss = recipe_.contrastive_loss,
                                         .label_smoothing = static_cast<float>(recipe_.label_smoothing),
                                         .margin = static_cast<float>(recipe_.margin),
                                         .distillation = teacher_ ? static_cast<float>(recipe_.distillation) : 0.0f,
                                         .temperature = static_cast<float>(recipe_.temperature),
                                         .part = recipe_.micro_batch_size,
                                         .is_training = !recipe_.has_frozen_statistics,
                                         .recomputes = recipe_.recomputes,
                                         .seed = OwnSeed(seed, processes_),
                                         .processes = &processes_});
    return loss / static_cast<double>(processes_.size());  // every process knows the whole loss
  }

  // Retrieval among all validation pictures and all their captions.
  double Validate(Loader& loader, nlohmann::ordered_json& metrics) override {
    RetrievalExamples all;
    const auto append = [](const Tensor& features, std::vector<float>& to) {
      const Tensor unit = L2Normalize(features);
      to.insert(to.end(), unit.values<float>().begin(), unit.values<float>().end());
    };
    Batch batch;
    while (loader.Next(kValidationBatch, batch)) {
      const Tensor features = network_.model->EncodeImages(batch.pixels).features;  // [B,D]
      all.dim = features.dim(1);
      append(features, all.images);
      std::vector<std::string> captions;
      for (size_t i = 0; i < batch.keys.size(); ++i) {
        for (const std::string& caption : batch.all_captions[i]) {
          captions.push_back(caption);
          all.owner.push_back(static_cast<int64_t>(all.keys.size()));
        }
        all.keys.push_back(batch.keys[i]);
        all.places.push_back(batch.places[i]);
      }
      for (size_t begin = 0; begin < captions.size(); begin += kValidationBatch) {
        const size_t count = std::min<size_t>(kValidationBatch, captions.size() - begin);
        append(texts_.Features(*network_.model, std::span(captions).subspan(begin, count)), all.texts);
      }
      all.captions.insert(all.captions.end(), captions.begin(), captions.end());
    }
    Require(!all.owner.empty(), "[train] no validation picture has a caption");
    const RetrievalReport report = MeasureRetrieval(all.images, all.texts, all.dim, all.owner);
    metrics["n"] = report.images;
    metrics["captions"] = report.texts;
    const std::pair<const char*, const RetrievalDirection*> directions[] = {{"image_to_text", &report.image_to_text},
                                                                            {"text_to_image", &report.text_to_image}};
    for (const auto& [name, direction] : directions) {
      metrics[std::string(name) + "_recall_at_1"] = direction->recall_at_1;
      metrics[std::string(name) + "_recall_at_5"] = direction->recall_at_5;
      metrics[std::string(name) + "_recall_at_10"] = direction->recall_at_10;
      metrics[std::string(name) + "_median_rank"] = direction->median_rank;
    }
    examples_ = RetrievalExamplesHtml(all, loader);
    return (report.image_to_text.recall_at_1 + report.text_to_image.recall_at_1) / 2;
  }

  std::string metric() const override { return "recall_at_1"; }
  std::string ExamplesHtml() const override { return examples_; }

  bool NeedsPixels() const override {
    return !cache_ || !cache_->Has(kPictures) || (teacher_ && !cache_->Has(kTeacherPictures));
  }

  void CacheFeatures(const FeatureCache::Options& options, Trainable& trainable) override {
    LoaderOptions one = options.loader;
    one.shuffle_buffer = 0;
    one.threads = 1;
    one.ahead = 1;
    Loader loader(one, {});
    Batch batch;
    loader.Next(1, batch);
    bool has_frozen_pictures = false, has_frozen_texts = false;
    {
      Tape tape({.is_training = false});
      trainable.Bind(tape);
      has_frozen_pictures = !tape.IsTracked(network_.model->EncodeImages(batch.pixels).features);
      const models::TextInputs inputs = texts_.Prepare(*network_.model, batch.captions);
      has_frozen_texts = !tape.IsTracked(network_.model->EncodeTexts(inputs).features);
    }
    trainable.Refresh();
    Require(
        has_frozen_pictures || has_frozen_texts || teacher_,
        "[train] data.cache_features needs a frozen tower; hint: groups: [{\"match\": \"vision_model\", \"frozen\": "
        "true}, ...] with every part of it, projections included");
    Require(!recipe_.augment.is_on || (!has_frozen_pictures && !teacher_),
            "[train] data.cache_features keeps the features of whole pictures, so they cannot be augmented; hint: "
            "data.augment: false");
    cache_.emplace(options);
    const std::string own = network_.config.Text() + network_.preprocess.ToString();
    // Values that are trained are part of it as they start: a resumed run comes to the same before it reads its
    // checkpoint.
    const std::string print = ModelFingerprint(*network_.model, own);
    const models::Model& model = *network_.model;
    if (has_frozen_pictures)
      cache_->AddPictures(kPictures, print, [&](const Tensor& pixels) { return model.EncodeImages(pixels).features; });
    if (has_frozen_texts) {
      cache_->AddTexts(kTexts, print, [&](std::span<const std::string> captions) {
        return model.EncodeTexts(texts_.Prepare(model, captions)).features;
      });
    }
    if (!teacher_) return;
    const std::string teacher = teacher_->Fingerprint();
    cache_->AddPictures(kTeacherPictures, teacher, [&](const Tensor& pixels) { return TeacherPictures(pixels); });
    cache_->AddTexts(kTeacherTexts, teacher,
                     [&](std::span<const std::string> captions) { return TeacherTexts(captions); });
  }

 private:
  Tensor TeacherPictures(const Tensor& pixels) const {
    const Tape::Pause pause;
    std::vector<Tensor> parts;
    for (int64_t begin = 0; begin < pixels.dim(0); begin += kValidationBatch) {
      const int64_t end = std::min(pixels.dim(0), begin + kValidationBatch);
      parts.push_back(teacher_->model->network().EncodeImages(RowsOf(pixels, begin, end)).features);
    }
    return Concat(parts, 0);  // [B,E]
  }
  Tensor TeacherTexts(std::span<const std::string> captions) const {
    const Tape::Pause pause;
    std::vector<Tensor> parts;
    for (size_t begin = 0; begin < captions.size(); begin += kValidationBatch)
      parts.push_back(teacher_->model->TextFeatures(
          captions.subspan(begin, std::min<size_t>(kValidationBatch, captions.size() - begin))));
    return Concat(parts, 0);  // [B,E]
  }

  const Recipe& recipe_;
  const Network& network_;
  const Processes& processes_;
  runtime::TextEncoder texts_;
  std::optional<Teacher> teacher_;
  std::optional<FeatureCache> cache_;
  std::string examples_;
};

}  // namespace

std::unique_ptr<Objective> MakePairs(const Recipe& recipe, const Network& network, const Processes& processes) {
  return std::make_unique<Pairs>(recipe, network, processes);
}

}  // namespace fovea::train
