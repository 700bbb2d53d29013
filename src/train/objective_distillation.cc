// A student learns how alike a teacher holds the pictures of a batch to be (affinity mimicking of TinyCLIP, picture to
// picture): no labels, and the sizes of the embeddings may differ.
#include <nlohmann/json.hpp>

#include "ops/loss.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "runtime/model_folder.h"
#include "train/objective_parts.h"

namespace fovea::train {
namespace {

constexpr char kTeacherPictures[] = "teacher-pictures";

class Distillation final : public Objective {
 public:
  Distillation(const Recipe& recipe, const Network& network, const Processes& processes)
      : recipe_(recipe), network_(network), processes_(processes), teacher_(recipe, network) {}

  double Accumulate(const Batch& batch, Trainable& trainable, uint64_t seed) const override {
    const Tensor teacher = cache_ ? cache_->Pictures(kTeacherPictures, batch.places) : Tensor();
    return AccumulateParts(recipe_, processes_, batch.pixels.dim(0), trainable, seed, [&](int64_t begin, int64_t end) {
      const Tensor pixels = RowsOf(batch.pixels, begin, end);
      return Loss(pixels, teacher.defined() ? RowsOf(teacher, begin, end) : TeacherFeatures(pixels));
    });
  }

  double Validate(Loader& loader, nlohmann::ordered_json& metrics) override {
    double loss = 0;
    int64_t n = 0;
    Batch batch;
    while (loader.Next(kValidationBatch, batch)) {
      loss += Loss(batch.pixels, TeacherFeatures(batch.pixels)).item() * static_cast<double>(batch.keys.size());
      n += static_cast<int64_t>(batch.keys.size());
    }
    Require(n > 0, "[train] there is no validation picture");
    metrics["n"] = n;
    metrics["loss"] = loss / static_cast<double>(n);
    return 1.0 / (1.0 + loss / static_cast<double>(n));
  }

  std::string metric() const override { return "agreement"; }

  void CacheFeatures(const FeatureCache::Options& options, Trainable& /*trainable*/) override {
    Require(!recipe_.augment.is_on,
            "[train] data.cache_features keeps what the teacher makes of whole pictures; hint: data.augment: false");
    cache_.emplace(options);
    cache_->AddPictures(kTeacherPictures, teacher_.Fingerprint(),
                        [&](const Tensor& pixels) { return TeacherFeatures(pixels); });
  }

 private:
  Tensor TeacherFeatures(const Tensor& pixels) const {
    const Tape::Pause pause;
    return teacher_.model->network().EncodeImages(pixels).features;  // [B,D]
  }
  Tensor Loss(const Tensor& pixels, const Tensor& teacher_features) const {
    Tensor wanted;  // [B,B]
    {
      const Tape::Pause pause;
      const Tensor teacher = L2Normalize(teacher_features);  // [B,D]
      wanted = MatMul(teacher, teacher, {.transpose_b = true});
    }
    const Tensor student = L2Normalize(network_.model->EncodeImages(pixels).features);  // [B,D']
    const Tensor found = MatMul(student, student, {.transpose_b = true});               // [B,B]
    return AffinityDistillationLoss(found, wanted, static_cast<float>(recipe_.temperature));
  }

  const Recipe& recipe_;
  const Network& network_;
  const Processes& processes_;
  Teacher teacher_;
  std::optional<FeatureCache> cache_;
};

}  // namespace

Teacher::Teacher(const Recipe& recipe, const Network& network)
    : model(runtime::LoadedModel::Load(runtime::ResolveModelFolder(recipe.teacher), recipe.teacher)) {
  Require(model->network().CanEncodeImages(), "[train] the teacher ", recipe.teacher, " does not encode pictures");
  Require(recipe.task != Task::kContrastive || model->network().CanEncodeTexts(), "[train] the teacher ",
          recipe.teacher, " does not encode texts");
  Require(model->preprocess().ToString() == network.preprocess.ToString(), "[train] the teacher prepares pictures as ",
          model->preprocess().ToString(), ", the student as ", network.preprocess.ToString(),
          "; hint: both look at the same pixels");
}

std::string Teacher::Fingerprint() const {
  return ModelFingerprint(model->network(), model->config().Text() + model->preprocess().ToString());
}

std::unique_ptr<Objective> MakeDistillation(const Recipe& recipe, const Network& network, const Processes& processes) {
  return std::make_unique<Distillation>(recipe, network, processes);
}

}  // namespace fovea::train
