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

// ---- config: the keys of config.json, defaults as in transformers
nn::CausalLmOptions Options(const base::Config& c) {
  nn::CausalLmConfig config{
      .vocab_size = 151936, .intermediate_size = 22016, .num_key_value_heads = 32, .max_position_embeddings = 32768};
  config.Read(c, "qwen2", "Qwen2ForCausalLM");
  nn::CausalLmOptions o =
      config.Options("qwen2", nn::kLlamaBlockNames, nn::ReadRope(c, "qwen2", {.head_dim = config.head_dim}));
  o.block.has_qkv_bias = true;
  o.windows = nn::ReadUpperWindows(c, "qwen2", o.spec.layers);
  o.spec.ReadSpecialTokens(c);
  return o;
}

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
      .unused = nn::kCausalLmUnused};
  return entry;
}

}  // namespace fovea::models
