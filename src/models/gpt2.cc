// GPT-2: a decoder with learnt positions and LayerNorm before each part. With cross-attention it writes captions for an
// encoder of pictures (ViT + GPT-2).
//
// Paper: Radford et al. 2019, Language Models are Unsupervised Multitask Learners.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/gpt2/modeling_gpt2.py
//
// Weights lie transposed, [I,O], in these checkpoints. Not covered: the heads for multiple choice and for classes,
// token_type_ids.
//
// Legend: B rows, T tokens, D width, V vocabulary.
#include <cmath>

#include "nn/decoder.h"
#include "nn/embedding.h"
#include "nn/entry.h"
#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"

namespace fovea::models {
namespace {

constexpr nn::DecoderBlockNames kNames = {.qkv = "attn.c_attn",
                                          .out = "attn.c_proj",
                                          .norm1 = "ln_1",
                                          .up = "mlp.c_fc",
                                          .down = "mlp.c_proj",
                                          .norm2 = "ln_2"};
constexpr nn::DecoderBlockNames kCrossNames = {.qkv = "attn.c_attn",
                                               .out = "attn.c_proj",
                                               .norm1 = "ln_1",
                                               .cross_q = "crossattention.q_attn",
                                               .cross_kv = "crossattention.c_attn",
                                               .cross_out = "crossattention.c_proj",
                                               .cross_norm = "ln_cross_attn",
                                               .up = "mlp.c_fc",
                                               .down = "mlp.c_proj",
                                               .norm2 = "ln_2"};

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t vocab_size = 50257, n_positions = 1024, n_embd = 768, n_layer = 12, n_head = 12, n_inner = 0;
  std::string activation_function = "gelu_new";
  double resid_pdrop = 0.1, embd_pdrop = 0.1, attn_pdrop = 0.1, layer_norm_epsilon = 1e-5;
  bool scale_attn_weights = true, scale_attn_by_inverse_layer_idx = false, add_cross_attention = false;
  bool tie_word_embeddings = true;
  DecoderSpec spec;

  explicit Config(const base::Config& c) {
    constexpr double kMostSize = 1 << 20;
    std::vector<std::string> architectures;
    c.Read("architectures", architectures);
    if (!architectures.empty() && architectures[0] != "GPT2LMHeadModel") {
      Fail(ErrorCode::kUnimplemented, "[gpt2] the architecture \"", base::PrintableUtf8(architectures[0]),
           "\" is not implemented; there is GPT2LMHeadModel");
    }
    c.Read("vocab_size", vocab_size, 1, 1 << 24);
    c.Read("n_positions", n_positions, 1, 1 << 24);
    c.Read("n_embd", n_embd, 1, kMostSize);
    c.Read("n_layer", n_layer, 0, 1000);
    c.Read("n_head", n_head, 1, 65536);
    if (c.Has("n_inner")) c.Read("n_inner", n_inner, 1, kMostSize);
    c.Read("activation_function", activation_function);
    c.Read("resid_pdrop", resid_pdrop, 0, 0.99);
    c.Read("embd_pdrop", embd_pdrop, 0, 0.99);
    c.Read("attn_pdrop", attn_pdrop, 0, 0.99);
    c.Read("layer_norm_epsilon", layer_norm_epsilon, 0, 1);
    c.Read("scale_attn_weights", scale_attn_weights);
    c.Read("scale_attn_by_inverse_layer_idx", scale_attn_by_inverse_layer_idx);
    c.Read("add_cross_attention", add_cross_attention);
    c.Read("tie_word_embeddings", tie_word_embeddings);
    Require(n_embd % n_head == 0, "[gpt2] expected a number of heads that divides the width ", n_embd, ", got ",
            n_head);
    if (n_inner == 0) n_inner = 4 * n_embd;
    spec.layers = n_layer;
    spec.kv_heads = n_head;
    spec.key_dim = spec.value_dim = n_embd / n_head;
    spec.hidden_size = n_embd;
    spec.vocab = vocab_size;
    spec.max_positions = n_positions;
    spec.memory_size = add_cross_attention ? n_embd : 0;
    spec.bos = 50256;
    spec.eos = {50256};
    spec.ReadSpecialTokens(c);
  }

  nn::DecoderBlockOptions Block(int64_t layer) const {
    float scale = scale_attn_weights ? 1.0f / std::sqrt(static_cast<float>(n_embd / n_head)) : 1.0f;
    if (scale_attn_by_inverse_layer_idx) scale /= static_cast<float>(layer + 1);
    return {.dim = n_embd,
            .heads = n_head,
            .kv_heads = n_head,
            .head_dim = n_embd / n_head,
            .ffn = n_inner,
            .memory_dim = n_embd,
            .act = ActFromName(activation_function, "gpt2"),
            .norm = {.kind = nn::NormKind::kLayerNorm, .eps = layer_norm_epsilon},
            .has_qkv_bias = true,
            .has_out_bias = true,
            .has_mlp_bias = true,
            .is_transposed = true,
            .scale = scale,
            .dropout = resid_pdrop,
            .attention_dropout = attn_pdrop};
  }
};

// ---- modules
struct Gpt2 {
  Config config;
  nn::Embedding wte, wpe;
  nn::List<nn::DecoderBlock> h;
  nn::Norm ln_f;
  nn::Optional<nn::Linear> lm_head;
  nn::TiedLinear tied_head;

  explicit Gpt2(const Config& c)
      : config(c),
        wte(c.vocab_size, c.n_embd),
        wpe(c.n_positions, c.n_embd),
        ln_f(c.n_embd, {.kind = nn::NormKind::kLayerNorm, .eps = c.layer_norm_epsilon}) {
    for (int64_t i = 0; i < c.n_layer; ++i) h.emplace_back(c.Block(i), c.add_cross_attention ? kCrossNames : kNames);
    if (!c.tie_word_embeddings)
      lm_head.emplace(nn::LinearOptions{.in_features = c.n_embd, .out_features = c.vocab_size, .has_bias = false});
  }

  void Visit(nn::Visitor& v) {
    v("transformer.wte", wte);
    v("transformer.wpe", wpe);
    v("transformer.h", h);
    v("transformer.ln_f", ln_f);
    v("lm_head", lm_head);
  }

  DecoderSpec Decoder() const { return config.spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return wte(ids); }  // [B,T,D]

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    const nn::DecodeCall call(inputs, config.spec, "gpt2");
    const Tensor words = inputs.ids.defined() ? wte(inputs.ids) : inputs.embeddings;                     // [B,T,D]
    Tensor x = nn::Stage("embeddings", Dropout(words + wpe(call.TablePositions()), config.embd_pdrop));  // [B,T,D]
    for (size_t i = 0; i < h.size(); ++i) {
      const auto layer = static_cast<int64_t>(i);
      x = nn::Stage("layers", layer, h[i](x, call, layer));  // [B,T,D]
    }
    call.Finish();
    x = nn::Stage("norm", ln_f(x));                                                              // [B,T,D]
    const Tensor asked = call.Asked(x);                                                          // [B,T,D] or [B,1,D]
    return {.hidden = x, .logits = lm_head ? (*lm_head)(asked) : tied_head(asked, wte.weight)};  // [B,T,V] or [B,1,V]
  }
};

// ---- names in the first checkpoints, which have no prefix; buffers; the head's copy of the words
constexpr Rename kRenames[] = {{"^wte.", "transformer.wte."},
                               {"^wpe.", "transformer.wpe."},
                               {"^h.", "transformer.h."},
                               {"^ln_f.", "transformer.ln_f."}};
constexpr std::string_view kUnused[] = {"*.attn.bias", "*.attn.masked_bias", "*.crossattention.bias",
                                        "*.crossattention.masked_bias", "lm_head.weight"};

}  // namespace

const Entry& gpt2_entry() {
  static const Entry entry{
      .model_type = "gpt2",
      .card = {.title = "GPT-2",
               .paper = "Radford et al. 2019",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/gpt2/"
                            "modeling_gpt2.py",
               .tasks = "text generation, captions beside an encoder of pictures"},
      .create = [](const base::Config& config) { return MakeModel(Gpt2(Config(config))); },
      .input_spec = nullptr,
      .renames = kRenames,
      .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
