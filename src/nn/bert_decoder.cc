#include "nn/bert_decoder.h"

#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"

namespace fovea::nn {
namespace {

constexpr DecoderBlockNames kNames = {.q = "attention.self.query",
                                      .k = "attention.self.key",
                                      .v = "attention.self.value",
                                      .out = "attention.output.dense",
                                      .norm1 = "attention.output.LayerNorm",
                                      .cross_q = "crossattention.self.query",
                                      .cross_k = "crossattention.self.key",
                                      .cross_v = "crossattention.self.value",
                                      .cross_out = "crossattention.output.dense",
                                      .cross_norm = "crossattention.output.LayerNorm",
                                      .up = "intermediate.dense",
                                      .down = "output.dense",
                                      .norm2 = "output.LayerNorm"};

}  // namespace

void BertDecoderOptions::Read(const base::Config& c, std::string_view who) {
  constexpr double kMostSize = 1 << 20;
  c.Read("vocab_size", vocab_size, 1, 1 << 24);
  c.Read("hidden_size", hidden_size, 1, kMostSize);
  c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
  c.Read("num_attention_heads", num_attention_heads, 1, 65536);
  c.Read("intermediate_size", intermediate_size, 1, kMostSize);
  c.Read("max_position_embeddings", max_position_embeddings, 1, 1 << 24);
  c.Read("hidden_dropout_prob", hidden_dropout_prob, 0, 0.99);
  c.Read("attention_probs_dropout_prob", attention_probs_dropout_prob, 0, 0.99);
  c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
  c.Read("hidden_act", hidden_act);
  pad_token_id = PadTokenId(c, pad_token_id);
  ActFromName(hidden_act, std::string(who).c_str());
  Require(pad_token_id < vocab_size, "[", who, "] expected a pad_token_id below vocab_size ", vocab_size, ", got ",
          pad_token_id);
  Require(hidden_size % num_attention_heads == 0, "[", who, "] expected a number of heads that divides the width ",
          hidden_size, ", got ", num_attention_heads);
}

DecoderBlockOptions BertDecoderOptions::Block() const {
  return {.dim = hidden_size,
          .heads = num_attention_heads,
          .kv_heads = num_attention_heads,
          .head_dim = hidden_size / num_attention_heads,
          .ffn = intermediate_size,
          .memory_dim = memory_size,
          .act = ActFromName(hidden_act, "bert"),
          .norm = {.kind = NormKind::kLayerNorm, .eps = layer_norm_eps},
          .has_qkv_bias = true,
          .has_out_bias = true,
          .has_mlp_bias = true,
          .is_pre_norm = false,
          .dropout = hidden_dropout_prob,
          .attention_dropout = attention_probs_dropout_prob};
}

models::DecoderSpec BertDecoderOptions::Spec() const {
  models::DecoderSpec spec;
  spec.layers = num_hidden_layers;
  spec.kv_heads = num_attention_heads;
  spec.key_dim = spec.value_dim = hidden_size / num_attention_heads;
  spec.hidden_size = hidden_size;
  spec.vocab = vocab_size;
  spec.max_positions = max_position_embeddings;
  spec.memory_size = memory_size;
  spec.pad = pad_token_id;
  return spec;
}

BertDecoder::BertDecoder(const BertDecoderOptions& o)
    : options_(o),
      word_embeddings_(o.vocab_size, o.hidden_size),
      position_embeddings_(o.max_position_embeddings, o.hidden_size),
      norm_(o.hidden_size, o.layer_norm_eps) {
  for (int64_t i = 0; i < o.num_hidden_layers; ++i) layers_.emplace_back(o.Block(), kNames);
}

void BertDecoder::Visit(Visitor& v) {
  v("embeddings.word_embeddings", word_embeddings_);
  v("embeddings.position_embeddings", position_embeddings_);
  v("embeddings.LayerNorm", norm_);
  v("encoder.layer", layers_);
}

Tensor BertDecoder::EmbedTokens(const Tensor& ids) const {
  return LookUp(word_embeddings_, ids, options_.pad_token_id);
}

Tensor BertDecoder::operator()(const DecodeCall& call, const std::string& prefix) const {
  const models::DecodeInputs& inputs = call.inputs;
  const Tensor words = inputs.ids.defined() ? EmbedTokens(inputs.ids) : inputs.embeddings;  // [B,T,D]
  Tensor h = norm_(words + position_embeddings_(call.TablePositions()));                    // [B,T,D]
  h = Stage(prefix + "embeddings", Dropout(h, options_.hidden_dropout_prob));               // [B,T,D]
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = static_cast<int64_t>(i);
    h = Stage(prefix + "layers", layer, layers_[i](h, call, layer));  // [B,T,D]
  }
  call.Finish();
  return h;
}

}  // namespace fovea::nn
