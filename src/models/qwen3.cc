// Qwen 3: LLaMA's decoder with a norm of each query and key, and windows in the upper layers where the
// configuration asks for them.
//
// Paper: Yang et al. 2025, Qwen3 Technical Report, arXiv 2505.09388.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/qwen3/modeling_qwen3.py
//
// Not covered: mixtures of experts (qwen3_moe), classifiers on the same trunk.
//
// Legend: see nn/causal_lm.h.
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
                                          .gate = "mlp.gate_proj",
                                          .up = "mlp.up_proj",
                                          .down = "mlp.down_proj",
                                          .norm2 = "post_attention_layernorm"};

// ---- config: the keys of config.json, defaults as in transformers
nn::CausalLmOptions Options(const base::Config& c) {
  nn::CausalLmConfig config{.vocab_size = 151936,
                            .intermediate_size = 22016,
                            .num_key_value_heads = 32,
                            .head_dim = 128,
                            .max_position_embeddings = 32768};
  config.Read(c, "qwen3", "Qwen3ForCausalLM");
  nn::CausalLmOptions o = config.Options("qwen3", kNames, nn::ReadRope(c, "qwen3", {.head_dim = config.head_dim}));
  c.Read("attention_bias", o.block.has_qkv_bias);
  o.block.has_out_bias = o.block.has_qkv_bias;
  bool use_sliding_window = false;
  int64_t sliding_window = 4096, max_window_layers = 28;
  c.Read("use_sliding_window", use_sliding_window);
  c.Read("sliding_window", sliding_window, 1, 1e9);
  c.Read("max_window_layers", max_window_layers, 0, 1e6);
  if (!use_sliding_window || c.IsNull("sliding_window")) sliding_window = 0;
  o.windows = nn::ReadWindows(c, "qwen3", o.spec.layers, sliding_window,
                              [&](int64_t layer) { return sliding_window > 0 && layer >= max_window_layers; });
  o.spec.ReadSpecialTokens(c);
  return o;
}

// Buffers, and the head's copy of the words in checkpoints that tie them.
constexpr std::string_view kUnused[] = {"*.rotary_emb.inv_freq", "lm_head.weight"};

}  // namespace

const Entry& qwen3_entry() {
  static const Entry entry{
      .model_type = "qwen3",
      .card = {.title = "Qwen3",
               .paper = "Yang et al. 2025, arXiv 2505.09388",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/qwen3/"
                            "modeling_qwen3.py",
               .tasks = "text generation"},
      .create = [](const base::Config& config) { return MakeModel(nn::CausalLm(Options(config))); },
      .input_spec = nullptr,
      .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
