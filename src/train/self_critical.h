// Self-critical sequence training: a captioner learns from the captions it writes itself, each rewarded by how near it
// comes to what people said (CIDEr-D), instead of from theirs word by word.
//
// Rennie et al. 2017, arXiv 1612.00563; the baseline of a sample is the mean reward of the picture's other samples (Luo
// 2020, arXiv 2003.09971), so that nothing has to be decoded greedily beside them. The end of a caption is a word of
// its own to the reward, in samples and references, or captions would learn to break off ("a man on a").
//
// Legend: B pictures, K samples of each, N places of a picture, D width, R = B K rows, T tokens, V vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fovea/eval_text.h"
#include "nn/entry.h"
#include "text/tokenizer.h"

namespace fovea::train {

// What a model wrote about a picture.
struct SampledText {
  std::vector<int64_t> ids;  // without start and end token
  bool has_ended = false;    // by an end token, before the limit
};

struct SamplingLimits {
  int64_t samples = 5;  // K
  int64_t max_tokens = 24;
  double temperature = 1;  // 0: always the likeliest token
  uint64_t seed = 0;
};

// K texts for each of the pictures [B,N,D], from the model's distribution after its start token; row b K + k is sample
// k of picture b. Nothing is recorded on the tape. The same seed gives the same texts.
std::vector<SampledText> SampleTexts(const models::Model& model, const Tensor& pictures, const SamplingLimits& limits);

// Rewards of captions: CIDEr-D with the document frequencies of a corpus, where the end of a caption counts as a word.
class CaptionReward {
 public:
  // `corpus`: the captions of each training picture.
  explicit CaptionReward(std::span<const std::vector<std::string>> corpus);

  // Rewards [B K] of `texts` (as SampleTexts orders them) against the captions of their pictures.
  std::vector<double> operator()(std::span<const SampledText> texts, const text::Tokenizer& tokenizer,
                                 std::span<const std::vector<std::string>> captions) const;

 private:
  CiderD cider_;
};

// Each reward less the mean of those of the same picture's other samples; K at least 2. [B K]
std::vector<double> Advantages(std::span<const double> rewards, int64_t samples);

// The policy gradient's loss: -sum over rows and tokens of advantage[r] log p(label[r,t]), where a label is not
// kIgnored (language.h), divided by `tokens`. logits [R,T,V], labels i64 [R,T].
Tensor PolicyLoss(const Tensor& logits, const Tensor& labels, std::span<const double> advantages, double tokens);

}  // namespace fovea::train
