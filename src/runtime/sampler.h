// From the logits of one place to the next token: penalties, temperature, the truncations of the field, and a draw that
// belongs to the seed and the place.
//
// The order is that of transformers: repetition penalty; frequency and presence penalties (OpenAI's definition, over
// what was generated); the constraint; then temperature, top-k, top-p, min-p. Greedy choice (temperature 0) takes the
// highest score after the penalties; the lower id wins a tie.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace fovea::runtime {

struct SamplingOptions {
  double temperature = 0;  // 0: greedy
  int64_t top_k = 0;       // only the so many best; 0: all
  double top_p = 1;        // the smallest set of best tokens whose probability reaches this (Holtzman et al. 2019)
  double min_p = 0;        // only tokens at least this share as probable as the best (Nguyen et al. 2024)
  double repetition_penalty = 1;  // divides positive and multiplies negative logits of tokens seen (Keskar et al. 2019)
  double frequency_penalty = 0;   // subtracted once for each time a token was generated
  double presence_penalty = 0;    // subtracted once when it was generated at all
  uint64_t seed = 0;
  int64_t top_logprobs = -1;  // with each choice the log-probabilities of so many best; -1: none, not even its own
};

// Throws kInvalidArgument naming the option that is out of range.
void CheckSampling(const SamplingOptions& options);

struct TokenScore {
  int64_t id;
  float value;
};

struct Choice {
  int64_t id = -1;
  float logprob = 0;            // of the model's own distribution, before penalties and temperature
  std::vector<TokenScore> top;  // the best of that distribution, best first
};

// A set of tokens, one bit each; empty: all.
using TokenMask = std::vector<uint64_t>;
inline bool Allows(const TokenMask& mask, int64_t id) { return mask.empty() || (mask[id / 64] >> (id % 64) & 1) != 0; }

// The sampler of one sequence.
class Sampler {
 public:
  // `prompt`: its tokens count for the repetition penalty.
  Sampler(const SamplingOptions& options, std::span<const int64_t> prompt);

  // The next token for `logits` [V]. Throws kInvalidArgument when `allowed` (of V bits, or empty) allows none, or when
  // the logits hold no finite number.
  Choice Next(std::span<const float> logits, const TokenMask& allowed = {});

  // What Next draws from: tokens with their probabilities, by falling probability. Not for greedy choice.
  std::vector<TokenScore> Distribution(std::span<const float> logits, const TokenMask& allowed = {}) const;

  const SamplingOptions& options() const { return options_; }

 private:
  std::vector<TokenScore> Candidates(std::span<const float> logits, const TokenMask& allowed) const;
  float Penalized(int64_t id, float logit) const;

  SamplingOptions options_;
  std::unordered_map<int64_t, int64_t> generated_;  // how often each token was
  std::unordered_map<int64_t, bool> seen_;          // in prompt or answer
  int64_t place_ = 0;
};

// log(sum(exp(x))) in f64; -infinity when nothing is finite.
double LogSumExp(std::span<const float> x);

}  // namespace fovea::runtime
