#include "train/contrastive.h"

#include <algorithm>
#include <cstring>

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
  const Tensor& pixels;
  const models::TextInputs& texts;
  const ContrastiveOptions& options;
  int64_t pairs, part;

  Tape::Options TapeOptions(int64_t begin) const {
    return {.is_training = options.is_training, .seed = MixSeeds(options.seed, static_cast<uint64_t>(begin))};
  }
  Features Encode(int64_t begin, int64_t end) const {
    const models::TextInputs rows{.ids = Rows(texts.ids, begin, end),
                                  .mask = Rows(texts.mask, begin, end),
                                  .type_ids = Rows(texts.type_ids, begin, end)};
    return {.image = model.EncodeImages(Rows(pixels, begin, end)).features, .text = model.EncodeTexts(rows).features};
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

Tensor ContrastiveLossOf(const models::Model& model, const Tensor& image_features, const Tensor& text_features,
                         const ContrastiveOptions& options) {
  if (options.loss == "max_of_hinges") {
    const Tensor cosines =
        MatMul(L2Normalize(image_features), L2Normalize(text_features), {.transpose_b = true});  // [N,N]
    return MaxOfHinges(cosines, {.margin = options.margin});
  }
  const Tensor logits = model.MatchLogits(image_features, text_features);  // [N,N]
  return options.loss == "sigmoid" ? SigmoidContrastiveLoss(logits) : ContrastiveLoss(logits, options.label_smoothing);
}

double ContrastiveStep(models::Model& model, const Tensor& pixels, const models::TextInputs& texts,
                       Trainable& trainable, const ContrastiveOptions& options) {
  Require(pixels.rank() == 4 && texts.ids.defined() && texts.ids.rank() == 2 && texts.ids.dim(0) == pixels.dim(0),
          "[contrastive] expected pixels [N,Y,X,C] and ids [N,T], got ", pixels.shape(), " and ", texts.ids.shape());
  const int64_t N = pixels.dim(0);
  const Step step{model, pixels, texts, options, N, options.part > 0 ? std::min(options.part, N) : N};
  if (step.part == N) {
    Tape tape(step.TapeOptions(0));
    trainable.Bind(tape);
    const Features features = step.Encode(0, N);
    const Tensor loss = ContrastiveLossOf(model, features.image, features.text, options);
    trainable.Collect(tape.Backward(loss));
    return loss.item();
  }
  const Features all = EncodeAll(step);
  double value = 0;
  Tensor image_seed, text_seed;  // [N,D] gradients of the loss
  {
    Tape tape({.is_training = options.is_training, .seed = options.seed});
    trainable.Bind(tape);
    tape.Watch(all.image);
    tape.Watch(all.text);
    const Tensor loss = ContrastiveLossOf(model, all.image, all.text, options);
    value = loss.item();
    const Gradients gradients = tape.Backward(loss);
    image_seed = gradients[all.image];
    text_seed = gradients[all.text];
    trainable.Collect(gradients);  // of the scale and bias of the logits
  }
  for (int64_t begin = 0; begin < N; begin += step.part) {
    const int64_t end = std::min(N, begin + step.part);
    Tape tape(step.TapeOptions(begin));
    trainable.Bind(tape);
    const Features rows = step.Encode(begin, end);
    const Tensor surrogate =
        Sum(rows.image * Rows(image_seed, begin, end)) + Sum(rows.text * Rows(text_seed, begin, end));
    trainable.Collect(tape.Backward(surrogate));
  }
  return value;
}

}  // namespace fovea::train
