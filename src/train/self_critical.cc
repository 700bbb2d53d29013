#include "train/self_critical.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "nn/pictures.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/softmax.h"
#include "runtime/sampler.h"
#include "tensor/tape.h"
#include "train/data/random.h"
#include "train/language.h"

namespace fovea::train {
namespace {

// The end of a caption, as the reward sees it: letters only, so that it stays one word, and no word of English.
constexpr const char* kEndWord = "endofcaption";

std::vector<std::string> WithEnd(const std::vector<std::string>& captions) {
  std::vector<std::string> ended;
  for (const std::string& caption : captions) ended.push_back(caption + " " + kEndWord);
  return ended;
}

CiderD FrequenciesOf(std::span<const std::vector<std::string>> corpus) {
  std::vector<std::vector<std::string>> ended;
  for (const auto& captions : corpus) ended.push_back(WithEnd(captions));
  return CiderD::FromReferences(ended);
}

// One of V tokens, with probability softmax(logits / temperature).
int64_t Draw(std::span<const float> logits, double temperature, double uniform) {
  const auto best = std::ranges::max_element(logits);
  if (temperature == 0) return best - logits.begin();
  const double highest = *best;
  std::vector<double> sums(logits.size());
  double sum = 0;
  for (size_t v = 0; v < logits.size(); ++v) sums[v] = sum += std::exp((logits[v] - highest) / temperature);
  const auto found = std::ranges::upper_bound(sums, uniform * sum);
  return std::min<int64_t>(found - sums.begin(), static_cast<int64_t>(logits.size()) - 1);
}

}  // namespace

std::vector<SampledText> SampleTexts(const models::Model& model, const Tensor& pictures, const SamplingLimits& limits) {
  const Tape::Pause pause;
  const models::DecoderSpec spec = model.Decoder();
  const int64_t B = pictures.dim(0), K = limits.samples;
  Require(spec.pictures == models::PicturePlace::kMemory && !spec.eos.empty() && spec.bos >= 0,
          "[self-critical] expected a decoder that sees pictures by cross-attention, with a start and an end token");
  const int64_t room = std::min(limits.max_tokens, spec.max_positions - 1);
  // The start token is read once for each picture, then its cache goes to all of the picture's samples.
  std::vector<nn::DecodeCache> caches;
  caches.reserve(static_cast<size_t>(B * K));
  std::vector<nn::DecodeCache> first(static_cast<size_t>(B),
                                     nn::DecodeCache(spec.Cache(), {.max_tokens = spec.max_positions}));
  std::vector<nn::DecodeCache*> places;
  for (nn::DecodeCache& cache : first) places.push_back(&cache);
  const Tensor start = Tensor::Empty({B, 1}, DType::kI64);
  std::fill_n(start.mutable_data<int64_t>(), B, spec.bos);
  models::DecodeInputs inputs = models::JoinPictures(model, start, {}, pictures);
  inputs.caches = places;
  Tensor logits = model.Decode(inputs).logits.Contiguous();  // [B,1,V]
  const int64_t V = logits.dim(2);

  std::vector<SampledText> texts(static_cast<size_t>(B * K));
  std::vector<int64_t> open(texts.size());    // rows that have not ended
  std::vector<int64_t> source(texts.size());  // their rows of `logits`
  for (int64_t row = 0; row < B * K; ++row) {
    open[static_cast<size_t>(row)] = row;
    source[static_cast<size_t>(row)] = row / K;
    caches.push_back(first[static_cast<size_t>(row / K)].Clone());
  }
  for (int64_t step = 0; step < room && !open.empty(); ++step) {
    std::vector<int64_t> drawn(open.size());
    base::ParallelFor(static_cast<int64_t>(open.size()), 1, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        Random random(MixSeeds(MixSeeds(limits.seed, static_cast<uint64_t>(open[i])), static_cast<uint64_t>(step)));
        const std::span<const float> row(logits.data<float>() + source[i] * V, static_cast<size_t>(V));
        drawn[i] = Draw(row, limits.temperature, random.Uniform());
      }
    });
    std::vector<int64_t> still, next;
    for (size_t i = 0; i < open.size(); ++i) {
      SampledText& text = texts[static_cast<size_t>(open[i])];
      text.has_ended = std::ranges::find(spec.eos, drawn[i]) != spec.eos.end();
      if (text.has_ended) continue;
      text.ids.push_back(drawn[i]);
      still.push_back(open[i]);
      next.push_back(drawn[i]);
    }
    open = std::move(still);
    if (open.empty() || step + 1 == room) break;
    places.clear();
    source.clear();
    for (const int64_t row : open) {
      source.push_back(static_cast<int64_t>(places.size()));
      places.push_back(&caches[static_cast<size_t>(row)]);
    }
    const Tensor ids =
        Tensor::FromValues<int64_t>({static_cast<int64_t>(next.size()), 1}, std::span<const int64_t>(next));
    logits = model.Decode({.ids = ids, .caches = places}).logits.Contiguous();  // [R',1,V]
  }
  return texts;
}

CaptionReward::CaptionReward(std::span<const std::vector<std::string>> corpus) : cider_(FrequenciesOf(corpus)) {}

std::vector<double> CaptionReward::operator()(std::span<const SampledText> texts, const text::Tokenizer& tokenizer,
                                              std::span<const std::vector<std::string>> captions) const {
  const size_t K = captions.empty() ? 0 : texts.size() / captions.size();
  Require(K > 0 && texts.size() == K * captions.size(), "[self-critical] expected equally many texts of each picture");
  std::vector<double> rewards(texts.size());
  base::ParallelFor(static_cast<int64_t>(captions.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto b = static_cast<size_t>(begin); b < static_cast<size_t>(end); ++b) {
      const CiderD::References references = cider_.Prepare(WithEnd(captions[b]));
      for (size_t row = b * K; row < (b + 1) * K; ++row) {
        std::vector<std::string> words = CaptionWords(tokenizer.Decode(texts[row].ids));
        if (texts[row].has_ended) words.emplace_back(kEndWord);
        rewards[row] = cider_.ScoreWords(words, references);
      }
    }
  });
  return rewards;
}

std::vector<double> Advantages(std::span<const double> rewards, int64_t samples) {
  const auto K = static_cast<size_t>(samples);
  Require(samples >= 2 && rewards.size() % K == 0, "[self-critical] expected at least 2 samples of each picture, got ",
          samples);
  std::vector<double> advantages;
  for (size_t begin = 0; begin < rewards.size(); begin += K) {
    double sum = 0;
    for (size_t k = 0; k < K; ++k) sum += rewards[begin + k];
    for (size_t k = 0; k < K; ++k)
      advantages.push_back(rewards[begin + k] - (sum - rewards[begin + k]) / static_cast<double>(K - 1));
  }
  return advantages;
}

Tensor PolicyLoss(const Tensor& logits, const Tensor& labels, std::span<const double> advantages, double tokens) {
  const auto [R, T, V] = logits.Dims<3>("logits");
  Require(labels.dtype() == DType::kI64 && labels.shape() == Shape({R, T}) &&
              static_cast<int64_t>(advantages.size()) == R && tokens > 0,
          "[self-critical] expected labels i64 [", R, ",", T, "] and ", R, " advantages, got ", labels.shape(), " and ",
          advantages.size());
  const Tensor dense = labels.Contiguous();
  const Tensor index = Tensor::Empty({R, T, 1}, DType::kI64), weights = Tensor::Empty({R, T, 1});
  for (int64_t i = 0; i < R * T; ++i) {
    const int64_t label = dense.data<int64_t>()[i];
    index.mutable_data<int64_t>()[i] = label == kIgnored ? 0 : label;
    weights.mutable_data<float>()[i] =
        label == kIgnored ? 0.0f : static_cast<float>(-advantages[static_cast<size_t>(i / T)] / tokens);
  }
  return Sum(Gather(LogSoftmax(logits), 2, index) * weights);  // []
}

}  // namespace fovea::train
