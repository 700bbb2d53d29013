// The decoder of Gemma 3: norms before and after each part, norms of queries and keys, windows in most layers with a
// full one now and then, two kinds of rotary positions, scaled vectors of words.
//
// Paper: Gemma Team 2025, Gemma 3 Technical Report, arXiv 2503.19786.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/gemma3/modeling_gemma3.py
//
// Not covered: attn_logit_softcapping and use_bidirectional_attention (EmbeddingGemma), which published decoders of
// this family do not use.
//
// Legend: see nn/causal_lm.h.
#include <cmath>

#include "nn/causal_lm.h"
#include "nn/entry.h"

namespace fovea::models {
namespace {

constexpr nn::DecoderBlockNames kNames = {.q = "self_attn.q_proj",
                                          .k = "self_attn.k_proj",
                                          .v = "self_attn.v_proj",
                                          .out = "self_attn.o_proj",
                                          .q_norm = "self_attn.q_norm",
                                          .k_norm = "self_attn.k_norm",
                                          .norm1 = "input_layernorm",
                                          .norm1_after = "post_attention_layernorm",
                                          .gate = "mlp.gate_proj",
                                          .up = "mlp.up_proj",
                                          .down = "mlp.down_proj",
                                          .norm2 = "pre_feedforward_layernorm",
                                          .norm2_after = "post_feedforward_layernorm"};

// ---- config: the keys of config.json, defaults as in transformers

// Of the layers with a window. Older configurations say only their base; rope_theta and rope_scaling are the others'.
nn::RopeOptions WindowRope(const base::Config& c, int64_t head_dim) {
  nn::RopeOptions rope{.rotated = head_dim, .theta = 10000};
  c.Read("rope_local_base_freq", rope.theta, 1.0001, 1e12);
  if (!c.Has("rope_parameters")) return rope;
  return nn::ReadRope(c, "gemma3", {.head_dim = head_dim, .theta = rope.theta, .layer_type = "sliding_attention"});
}

nn::CausalLmOptions Options(const base::Config& c) {
  nn::CausalLmConfig config{.vocab_size = 262208,
                            .hidden_size = 2304,
                            .intermediate_size = 9216,
                            .num_hidden_layers = 26,
                            .num_attention_heads = 8,
                            .num_key_value_heads = 4,
                            .head_dim = 256,
                            .max_position_embeddings = 131072,
                            .hidden_act = "gelu_pytorch_tanh",
                            .tie_word_embeddings = true};
  config.Read(c, "gemma3", "Gemma3ForCausalLM");
  c.Read("hidden_activation", config.hidden_act);
  const nn::RopeOptions rope =
      nn::ReadRope(c, "gemma3", {.head_dim = config.head_dim, .theta = 1e6, .layer_type = "full_attention"});
  nn::CausalLmOptions o = config.Options("gemma3", kNames, rope);
  o.block.norm.kind = nn::NormKind::kRmsPlusOne;
  c.Read("attention_bias", o.block.has_qkv_bias);
  o.block.has_out_bias = o.block.has_qkv_bias;
  double query_pre_attn_scalar = 256;
  c.Read("query_pre_attn_scalar", query_pre_attn_scalar, 1e-6, 1e9);
  o.block.scale = static_cast<float>(1 / std::sqrt(query_pre_attn_scalar));
  o.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  if (c.Has("final_logit_softcapping")) c.Read("final_logit_softcapping", o.logit_softcap, 1e-6, 1e9);
  int64_t sliding_window = 4096, pattern = 6;
  c.Read("sliding_window", sliding_window, 1, 1e9);
  c.Read("sliding_window_pattern", pattern, 1, 1e6);
  o.windows = nn::ReadWindows(c, "gemma3", o.spec.layers, c.IsNull("sliding_window") ? 0 : sliding_window,
                              [&](int64_t layer) { return (layer + 1) % pattern != 0; });
  o.window_rope = WindowRope(c, config.head_dim);
  if (c.Get<bool>("use_bidirectional_attention", false) || c.Has("attn_logit_softcapping"))
    Fail(ErrorCode::kUnimplemented,
         "[gemma3] use_bidirectional_attention and attn_logit_softcapping are not implemented");
  o.spec.bos = 2;
  o.spec.eos = {1};
  o.spec.pad = 0;
  o.spec.ReadSpecialTokens(c);
  return o;
}

constexpr std::string_view kUnused[] = {"lm_head.weight"};  // tied

}  // namespace

const Entry& gemma3_text_entry() {
  static const Entry entry{
      .model_type = "gemma3_text",
      .card = {.title = "Gemma 3, text",
               .paper = "Gemma Team 2025, arXiv 2503.19786",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/gemma3/"
                            "modeling_gemma3.py",
               .tasks = "text generation"},
      .create = [](const base::Config& config) { return MakeModel(nn::CausalLm(Options(config))); },
      .input_spec = nullptr,
      .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
