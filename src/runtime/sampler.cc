#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"

namespace fovea::runtime {
namespace {

bool IsBetter(const TokenScore& a, const TokenScore& b) { return a.value != b.value ? a.value > b.value : a.id < b.id; }

// The `count` best of `scores`, in order.
void KeepBest(std::vector<TokenScore>& scores, size_t count) {
  count = std::min(count, scores.size());
  std::partial_sort(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(count), scores.end(), IsBetter);
  scores.resize(count);
}

// Turns scores into probabilities, dividing by the temperature first. `total`: the sum over all candidates.
double ToWeights(std::vector<TokenScore>& scores, double temperature) {
  float highest = -std::numeric_limits<float>::infinity();
  for (const TokenScore& s : scores) highest = std::max(highest, s.value);
  double total = 0;
  for (TokenScore& s : scores) {
    s.value = static_cast<float>(std::exp((static_cast<double>(s.value) - highest) / temperature));
    total += s.value;
  }
  return total;
}

// Keeps the smallest set of best tokens whose weight reaches `share` of `total`; at least one.
void KeepNucleus(std::vector<TokenScore>& weights, double share, double total) {
  // Sorting a whole vocabulary is dear and the nucleus is mostly small: sort growing parts of it.
  size_t sorted = 0, kept = 0;
  double sum = 0;
  while (kept < weights.size()) {
    if (kept == sorted) {
      const size_t next = std::min(weights.size(), std::max<size_t>(64, sorted * 8));
      std::partial_sort(weights.begin() + static_cast<std::ptrdiff_t>(sorted),
                        weights.begin() + static_cast<std::ptrdiff_t>(next), weights.end(), IsBetter);
      sorted = next;
    }
    sum += weights[kept++].value;
    if (sum >= share * total) break;
  }
  weights.resize(kept);
}

}  // namespace

void CheckSampling(const SamplingOptions& o) {
  const auto in = [](const char* name, double value, double low, double high) {
    Require(value >= low && value <= high, "[sampling] expected ", name, " in [", low, ",", high, "], got ", value);
  };
  in("temperature", o.temperature, 0, 100);
  in("top_k", static_cast<double>(o.top_k), 0, 1e9);
  in("top_p", o.top_p, 0, 1);
  in("min_p", o.min_p, 0, 1);
  in("repetition_penalty", o.repetition_penalty, 1e-3, 1e3);
  in("frequency_penalty", o.frequency_penalty, -100, 100);
  in("presence_penalty", o.presence_penalty, -100, 100);
  in("top_logprobs", static_cast<double>(o.top_logprobs), -1, 1000);
}

double LogSumExp(std::span<const float> x) {
  float highest = -std::numeric_limits<float>::infinity();
  for (const float value : x) highest = std::max(highest, value);
  if (!std::isfinite(highest)) return highest;
  double sum = 0;
  for (const float value : x) sum += std::exp(value - highest);
  return highest + std::log(sum);
}

Sampler::Sampler(const SamplingOptions& options, std::span<const int64_t> prompt) : options_(options) {
  CheckSampling(options);
  for (const int64_t id : prompt) seen_[id] = true;
}

float Sampler::Penalized(int64_t id, float logit) const {
  if (seen_.contains(id)) {
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    logit = logit < 0 ? logit * penalty : logit / penalty;
  }
  if (const auto found = generated_.find(id); found != generated_.end()) {
    logit -=
        static_cast<float>(options_.frequency_penalty * static_cast<double>(found->second) + options_.presence_penalty);
  }
  return logit;
}

std::vector<TokenScore> Sampler::Candidates(std::span<const float> logits, const TokenMask& allowed) const {
  Require(allowed.empty() || allowed.size() == (logits.size() + 63) / 64, "[sampling] expected a mask of ",
          logits.size(), " tokens");
  std::vector<TokenScore> scores;
  scores.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    const auto id = static_cast<int64_t>(i);
    if (!Allows(allowed, id) || logits[i] == -std::numeric_limits<float>::infinity()) continue;
    Require(std::isfinite(logits[i]), "[sampling] the model gave a score that is no number for token ", id,
            "; hint: its weights are damaged, or a type with a small range (f16) overflowed");
    scores.push_back({id, logits[i]});
  }
  Require(!scores.empty(), "[sampling] no token is allowed here");
  for (TokenScore& s : scores) s.value = Penalized(s.id, s.value);
  return scores;
}

std::vector<TokenScore> Sampler::Distribution(std::span<const float> logits, const TokenMask& allowed) const {
  std::vector<TokenScore> scores = Candidates(logits, allowed);
  if (options_.top_k > 0) {
    // Like the reference: what ties with the last one stays.
    const auto count = std::min<size_t>(static_cast<size_t>(options_.top_k), scores.size());
    std::nth_element(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(count - 1), scores.end(), IsBetter);
    const float last = scores[count - 1].value;
    std::erase_if(scores, [&](const TokenScore& s) { return s.value < last; });
  }
  double total = ToWeights(scores, options_.temperature);
  if (options_.top_p < 1) {
    KeepNucleus(scores, options_.top_p, total);
  }
  if (options_.min_p > 0) {  // the best weighs 1
    std::erase_if(scores, [&](const TokenScore& s) { return s.value < options_.min_p; });
  }
  std::ranges::sort(scores, IsBetter);
  total = 0;
  for (const TokenScore& s : scores) total += s.value;
  for (TokenScore& s : scores) s.value = static_cast<float>(s.value / total);
  return scores;
}

Choice Sampler::Next(std::span<const float> logits, const TokenMask& allowed) {
  Choice choice;
  if (options_.temperature == 0) {
    const std::vector<TokenScore> scores = Candidates(logits, allowed);
    choice.id = std::ranges::min_element(scores, IsBetter)->id;
  } else {
    const std::vector<TokenScore> weights = Distribution(logits, allowed);
    double left = base::Random(base::MixSeeds(options_.seed, static_cast<uint64_t>(place_))).Uniform();
    choice.id = weights.back().id;  // what rounding may leave over
    for (const TokenScore& w : weights) {
      left -= w.value;
      if (left < 0) {
        choice.id = w.id;
        break;
      }
    }
  }
  if (options_.top_logprobs >= 0) {
    const double sum = LogSumExp(logits);
    choice.logprob = static_cast<float>(logits[choice.id] - sum);
    std::vector<TokenScore> best;
    if (options_.top_logprobs > 0) {
      for (size_t i = 0; i < logits.size(); ++i) best.push_back({static_cast<int64_t>(i), logits[i]});
      KeepBest(best, static_cast<size_t>(options_.top_logprobs));
    }
    for (TokenScore& s : best) s.value = static_cast<float>(s.value - sum);
    choice.top = std::move(best);
  }
  ++place_;
  ++generated_[choice.id];
  seen_[choice.id] = true;
  return choice;
}

}  // namespace fovea::runtime
