#include "train/caption_sets.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/softmax.h"

namespace fovea::train {
namespace {

constexpr size_t kPart = 64;  // captions in one pass of the text tower

// Features of all captions, in their order. [N,E]
Tensor TextFeatures(const models::Model& model, const runtime::TextEncoder& texts,
                    const std::vector<std::string>& captions) {
  std::vector<int64_t> order(captions.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](int64_t i) { return captions[static_cast<size_t>(i)].size(); });
  std::vector<Tensor> parts;
  for (size_t begin = 0; begin < order.size(); begin += kPart) {
    std::vector<std::string> part;
    for (size_t i = begin; i < std::min(order.size(), begin + kPart); ++i)
      part.push_back(captions[static_cast<size_t>(order[i])]);
    parts.push_back(model.EncodeTexts(texts.Prepare(model, part)).features);  // [B,E]
  }
  std::vector<int64_t> place(order.size());
  for (size_t i = 0; i < order.size(); ++i) place[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  const Tensor index =
      Tensor::FromValues<int64_t>({static_cast<int64_t>(place.size())}, std::span<const int64_t>(place));
  return IndexSelect(Concat(parts, 0), 0, index);  // [N,E]
}

std::vector<bool> SameWords(const std::vector<std::string>& captions) {
  const size_t N = captions.size();
  std::vector<bool> same(N * N);
  for (size_t i = 0; i < N; ++i) {
    for (size_t j = 0; j < N; ++j) same[i * N + j] = captions[i] == captions[j];
  }
  return same;
}

}  // namespace

Tensor SharedContrastiveLoss(const Tensor& logits, const std::vector<bool>& is_same, float label_smoothing) {
  const auto [N, M] = logits.Dims<2>("logits");
  Require(N == M && is_same.size() == static_cast<size_t>(N * N), "[contrastive] expected logits [N,N], got ",
          logits.shape());
  Tensor targets = Tensor::Empty({N, N});
  float* target = targets.mutable_data<float>();
  for (int64_t i = 0; i < N; ++i) {
    const auto begin = is_same.begin() + i * N;
    const auto right = static_cast<float>(std::count(begin, begin + N, true));
    for (int64_t j = 0; j < N; ++j)
      target[i * N + j] = label_smoothing / static_cast<float>(N) + (begin[j] ? (1 - label_smoothing) / right : 0.0f);
  }
  const Tensor rows = Sum(LogSoftmax(logits) * targets);                      // []
  const Tensor columns = Sum(LogSoftmax(Transpose(logits, 0, 1)) * targets);  // []; what is same is symmetric
  return (rows + columns) * (-0.5f / static_cast<float>(N));
}

double CaptionSetStep(const models::Model& model, const runtime::TextEncoder& texts, const Batch& batch,
                      Trainable& trainable, const CaptionSetOptions& options) {
  const auto sets = static_cast<int64_t>(batch.caption_sets.size());
  const int64_t N = batch.grids.dim(0);
  Require(sets > 0, "[contrastive] expected at least one set of captions");
  std::vector<std::string> captions;
  for (const auto& set : batch.caption_sets) captions.insert(captions.end(), set.begin(), set.end());
  Tape tape({.is_training = options.is_training, .seed = options.seed, .recomputes = options.recomputes});
  trainable.Bind(tape);
  const Tensor images = model.EncodeFromTrunk(batch.grids, options.blocks).features;  // [N,E]
  const Tensor words = TextFeatures(model, texts, captions);                          // [sets*N,E]
  Tensor loss;
  for (int64_t set = 0; set < sets; ++set) {
    const Tensor logits = model.MatchLogits(images, Slice(words, 0, set * N, (set + 1) * N));  // [N,N]
    const Tensor part =
        SharedContrastiveLoss(logits, SameWords(batch.caption_sets[static_cast<size_t>(set)]), options.label_smoothing);
    loss = loss.defined() ? loss + part : part;
  }
  loss = loss / static_cast<float>(sets);
  trainable.Collect(tape.Backward(loss));
  return loss.item();
}

}  // namespace fovea::train
