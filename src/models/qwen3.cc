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

constexpr nn::DecoderBlockNames kNames = [] {
  nn::DecoderBlockNames names = nn::kLlamaBlockNames;
  names.q_norm = "self_attn.q_norm";
  names.k_norm = "self_attn.k_norm";
  return names;
}();

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
  o.windows = nn::ReadUpperWindows(c, "qwen3", o.spec.layers);
  o.spec.ReadSpecialTokens(c);
  return o;
}

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
      .unused = nn::kCausalLmUnused};
  return entry;
}

}  // namespace fovea::models
