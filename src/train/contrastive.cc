#include "train/contrastive.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "ops/arithmetic.h"
#include "ops/loss.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "train/data/random.h"

namespace fovea::train {
namespace {

Tensor Rows(const Tensor& x, int64_t begin, int64_t end) {
  return x.defined() ? x.Sliced(0, begin, end).Contiguous() : x;
}

struct Features {
  Tensor image, text;  // [B,D]
};

struct Step {
  models::Model& model;
  const PairInputs& inputs;
  const ContrastiveOptions& options;
  int64_t pairs, part;

  Tape::Options TapeOptions(int64_t begin) const {
    return {.is_training = options.is_training,
            .seed = MixSeeds(options.seed, static_cast<uint64_t>(begin)),
            .recomputes = options.recomputes,
            .sum_across = options.processes == nullptr ? nullptr : options.processes->sum_across()};
  }
  Features Encode(int64_t begin, int64_t end) const {
    Features rows;
    const models::TextInputs& texts = inputs.texts;
    if (inputs.image_features.defined()) {
      rows.image = Rows(inputs.image_features, begin, end);
    } else {
      rows.image = model.EncodeImages(Rows(inputs.pixels, begin, end)).features;
    }
    if (inputs.text_features.defined()) {
      rows.text = Rows(inputs.text_features, begin, end);
    } else {
      rows.text = model
                      .EncodeTexts({.ids = Rows(texts.ids, begin, end),
                                    .mask = Rows(texts.mask, begin, end),
                                    .type_ids = Rows(texts.type_ids, begin, end)})
                      .features;
    }
    return rows;
  }
};

// What a forward in training mode changes besides the gradients: running statistics and their counters.
std::vector<std::pair<nn::Parameter*, Tensor>> Statistics(models::Model& model) {
  std::vector<std::pair<nn::Parameter*, Tensor>> statistics;
  nn::ForEachParameter(model, [&](const std::string&, nn::Parameter& parameter) {
    if (parameter.kind() != nn::Parameter::Kind::kTrained && parameter.has_value())
      statistics.emplace_back(&parameter, parameter.value().Clone());
  });
  return statistics;
}

// Both features of the whole batch, nothing recorded.
Features EncodeAll(const Step& step) {
  const auto before = Statistics(step.model);
  Features all;
  for (int64_t begin = 0; begin < step.pairs; begin += step.part) {
    const int64_t end = std::min(step.pairs, begin + step.part);
    const Tape tape(step.TapeOptions(begin));  // nothing is watched; layers and masks behave as in the second pass
    const Features rows = step.Encode(begin, end);
    if (!all.image.defined()) {
      all.image = Tensor::Empty({step.pairs, rows.image.dim(1)});
      all.text = Tensor::Empty({step.pairs, rows.text.dim(1)});
    }
    Tensor image = all.image.Sliced(0, begin, end), text = all.text.Sliced(0, begin, end);
    image.CopyFrom(rows.image);
    text.CopyFrom(rows.text);
  }
  for (auto [parameter, value] : before) {
    Tensor target = parameter->value();
    target.CopyFrom(value);
    parameter->MarkChanged();
  }
  return all;
}

}  // namespace

Tensor ContrastiveLossOf(const models::Model& model, const PairInputs& features, const ContrastiveOptions& options) {
  const auto cosines = [](const Tensor& images, const Tensor& texts) {
    return MatMul(L2Normalize(images), L2Normalize(texts), {.transpose_b = true});  // [N,N]
  };
  const auto own_loss = [&] {
    if (options.loss == "max_of_hinges")
      return MaxOfHinges(cosines(features.image_features, features.text_features), {.margin = options.margin});
    const Tensor logits = model.MatchLogits(features.image_features, features.text_features);  // [N,N]
    return options.loss == "sigmoid" ? SigmoidContrastiveLoss(logits)
                                     : ContrastiveLoss(logits, options.label_smoothing);
  };
  if (options.distillation <= 0) return own_loss();
  const Tensor affinity =
      AffinityDistillationLoss(cosines(features.image_features, features.text_features),
                               cosines(features.teacher_images, features.teacher_texts), options.temperature);
  if (options.distillation >= 1) return affinity;
  return own_loss() * (1 - options.distillation) + affinity * options.distillation;
}

double ContrastiveStep(models::Model& model, const PairInputs& inputs, Trainable& trainable,
                       const ContrastiveOptions& options) {
  const Tensor& first = inputs.image_features.defined() ? inputs.image_features : inputs.pixels;
  const Tensor& second = inputs.text_features.defined() ? inputs.text_features : inputs.texts.ids;
  Require(
      first.defined() && second.defined() && first.rank() >= 2 && second.rank() == 2 && first.dim(0) == second.dim(0),
      "[contrastive] expected N pictures and N texts, got ", first.shape(), " and ", second.shape());
  const int64_t N = first.dim(0);
  const Step step{model, inputs, options, N, options.part > 0 ? std::min(options.part, N) : N};
  const Processes* processes = options.processes;
  const bool is_shared = processes != nullptr && processes->size() > 1;
  std::optional<Tape> kept;  // of the only part
  if (step.part == N) {
    kept.emplace(step.TapeOptions(0));
    trainable.Bind(*kept);
  }
  const Features all = kept ? step.Encode(0, N) : EncodeAll(step);
  PairInputs whole{.image_features = all.image,
                   .text_features = all.text,
                   .teacher_images = inputs.teacher_images,
                   .teacher_texts = inputs.teacher_texts};
  if (kept && !is_shared) {
    const Tensor loss = ContrastiveLossOf(model, whole, options);
    trainable.Collect(kept->Backward(loss));
    return loss.item();
  }
  if (is_shared) {
    for (Tensor* features : {&whole.image_features, &whole.text_features, &whole.teacher_images, &whole.teacher_texts})
      *features = processes->Gather(*features);
  }
  const int64_t own = is_shared ? processes->rank() * N : 0;  // the first row that is this process's
  double value = 0;
  Tensor image_seed, text_seed;  // [N,D] gradients of the loss
  {
    Tape tape({.is_training = options.is_training, .seed = options.seed});
    trainable.Bind(tape);
    tape.Watch(whole.image_features);
    tape.Watch(whole.text_features);
    const Tensor loss = ContrastiveLossOf(model, whole, options);
    value = loss.item();
    const Gradients gradients = tape.Backward(loss);
    image_seed = Rows(gradients[whole.image_features], own, own + N);
    text_seed = Rows(gradients[whole.text_features], own, own + N);
    if (own == 0) trainable.Collect(gradients);  // of the scale and bias of the logits, once
  }
  const auto collect = [&](Tape& tape, const Features& rows, int64_t begin, int64_t end) {
    const Tensor surrogate =
        Sum(rows.image * Rows(image_seed, begin, end)) + Sum(rows.text * Rows(text_seed, begin, end));
    if (tape.IsTracked(surrogate)) trainable.Collect(tape.Backward(surrogate));
  };
  if (kept) {
    collect(*kept, all, 0, N);
    return value;
  }
  for (int64_t begin = 0; begin < N; begin += step.part) {
    const int64_t end = std::min(N, begin + step.part);
    Tape tape(step.TapeOptions(begin));
    trainable.Bind(tape);
    const Features rows = step.Encode(begin, end);
    collect(tape, rows, begin, end);
  }
  return value;
}

}  // namespace fovea::train
