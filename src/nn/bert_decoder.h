// BERT's blocks as a decoder of text, or as an encoder that reads a memory beside its text: learnt positions, norms
// after each part, cross-attention, and the head for masked words as the head for the next one. BLIP's two text halves.
//
// Legend: B rows, T tokens, S length of the memory, D width, V vocabulary.
#pragma once

#include "nn/bert.h"
#include "nn/decoder.h"

namespace fovea::nn {

struct BertDecoderOptions {
  int64_t vocab_size = 30522, hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12;
  int64_t intermediate_size = 3072, max_position_embeddings = 512;
  int64_t memory_size = 0;    // M, of what cross-attention reads
  int64_t pad_token_id = -1;  // its vector is not trained; -1: there is none
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, layer_norm_eps = 1e-12;
  std::string hidden_act = "gelu";

  // Reads these keys but for memory_size. Throws kInvalidArgument naming `who`.
  void Read(const base::Config& config, std::string_view who);
  DecoderBlockOptions Block() const;
  // Everything but special tokens and pictures.
  models::DecoderSpec Spec() const;
};

// Visited as "embeddings" and "encoder.layer".
class BertDecoder {
 public:
  explicit BertDecoder(const BertDecoderOptions& options);

  // [B,T,D]. Stages `prefix` + "embeddings", "layers.<i>". Without a memory in `call` cross-attention is left out.
  Tensor operator()(const DecodeCall& call, const std::string& prefix) const;
  Tensor EmbedTokens(const Tensor& ids) const;  // i64 [B,T] -> [B,T,D]
  void Visit(Visitor& v);

  const Parameter& words() const { return word_embeddings_.weight; }  // [V,D]

 private:
  BertDecoderOptions options_;
  Embedding word_embeddings_, position_embeddings_;
  LayerNorm norm_;
  List<DecoderBlock> layers_;
};

}  // namespace fovea::nn
