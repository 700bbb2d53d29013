#include "nn/causal_lm.h"

#include "base/error.h"
#include "nn/stage.h"
#include "ops/activation.h"
#include "ops/arithmetic.h"

namespace fovea::nn {
namespace {

DecoderBlockOptions BlockOf(const CausalLmOptions& o, int64_t layer) {
  DecoderBlockOptions block = o.block;
  if (!o.windows.empty()) block.window = o.windows[static_cast<size_t>(layer)];
  return block;
}

}  // namespace

CausalLm::CausalLm(const CausalLmOptions& o)
    : options_(o), embed_tokens_(o.spec.vocab, o.block.dim), norm_(o.block.dim, o.block.norm), rotary_(o.rope) {
  models::DecoderSpec& spec = options_.spec;
  spec.kv_heads = o.block.kv_heads;
  spec.key_dim = spec.value_dim = o.block.head_dim;
  spec.hidden_size = o.block.dim;
  for (int64_t i = 0; i < spec.layers; ++i) layers_.emplace_back(BlockOf(o, i), *o.names);
  if (o.window_rope) window_rotary_.emplace(*o.window_rope);
  if (!o.is_tied)
    lm_head_.emplace(LinearOptions{.in_features = o.block.dim, .out_features = spec.vocab, .has_bias = false});
}

void CausalLm::Visit(Visitor& v) {
  v("model.embed_tokens", embed_tokens_);
  v("model.layers", layers_);
  v("model.norm", norm_);
  v("lm_head", lm_head_);
}

Tensor CausalLm::EmbedTokens(const Tensor& ids) const {
  const Tensor words = embed_tokens_(ids);  // [B,T,D]
  return options_.embedding_scale == 1 ? words : words * static_cast<float>(options_.embedding_scale);
}

models::DecodeOutputs CausalLm::Decode(const models::DecodeInputs& inputs) const {
  const DecodeCall call(inputs, options_.spec, options_.who);
  Tensor h = Stage("embeddings", inputs.ids.defined() ? EmbedTokens(inputs.ids) : inputs.embeddings);  // [B,T,D]
  const Rotary::Angles angles = rotary_.At(call.positions);
  const Rotary::Angles window_angles = window_rotary_ ? window_rotary_->At(call.positions) : angles;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = static_cast<int64_t>(i);
    const bool has_window = layers_[i].options().window > 0;
    h = Stage("layers", layer, layers_[i](h, call, layer, has_window ? &window_angles : &angles));  // [B,T,D]
  }
  call.Finish();
  h = Stage("norm", norm_(h));                                                              // [B,T,D]
  const Tensor asked = call.Asked(h);                                                       // [B,T,D] or [B,1,D]
  Tensor logits = lm_head_ ? (*lm_head_)(asked) : tied_head_(asked, embed_tokens_.weight);  // [B,T,V] or [B,1,V]
  if (options_.logit_softcap > 0) {
    const auto cap = static_cast<float>(options_.logit_softcap);
    logits = Tanh(logits / cap) * cap;
  }
  return {.hidden = h, .logits = logits};
}

void CausalLmConfig::Read(const base::Config& c, std::string_view who, std::string_view architecture) {
  constexpr double kMostSize = 1 << 20;
  std::vector<std::string> architectures;
  c.Read("architectures", architectures);
  if (!architectures.empty() && architectures[0] != architecture) {
    Fail(ErrorCode::kUnimplemented, "[", who, "] the architecture \"", base::PrintableUtf8(architectures[0]),
         "\" is not implemented; there is ", architecture);
  }
  c.Read("vocab_size", vocab_size, 1, 1 << 24);
  c.Read("hidden_size", hidden_size, 1, kMostSize);
  c.Read("intermediate_size", intermediate_size, 1, kMostSize);
  c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
  c.Read("num_attention_heads", num_attention_heads, 1, 65536);
  if (c.Has("num_key_value_heads")) c.Read("num_key_value_heads", num_key_value_heads, 1, 65536);
  if (c.Has("head_dim")) c.Read("head_dim", head_dim, 1, 65536);
  c.Read("max_position_embeddings", max_position_embeddings, 1, 1e9);
  c.Read("rms_norm_eps", rms_norm_eps, 0, 1);
  c.Read("attention_dropout", attention_dropout, 0, 0.99);
  c.Read("hidden_act", hidden_act);
  c.Read("tie_word_embeddings", tie_word_embeddings);
  if (num_key_value_heads == 0) num_key_value_heads = num_attention_heads;
  if (head_dim == 0) {
    Require(hidden_size % num_attention_heads == 0, "[", who, "] expected a number of heads that divides the width ",
            hidden_size, ", got ", num_attention_heads);
    head_dim = hidden_size / num_attention_heads;
  }
}

std::vector<int64_t> ReadWindows(const base::Config& c, std::string_view who, int64_t layers, int64_t window,
                                 const std::function<bool(int64_t)>& has_window) {
  std::vector<std::string> types;
  c.Read("layer_types", types);
  Require(types.empty() || static_cast<int64_t>(types.size()) == layers, "[", who, "] expected layer_types of ", layers,
          " layers, got ", types.size());
  std::vector<int64_t> windows;
  for (int64_t i = 0; i < layers; ++i) {
    const std::string type = !types.empty()  ? types[static_cast<size_t>(i)]
                             : has_window(i) ? "sliding_attention"
                                             : "full_attention";
    if (type != "sliding_attention" && type != "full_attention") {
      Fail(ErrorCode::kUnimplemented, "[", who, "] layers of type \"", base::PrintableUtf8(type),
           "\" are not implemented; there are full_attention and sliding_attention");
    }
    const bool slides = type == "sliding_attention";
    Require(!slides || window > 0, "[", who, "] expected sliding_window for the layers that slide");
    windows.push_back(slides ? window : 0);
  }
  return windows;
}

CausalLmOptions CausalLmConfig::Options(std::string_view who, const DecoderBlockNames& names,
                                        const RopeOptions& rope) const {
  CausalLmOptions o{.who = std::string(who),
                    .block = {.dim = hidden_size,
                              .heads = num_attention_heads,
                              .kv_heads = num_key_value_heads,
                              .head_dim = head_dim,
                              .ffn = intermediate_size,
                              .act = ActFromName(hidden_act, who),
                              .norm = {.kind = NormKind::kRms, .eps = rms_norm_eps},
                              .attention_dropout = attention_dropout},
                    .names = &names,
                    .rope = rope,
                    .is_tied = tie_word_embeddings};
  o.spec.layers = num_hidden_layers;
  o.spec.vocab = vocab_size;
  o.spec.max_positions = max_position_embeddings;
  CheckBlock(o.block, who);
  return o;
}

std::vector<int64_t> ReadUpperWindows(const base::Config& config, std::string_view who, int64_t layers) {
  bool use_sliding_window = false;
  int64_t sliding_window = 4096, max_window_layers = 28;
  config.Read("use_sliding_window", use_sliding_window);
  config.Read("sliding_window", sliding_window, 1, 1e9);
  config.Read("max_window_layers", max_window_layers, 0, 1e6);
  if (!use_sliding_window || config.IsNull("sliding_window")) sliding_window = 0;
  return ReadWindows(config, who, layers, sliding_window,
                     [&](int64_t layer) { return sliding_window > 0 && layer >= max_window_layers; });
}

}  // namespace fovea::nn
