// Qwen 2 and 2.5: LLaMA's decoder with biases for queries, keys and values, and windows in the upper layers where the
// configuration asks for them.
//
// Paper: Yang et al. 2024, Qwen2 Technical Report, arXiv 2407.10671.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/qwen2/modeling_qwen2.py
//
// Not covered: mixtures of experts (qwen2_moe), classifiers on the same trunk.
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
                                          .norm1 = "input_layernorm",
                                          .gate = "mlp.gate_proj",
                                          .up = "mlp.up_proj",
                                          .down = "mlp.down_proj",
                                          .norm2 = "post_attention_layernorm"};

// ---- config: the keys of config.json, defaults as in transformers
nn::CausalLmOptions Options(const base::Config& c) {
  nn::CausalLmConfig config{
      .vocab_size = 151936, .intermediate_size = 22016, .num_key_value_heads = 32, .max_position_embeddings = 32768};
  config.Read(c, "qwen2", "Qwen2ForCausalLM");
  nn::CausalLmOptions o = config.Options("qwen2", kNames, nn::ReadRope(c, "qwen2", {.head_dim = config.head_dim}));
  o.block.has_qkv_bias = true;
  bool use_sliding_window = false;
  int64_t sliding_window = 4096, max_window_layers = 28;
  c.Read("use_sliding_window", use_sliding_window);
  c.Read("sliding_window", sliding_window, 1, 1e9);
  c.Read("max_window_layers", max_window_layers, 0, 1e6);
  if (!use_sliding_window || c.IsNull("sliding_window")) sliding_window = 0;
  o.windows = nn::ReadWindows(c, "qwen2", o.spec.layers, sliding_window,
                              [&](int64_t layer) { return sliding_window > 0 && layer >= max_window_layers; });
  o.spec.ReadSpecialTokens(c);
  return o;
}

// Buffers, and the head's copy of the words in checkpoints that tie them.
constexpr std::string_view kUnused[] = {"*.rotary_emb.inv_freq", "lm_head.weight"};

}  // namespace

const Entry& qwen2_entry() {
  static const Entry entry{
      .model_type = "qwen2",
      .card = {.title = "Qwen2",
               .paper = "Yang et al. 2024, arXiv 2407.10671",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/qwen2/"
                            "modeling_qwen2.py",
               .tasks = "text generation"},
      .create = [](const base::Config& config) { return MakeModel(nn::CausalLm(Options(config))); },
      .input_spec = nullptr,
      .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
