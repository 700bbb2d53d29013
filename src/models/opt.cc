// OPT: a decoder with learnt positions that start at two, and ReLU. The one of 350 million parameters has its norms
// after each part and vectors of words narrower than its width.
//
// Paper: Zhang et al. 2022, OPT: Open Pre-trained Transformer Language Models, arXiv 2205.01068.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/opt/modeling_opt.py
//
// Not covered: layerdrop, norms without weights, classifiers and answer spans on the same trunk.
//
// Legend: B rows, T tokens, D width, W width of the vectors of words, V vocabulary.
#include "nn/decoder.h"
#include "nn/embedding.h"
#include "nn/entry.h"
#include "nn/stage.h"
#include "ops/arithmetic.h"

namespace fovea::models {
namespace {

constexpr nn::DecoderBlockNames kNames = {.q = "self_attn.q_proj",
                                          .k = "self_attn.k_proj",
                                          .v = "self_attn.v_proj",
                                          .out = "self_attn.out_proj",
                                          .norm1 = "self_attn_layer_norm",
                                          .up = "fc1",
                                          .down = "fc2",
                                          .norm2 = "final_layer_norm"};
constexpr int64_t kOffset = 2;  // rows of the table of positions that no token uses
constexpr nn::NormOptions kNorm = {.kind = nn::NormKind::kLayerNorm, .eps = 1e-5};

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t vocab_size = 50272, hidden_size = 768, num_hidden_layers = 12, ffn_dim = 3072, num_attention_heads = 12;
  int64_t max_position_embeddings = 2048, word_embed_proj_dim = 0;
  bool do_layer_norm_before = true, remove_final_layer_norm = false, enable_bias = true, tie_word_embeddings = true;
  double dropout = 0.1, attention_dropout = 0;
  std::string activation_function = "relu";
  DecoderSpec spec;

  explicit Config(const base::Config& c) {
    constexpr double kMostSize = 1 << 20;
    std::vector<std::string> architectures;
    c.Read("architectures", architectures);
    if (!architectures.empty() && architectures[0] != "OPTForCausalLM") {
      Fail(ErrorCode::kUnimplemented, "[opt] the architecture \"", base::PrintableUtf8(architectures[0]),
           "\" is not implemented; there is OPTForCausalLM");
    }
    c.Read("vocab_size", vocab_size, 1, 1 << 24);
    c.Read("hidden_size", hidden_size, 1, kMostSize);
    c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
    c.Read("ffn_dim", ffn_dim, 1, kMostSize);
    c.Read("num_attention_heads", num_attention_heads, 1, 65536);
    c.Read("max_position_embeddings", max_position_embeddings, 1, 1 << 24);
    if (c.Has("word_embed_proj_dim")) c.Read("word_embed_proj_dim", word_embed_proj_dim, 1, kMostSize);
    c.Read("do_layer_norm_before", do_layer_norm_before);
    c.Read("_remove_final_layer_norm", remove_final_layer_norm);
    c.Read("enable_bias", enable_bias);
    c.Read("tie_word_embeddings", tie_word_embeddings);
    c.Read("dropout", dropout, 0, 0.99);
    c.Read("attention_dropout", attention_dropout, 0, 0.99);
    c.Read("activation_function", activation_function);
    double layerdrop = 0;
    c.Read("layerdrop", layerdrop, 0, 1);
    if (layerdrop > 0 || !c.Get<bool>("layer_norm_elementwise_affine", true))
      Fail(ErrorCode::kUnimplemented, "[opt] layerdrop and norms without weights are not implemented");
    Require(hidden_size % num_attention_heads == 0, "[opt] expected a number of heads that divides the width ",
            hidden_size, ", got ", num_attention_heads);
    if (word_embed_proj_dim == 0) word_embed_proj_dim = hidden_size;
    spec.layers = num_hidden_layers;
    spec.kv_heads = num_attention_heads;
    spec.key_dim = spec.value_dim = hidden_size / num_attention_heads;
    spec.hidden_size = word_embed_proj_dim;
    spec.vocab = vocab_size;
    spec.max_positions = max_position_embeddings;
    spec.bos = 2;
    spec.eos = {2};
    spec.pad = 1;
    spec.ReadSpecialTokens(c);
  }

  nn::DecoderBlockOptions Block() const {
    return {.dim = hidden_size,
            .heads = num_attention_heads,
            .kv_heads = num_attention_heads,
            .head_dim = hidden_size / num_attention_heads,
            .ffn = ffn_dim,
            .act = ActFromName(activation_function, "opt"),
            .norm = kNorm,
            .has_qkv_bias = enable_bias,
            .has_out_bias = enable_bias,
            .has_mlp_bias = enable_bias,
            .is_pre_norm = do_layer_norm_before,
            .dropout = dropout,
            .attention_dropout = attention_dropout};
  }
};

// ---- modules
struct Opt {
  Config config;
  nn::Embedding embed_tokens, embed_positions;
  nn::Optional<nn::Linear> project_in, project_out, lm_head;
  nn::List<nn::DecoderBlock> layers;
  nn::Optional<nn::Norm> final_layer_norm;
  nn::TiedLinear tied_head;

  explicit Opt(const Config& c)
      : config(c),
        embed_tokens(c.vocab_size, c.word_embed_proj_dim),
        embed_positions(c.max_position_embeddings + kOffset, c.hidden_size) {
    const auto plain = [](int64_t in, int64_t out) {
      return nn::LinearOptions{.in_features = in, .out_features = out, .has_bias = false};
    };
    if (c.word_embed_proj_dim != c.hidden_size) {
      project_in.emplace(plain(c.word_embed_proj_dim, c.hidden_size));
      project_out.emplace(plain(c.hidden_size, c.word_embed_proj_dim));
    }
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers.emplace_back(c.Block(), kNames);
    if (c.do_layer_norm_before && !c.remove_final_layer_norm) final_layer_norm.emplace(c.hidden_size, kNorm);
    if (!c.tie_word_embeddings) lm_head.emplace(plain(c.word_embed_proj_dim, c.vocab_size));
  }

  void Visit(nn::Visitor& v) {
    v("model.decoder.embed_tokens", embed_tokens);
    v("model.decoder.embed_positions", embed_positions);
    v("model.decoder.project_in", project_in);
    v("model.decoder.project_out", project_out);
    v("model.decoder.layers", layers);
    v("model.decoder.final_layer_norm", final_layer_norm);
    v("lm_head", lm_head);
  }

  DecoderSpec Decoder() const { return config.spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return embed_tokens(ids); }  // [B,T,W]

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    const nn::DecodeCall call(inputs, config.spec, "opt");
    const Tensor words = inputs.ids.defined() ? embed_tokens(inputs.ids) : inputs.embeddings;  // [B,T,W]
    const Tensor places = embed_positions(call.TablePositions(kOffset));                       // [B,T,D]
    Tensor h = nn::Stage("embeddings", (project_in ? (*project_in)(words) : words) + places);  // [B,T,D]
    for (size_t i = 0; i < layers.size(); ++i) {
      const auto layer = static_cast<int64_t>(i);
      h = nn::Stage("layers", layer, layers[i](h, call, layer));  // [B,T,D]
    }
    call.Finish();
    if (final_layer_norm) h = nn::Stage("norm", (*final_layer_norm)(h));  // [B,T,D]
    if (project_out) h = (*project_out)(h);                               // [B,T,W]
    const Tensor asked = call.Asked(h);                                   // [B,T,W] or [B,1,W]
    return {.hidden = h,
            .logits = lm_head ? (*lm_head)(asked) : tied_head(asked, embed_tokens.weight)};  // [B,T,V] or [B,1,V]
  }
};

// Checkpoints of the trunk alone, and the head's copy of the words.
constexpr Rename kRenames[] = {{"^decoder.", "model.decoder."}};
constexpr std::string_view kUnused[] = {"lm_head.weight"};

}  // namespace

const Entry& opt_entry() {
  static const Entry entry{
      .model_type = "opt",
      .card = {.title = "OPT",
               .paper = "Zhang et al. 2022, arXiv 2205.01068",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/opt/"
                            "modeling_opt.py",
               .tasks = "text generation"},
      .create = [](const base::Config& config) { return MakeModel(Opt(Config(config))); },
      .input_spec = nullptr,
      .renames = kRenames,
      .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
