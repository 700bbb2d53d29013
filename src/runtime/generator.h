// The generation loop: many sequences at once over one model, each with a cache of its own.
//
// Requests may come and go at any step (continuous batching): a step either reads a part of one new prompt or gives one
// token to every sequence that is under way. Prompts that begin like one seen before reuse its cache, pictures
// included, because a prompt names each of its tokens by a key: the id of a word, or what a picture's bytes hash to.
//
// Not thread-safe: one thread steps. Rows do not influence each other, so what comes out for a request does not depend
// on its neighbours beyond rounding.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "nn/entry.h"
#include "runtime/beam_search.h"
#include "runtime/sampler.h"

namespace fovea::runtime {

// What the model reads before it writes. Legend: T tokens of the prompt, D width, S places of the memory, M its width.
struct Prompt {
  std::vector<int64_t> ids;   // [T]; for an encoder-decoder its start token
  Tensor embeddings;          // [1,T,D] in place of the vectors of words: pictures in the prompt; undefined: text alone
  Tensor positions;           // i64 [1,T] or [3,1,T]; undefined: 0..T-1
  int64_t next_position = 0;  // of the first generated token, where positions are given
  int64_t bidirectional = 0;  // the first so many tokens see each other
  Tensor memory;              // [1,S,M] what cross-attention sees; undefined: nothing
  Tensor memory_mask;         // bool [1,S], or [1,T,S] where tokens see different parts of it
  // For each token what it is, for the reuse of prefixes: equal keys, equal tokens. Empty: the ids.
  std::vector<uint64_t> keys;
  uint64_t memory_key = 0;  // what the memory is made of; prefixes are reused only where it is equal
};

// Which tokens may come next, from one token to the next. One object per sequence.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  virtual const TokenMask& Allowed() = 0;  // of the tokens of the model, end tokens included where the text may end
  virtual void Accept(int64_t id) = 0;
  virtual bool IsComplete() const = 0;                         // whether the text may end here
  virtual std::unique_ptr<TokenConstraint> Clone() const = 0;  // for beams
};

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 256;
  int64_t min_tokens = 0;        // no end token before
  std::vector<int64_t> end_ids;  // empty: those of the model
  bool ignores_end = false;      // goes on to max_tokens
  int64_t beams = 1;             // above 1: beam search instead of sampling
  double length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::kHeuristic;
  std::shared_ptr<const TokenConstraint> constraint;  // cloned for each sequence; null: none
};

enum class FinishReason : uint8_t {
  kEnd,
  kLength,
  kStopped
};  // an end token; max_tokens or the model's last place; the caller

struct Generation {
  std::vector<int64_t> ids;     // without the end token
  std::vector<Choice> choices;  // of each token, the end token included, as far as top_logprobs asks for them
  FinishReason reason = FinishReason::kEnd;
  double score = 0;  // beams: divided by length^length_penalty; else the sum of log-probabilities if asked for
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  // of the prompt, that a cache held already
};

// Called with each token as soon as it is chosen (not with beams, not for the end token); false stops this sequence.
using OnToken = std::function<bool(const Choice& choice)>;

class Generator {
 public:
  struct Options {
    int64_t max_rows = 16;        // sequences under way at once; further ones wait
    int64_t prefill_chunk = 512;  // tokens of a prompt a step
    DType cache_type = DType::kF32;
    int64_t kept_prefixes = 4;  // caches of finished sequences that are kept for reuse
    int64_t max_tokens = 0;     // longest sequence, prompt included; 0: what the model was made for
  };
  // `model` must outlive this. Throws kUnimplemented when it does not generate.
  Generator(const models::Model& model, const Options& options);
  explicit Generator(const models::Model& model) : Generator(model, Options()) {}
  ~Generator();

  // Puts a request in line; its number. Throws kInvalidArgument for options out of range or a prompt that leaves no
  // room.
  int64_t Add(Prompt prompt, const GenerateOptions& options, OnToken on_token = nullptr);
  // One step; false when there is nothing to do.
  bool Step();
  void Cancel(int64_t request);
  // Whether it is finished; then Take may be called once.
  bool IsDone(int64_t request) const;
  Generation Take(int64_t request);

  // Add, Step until it is done, Take. `cancel` is looked at before every step.
  Generation Run(Prompt prompt, const GenerateOptions& options, OnToken on_token = nullptr,
                 const std::atomic<bool>* cancel = nullptr);

  // The log-probability of each token of `continuation` after the prompt, [N]: closed choices, perplexity.
  std::vector<float> Score(const Prompt& prompt, std::span<const int64_t> continuation);

 private:
  struct Request;
  struct Row;
  struct Prefix;

  // Reads the next part of the prompt; where it ends. `logits` [1,V] are those of its last token.
  int64_t ReadPart(const Prompt& prompt, int64_t begin, nn::DecodeCache* cache, Tensor& logits) const;
  void Prefill(Request& request);
  void DecodeRows();
  void Advance(Request& request, std::vector<std::span<const float>> logits);
  void AdvanceBeams(Request& request, const std::vector<std::span<const float>>& logits);
  void Finish(Request& request, FinishReason reason);
  void Keep(Prefix prefix);
  // A cache that holds the first `reused` tokens of the prompt.
  nn::DecodeCache CacheFor(const Prompt& prompt, int64_t& reused);

  const models::Model& model_;
  Options options_;
  models::DecoderSpec spec_;
  std::list<std::unique_ptr<Request>> requests_;  // in the order of arrival
  std::list<Prefix> prefixes_;                    // most recently used first
  int64_t next_request_ = 1;
};

}  // namespace fovea::runtime
