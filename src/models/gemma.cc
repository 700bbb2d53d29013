// Gemma (1): LLaMA's decoder with norms that scale by 1 + weight, scaled vectors of words, and heads wider than the
// model divided by their number. Also the language model of PaliGemma.
//
// Paper: Gemma Team 2024, Gemma: Open Models Based on Gemini Research and Technology, arXiv 2403.08295.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/gemma/modeling_gemma.py
//
// Not covered: use_bidirectional_attention, which makes an encoder of it; Gemma 2, whose scores are capped.
//
// Legend: see nn/causal_lm.h.
#include <cmath>

#include "nn/causal_lm.h"
#include "nn/entry.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json, defaults as in transformers
nn::CausalLmOptions Options(const base::Config& c) {
  nn::CausalLmConfig config{.vocab_size = 256000,
                            .hidden_size = 3072,
                            .intermediate_size = 24576,
                            .num_hidden_layers = 28,
                            .num_attention_heads = 16,
                            .num_key_value_heads = 16,
                            .head_dim = 256,
                            .max_position_embeddings = 8192,
                            .hidden_act = "gelu_pytorch_tanh",
                            .tie_word_embeddings = true};
  config.Read(c, "gemma", "GemmaForCausalLM");
  // The first configurations said gelu and meant its approximation.
  if (config.hidden_act == "gelu") config.hidden_act = "gelu_pytorch_tanh";
  if (c.Has("hidden_activation")) c.Read("hidden_activation", config.hidden_act);
  nn::CausalLmOptions o =
      config.Options("gemma", nn::kLlamaBlockNames, nn::ReadRope(c, "gemma", {.head_dim = config.head_dim}));
  o.block.norm.kind = nn::NormKind::kRmsPlusOne;
  c.Read("attention_bias", o.block.has_qkv_bias);
  o.block.has_out_bias = o.block.has_qkv_bias;
  o.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  if (c.Has("use_bidirectional_attention") && c.Get<bool>("use_bidirectional_attention", false))
    Fail(ErrorCode::kUnimplemented, "[gemma] use_bidirectional_attention is not implemented");
  o.spec.bos = 2;
  o.spec.eos = {1};
  o.spec.pad = 0;
  o.spec.ReadSpecialTokens(c);
  return o;
}

}  // namespace

const Entry& gemma_entry() {
  static const Entry entry{
      .model_type = "gemma",
      .card = {.title = "Gemma",
               .paper = "Gemma Team 2024, arXiv 2403.08295",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/gemma/"
                            "modeling_gemma.py",
               .tasks = "text generation"},
      .create = [](const base::Config& config) { return MakeModel(nn::CausalLm(Options(config))); },
      .input_spec = nullptr,
      .unused = nn::kCausalLmUnused};
  return entry;
}

}  // namespace fovea::models
