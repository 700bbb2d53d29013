// LLaMA and those that were built like it: LLaMA 1 to 3, TinyLlama, SmolLM, Vicuna, Mistral. A decoder with rotary
// positions, RMS norms before each part, a gated MLP, and fewer key heads than query heads.
//
// Papers: Touvron et al. 2023, LLaMA, arXiv 2302.13971; Grattafiori et al. 2024, The Llama 3 Herd of Models, arXiv
// 2407.21783; Jiang et al. 2023, Mistral 7B, arXiv 2310.06825.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/llama/modeling_llama.py
//
// Not covered: classifiers and answer spans on the same trunk; rotary positions of kind "dynamic" and "longrope".
//
// Legend: see nn/causal_lm.h.
#include "nn/causal_lm.h"
#include "nn/entry.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json, defaults as in transformers
nn::CausalLmOptions Options(const base::Config& c) {
  const bool is_mistral = c.Get<std::string>("model_type", "llama") == "mistral";
  nn::CausalLmConfig config;
  if (is_mistral) {
    config.intermediate_size = 14336;
    config.num_key_value_heads = 8;
    config.max_position_embeddings = 4096 * 32;
  }
  config.Read(c, "llama", is_mistral ? "MistralForCausalLM" : "LlamaForCausalLM");
  nn::CausalLmOptions o =
      config.Options("llama", nn::kLlamaBlockNames, nn::ReadRope(c, "llama", {.head_dim = config.head_dim}));
  if (is_mistral) {
    if (!c.IsNull("sliding_window")) o.block.window = 4096;  // null: no window
    if (c.Has("sliding_window")) c.Read("sliding_window", o.block.window, 1, 1e9);
  } else {
    c.Read("attention_bias", o.block.has_qkv_bias);
    c.Read("mlp_bias", o.block.has_mlp_bias);
    o.block.has_out_bias = o.block.has_qkv_bias;
  }
  o.spec.bos = 1;
  o.spec.eos = {2};
  o.spec.ReadSpecialTokens(c);
  return o;
}

constexpr std::string_view kAliases[] = {"mistral"};

}  // namespace

const Entry& llama_entry() {
  static const Entry entry{
      .model_type = "llama",
      .aliases = kAliases,
      .card = {.title = "LLaMA",
               .paper = "Touvron et al. 2023, arXiv 2302.13971",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/llama/"
                            "modeling_llama.py",
               .tasks = "text generation"},
      .create = [](const base::Config& config) { return MakeModel(nn::CausalLm(Options(config))); },
      .input_spec = nullptr,
      .unused = nn::kCausalLmUnused};
  return entry;
}

}  // namespace fovea::models
