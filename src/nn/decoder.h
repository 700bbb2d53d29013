// The transformer decoder block (Vaswani et al. 2017, arXiv 1706.03762) and what a call of a decoder has to keep track
// of. GPT-2, LLaMA, Qwen, Gemma, OPT and T5 are made of it.
//
// A block has self-attention, perhaps cross-attention, and an MLP, each with a skip connection and a norm. Which parts
// a family has and how checkpoints call them says its table of names: a part without a name does not exist.
//
//   constexpr nn::DecoderBlockNames kNames = {.q = "self_attn.q_proj", ..., .gate = "mlp.gate_proj", ...};
//
// Legend: B rows, T tokens, D width, H query heads, K key/value heads, E head dimension, F width of the MLP, S length
// and M width of the memory.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "nn/attention.h"
#include "nn/decode.h"
#include "nn/norm.h"
#include "nn/rotary.h"

namespace fovea::nn {

struct DecoderBlockNames {
  std::string_view q, k, v;  // or
  std::string_view qkv;      // all three in one
  std::string_view out;
  std::string_view q_norm, k_norm;  // of each head's query and key
  std::string_view norm1;           // before the self-attention; after it in a post-norm block
  std::string_view norm1_after;     // of its result, before the skip connection joins
  std::string_view cross_q, cross_k, cross_v, cross_kv, cross_out, cross_norm;  // cross_kv: both in one
  std::string_view gate, up, down;      // down(act(gate x) * up x), without gate down(act(up x))
  std::string_view norm2, norm2_after;  // of the MLP
};

struct DecoderBlockOptions {
  int64_t dim = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;  // D, H, K, E, F
  int64_t memory_dim = 0;                                           // M
  Act act = Act::kSilu;
  NormOptions norm;
  bool has_qkv_bias = false, has_out_bias = false, has_mlp_bias = false;
  bool is_pre_norm = true;
  bool is_transposed = false;     // weights lie as [I,O] in checkpoints
  std::optional<float> scale;     // of the scores; 1/sqrt(E) when not given
  int64_t window = 0;             // keys that a token sees, itself among them; 0: all
  double dropout = 0;             // of what attention and MLP give, while training
  double attention_dropout = 0;   // of the attention weights, while training
  double activation_dropout = 0;  // inside the MLP, while training
};

// Throws kInvalidArgument naming `who` unless K divides H and all sizes are positive.
void CheckBlock(const DecoderBlockOptions& options, std::string_view who);

// One call of a decoder: the inputs checked once, the positions, and the caches that are advanced at the end. Lives
// as long as the call; `inputs` and `spec` must outlive it.
class DecodeCall {
 public:
  // Throws kInvalidArgument naming `who` when the inputs do not fit together or to the decoder.
  DecodeCall(const models::DecodeInputs& inputs, const models::DecoderSpec& spec, std::string_view who);

  const models::DecodeInputs& inputs;
  int64_t B = 0, T = 0;
  Tensor positions;       // i64 [B,T] or [3,B,T]
  bool is_causal = true;  // false in an encoder made of these blocks
  // Added to the scores of self-attention where the queries are the last T of S tokens: [1,H,T,S]. Empty: nothing.
  std::function<Tensor(int64_t queries, int64_t keys)> bias;

  bool HasCaches() const { return !inputs.caches.empty(); }
  // Self-attention of q [B,H,T,E] over k, v [B,K,T,E] and, with caches, over what they hold of `layer`. [B,T,H*E]
  Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, int64_t layer,
                const DecoderBlockOptions& options) const;
  // The positions plus `offset`, for a table of learnt ones. Throws kResourceExhausted beyond spec.max_positions,
  // kInvalidArgument for M-RoPE positions.
  Tensor TablePositions(int64_t offset = 0) const;
  // The rows of h [B,T,D] that logits are asked for: all, or with only_last the last one that exists, [B,1,D].
  Tensor Asked(const Tensor& h) const;
  // Tells the caches that all layers are through.
  void Finish() const;

 private:
  void CheckCaches(const models::DecoderSpec& spec, std::string_view who) const;
  void CheckMemory(const models::DecoderSpec& spec, std::string_view who) const;
  void CountPositions(std::string_view who);

  std::string_view who_;
  int64_t max_positions_;
};

class SelfAttention {
 public:
  SelfAttention(const DecoderBlockOptions& options, const DecoderBlockNames& names);

  // x [B,T,D] -> [B,T,D]. `angles`: of the rotary embedding; nullptr: none.
  Tensor operator()(const Tensor& x, const DecodeCall& call, int64_t layer, const Rotary::Angles* angles) const;
  void Visit(Visitor& v);

 private:
  struct Heads {
    Tensor q, k, v;  // [B,T,H,E], [B,T,K,E]
  };
  Heads Project(const Tensor& x) const;

  DecoderBlockOptions options_;
  const DecoderBlockNames* names_;
  Optional<Linear> q_, k_, v_, qkv_;
  Linear out_;
  Optional<Norm> q_norm_, k_norm_;
  JoinedLinear joined_;
};

// Queries from the text, keys and values from the memory. With caches the memory is projected in the first call.
class CrossAttention {
 public:
  CrossAttention(const DecoderBlockOptions& options, const DecoderBlockNames& names);

  Tensor operator()(const Tensor& x, const DecodeCall& call, int64_t layer) const;  // [B,T,D] -> [B,T,D]
  void Visit(Visitor& v);

 private:
  DecodeCache::Entries Project(const Tensor& memory) const;  // [B,S,M] -> [B,K,S,E]
  Tensor Attend(const Tensor& q, const DecodeCache::Entries& memory, const Tensor& mask) const;

  DecoderBlockOptions options_;
  const DecoderBlockNames* names_;
  Linear q_;
  Optional<Linear> k_, v_, kv_;
  Linear out_;
};

class DecoderBlock {
 public:
  // `names` must outlive the block: a constexpr table.
  DecoderBlock(const DecoderBlockOptions& options, const DecoderBlockNames& names);

  // x [B,T,D] -> [B,T,D].
  Tensor operator()(const Tensor& x, const DecodeCall& call, int64_t layer,
                    const Rotary::Angles* angles = nullptr) const;
  void Visit(Visitor& v);

  const DecoderBlockOptions& options() const { return options_; }

 private:
  Tensor Mlp(const Tensor& x) const;  // [B,T,D] -> [B,T,D]

  DecoderBlockOptions options_;
  const DecoderBlockNames* names_;
  SelfAttention attention_;
  Optional<CrossAttention> cross_;
  Norm norm1_, norm2_;
  Optional<Norm> norm1_after_, norm2_after_, cross_norm_;
  Optional<Linear> gate_;
  Linear up_, down_;
};

}  // namespace fovea::nn
