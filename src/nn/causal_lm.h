// A language model of decoder blocks with rotary positions: LLaMA, Qwen and Gemma differ in their options and in the
// names of the parts of a block. Its own names are those all of them use: model.embed_tokens, model.layers, model.norm,
// lm_head.
//
// Legend: B rows, T tokens, D width, V vocabulary.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nn/decoder.h"
#include "nn/embedding.h"

namespace fovea::nn {

struct CausalLmOptions {
  std::string who;           // names the model in errors
  models::DecoderSpec spec;  // filled from the block by CausalLm but for vocab, max_positions and special tokens
  DecoderBlockOptions block;
  const DecoderBlockNames* names = nullptr;  // must outlive the model
  RopeOptions rope;
  std::vector<int64_t> windows = {};            // of each layer, see DecoderBlockOptions::window; empty: block.window
  std::optional<RopeOptions> window_rope = {};  // of the layers with a window, where they differ
  bool is_tied = false;                         // the head is the table of words
  double embedding_scale = 1;                   // of the vectors of words
  double logit_softcap = 0;                     // c: logits become c tanh(logits / c); 0: none
};

// The parts of a block as the checkpoints of LLaMA and its kin name them.
inline constexpr DecoderBlockNames kLlamaBlockNames = {.q = "self_attn.q_proj",
                                                       .k = "self_attn.k_proj",
                                                       .v = "self_attn.v_proj",
                                                       .out = "self_attn.o_proj",
                                                       .norm1 = "input_layernorm",
                                                       .gate = "mlp.gate_proj",
                                                       .up = "mlp.up_proj",
                                                       .down = "mlp.down_proj",
                                                       .norm2 = "post_attention_layernorm"};

// Entry::unused of such models: buffers, and the head's copy of the words in checkpoints that tie them.
inline constexpr std::string_view kCausalLmUnused[] = {"*.rotary_emb.inv_freq", "lm_head.weight"};

class CausalLm {
 public:
  explicit CausalLm(const CausalLmOptions& options);

  models::DecoderSpec Decoder() const { return options_.spec; }
  // Stages: "embeddings", "layers.<i>", "norm".
  models::DecodeOutputs Decode(const models::DecodeInputs& inputs) const;
  Tensor EmbedTokens(const Tensor& ids) const;  // i64 [B,T] -> [B,T,D]
  void Visit(Visitor& v);

 private:
  CausalLmOptions options_;
  Embedding embed_tokens_;
  List<DecoderBlock> layers_;
  Norm norm_;
  Optional<Linear> lm_head_;
  TiedLinear tied_head_;
  Rotary rotary_;
  std::optional<Rotary> window_rotary_;
};

// The keys that configurations of such models share, with defaults set by the caller in the fields themselves.
struct CausalLmConfig {
  int64_t vocab_size = 32000, hidden_size = 4096, intermediate_size = 11008, num_hidden_layers = 32;
  int64_t num_attention_heads = 32, num_key_value_heads = 0, head_dim = 0;  // 0: as many as heads; hidden_size / heads
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6, attention_dropout = 0;
  std::string hidden_act = "silu";
  bool tie_word_embeddings = false;

  // Throws kInvalidArgument / kUnimplemented naming `who` and the key; kUnimplemented too for an architecture other
  // than `architecture` ("...ForCausalLM").
  void Read(const base::Config& config, std::string_view who, std::string_view architecture);
  // Everything these keys say.
  CausalLmOptions Options(std::string_view who, const DecoderBlockNames& names, const RopeOptions& rope) const;
};

// The window of each layer: `window` for those that layer_types calls "sliding_attention", 0 for "full_attention";
// where the configuration has no layer_types, `has_window` decides. Throws kInvalidArgument for a list of another
// length, for sliding layers without a window, kUnimplemented for other kinds of layers.
std::vector<int64_t> ReadWindows(const base::Config& config, std::string_view who, int64_t layers, int64_t window,
                                 const std::function<bool(int64_t layer)>& has_window);

// The same from Qwen's keys: sliding_window for the layers from max_window_layers on, if use_sliding_window.
std::vector<int64_t> ReadUpperWindows(const base::Config& config, std::string_view who, int64_t layers);

}  // namespace fovea::nn
