// BLIP-2: BLIP's vision tower, a small transformer whose learnt queries ask the picture (the Q-Former), and a language
// model that reads what they found before its text. The language model is any of ours: OPT, or T5, whose encoder then
// reads both.
//
// Paper: Li et al. 2023, BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large
// Language Models, arXiv 2301.12597. Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/blip_2/modeling_blip_2.py
//
// The vectors of a picture stand before the text, where the reference's processor puts image_token_index. Not covered:
// the Q-Former reading texts (Blip2ForImageTextRetrieval).
//
// Legend: B rows, N vectors of a picture, W their width, Q queries, E width of the Q-Former, D of the language model.
#include "nn/blip_vision.h"
#include "nn/part.h"
#include "ops/dropout.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "blip-2";

constexpr nn::DecoderBlockNames QFormerNames(bool asks) {
  return {.q = "attention.attention.query",
          .k = "attention.attention.key",
          .v = "attention.attention.value",
          .out = "attention.output.dense",
          .norm1 = "attention.output.LayerNorm",
          .cross_q = asks ? "crossattention.attention.query" : "",
          .cross_k = asks ? "crossattention.attention.key" : "",
          .cross_v = asks ? "crossattention.attention.value" : "",
          .cross_out = asks ? "crossattention.output.dense" : "",
          .cross_norm = asks ? "crossattention.output.LayerNorm" : "",
          .up = "intermediate_query.dense",
          .down = "output_query.dense",
          .norm2 = "output_query.LayerNorm"};
}
constexpr nn::DecoderBlockNames kQFormerNames[] = {QFormerNames(false), QFormerNames(true)};

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  BlipVisionConfig vision;
  base::Config text;
  int64_t num_query_tokens = 32;
  int64_t hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t cross_attention_frequency = 2;  // every so many layers of the Q-Former look at the picture, the first one too
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, layer_norm_eps = 1e-12;
  std::string hidden_act = "gelu";

  explicit Config(const base::Config& c) : text(PartConfig(c, "text_config", "opt", kWho)) {
    constexpr double kMostSize = 1 << 20;
    const auto architectures = c.Get<std::vector<std::string>>("architectures", {});
    if (!architectures.empty() && architectures[0] != "Blip2ForConditionalGeneration") {
      Fail(ErrorCode::kUnimplemented, "[blip-2] the architecture \"", base::PrintableUtf8(architectures[0]),
           "\" is not implemented; there is Blip2ForConditionalGeneration");
    }
    const auto part = [&](const char* key) {
      return c.Has(key) ? c.Object(key) : base::Config::Parse("{}", c.source());
    };
    vision.hidden_size = 1408;
    vision.intermediate_size = 6144;
    vision.num_hidden_layers = 39;
    vision.num_attention_heads = 16;
    vision.image_size = 224;
    vision.patch_size = 14;
    vision.layer_norm_eps = 1e-6;
    vision.Read(part("vision_config"), kWho);
    c.Read("num_query_tokens", num_query_tokens, 1, 65536);
    const base::Config keys = part("qformer_config");
    keys.Read("hidden_size", hidden_size, 1, kMostSize);
    keys.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
    keys.Read("num_attention_heads", num_attention_heads, 1, 65536);
    keys.Read("intermediate_size", intermediate_size, 1, kMostSize);
    keys.Read("cross_attention_frequency", cross_attention_frequency, 1, 1000);
    keys.Read("hidden_dropout_prob", hidden_dropout_prob, 0, 0.99);
    keys.Read("attention_probs_dropout_prob", attention_probs_dropout_prob, 0, 0.99);
    keys.Read("layer_norm_eps", layer_norm_eps, 0, 1);
    keys.Read("hidden_act", hidden_act);
    if (keys.Get<bool>("use_qformer_text_input", false))
      Fail(ErrorCode::kUnimplemented,
           "[blip-2] a Q-Former that reads texts (use_qformer_text_input) is not implemented");
    Require(hidden_size % num_attention_heads == 0,
            "[blip-2] expected a number of heads that divides the width of the ", "Q-Former, ", hidden_size, ", got ",
            num_attention_heads);
  }

  nn::DecoderBlockOptions Block() const {
    return {.dim = hidden_size,
            .heads = num_attention_heads,
            .kv_heads = num_attention_heads,
            .head_dim = hidden_size / num_attention_heads,
            .ffn = intermediate_size,
            .memory_dim = vision.hidden_size,
            .act = ActFromName(hidden_act, "blip-2"),
            .norm = {.kind = nn::NormKind::kLayerNorm, .eps = layer_norm_eps},
            .has_qkv_bias = true,
            .has_out_bias = true,
            .has_mlp_bias = true,
            .is_pre_norm = false,
            .dropout = hidden_dropout_prob,
            .attention_dropout = attention_probs_dropout_prob};
  }
};

// ---- modules
struct QFormer {
  DecoderSpec spec;
  double dropout;
  nn::LayerNorm layernorm;
  nn::List<nn::DecoderBlock> layer;

  explicit QFormer(const Config& c) : dropout(c.hidden_dropout_prob), layernorm(c.hidden_size, c.layer_norm_eps) {
    spec.hidden_size = c.hidden_size;
    spec.memory_size = c.vision.hidden_size;
    for (int64_t i = 0; i < c.num_hidden_layers; ++i)
      layer.emplace_back(c.Block(), kQFormerNames[i % c.cross_attention_frequency == 0 ? 1 : 0]);
  }

  void Visit(nn::Visitor& v) {
    v("layernorm", layernorm);
    v("encoder.layer", layer);
  }

  // queries [B,Q,E], pictures [B,N,W] -> [B,Q,E].
  Tensor operator()(const Tensor& queries, const Tensor& pictures) const {
    Tensor h = Dropout(layernorm(queries), dropout);
    const DecodeInputs given{.embeddings = h, .memory = pictures};
    nn::DecodeCall call(given, spec, kWho);
    call.is_causal = false;
    for (size_t i = 0; i < layer.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      h = nn::Stage("qformer.layers", index, layer[i](h, call, index));  // [B,Q,E]
    }
    return h;
  }
};

struct Blip2 {
  BlipVisionTower vision_model;
  nn::Parameter query_tokens;  // [1,Q,E]
  QFormer qformer;
  Part language_model;
  nn::Linear language_projection;
  DecoderSpec spec;

  explicit Blip2(const Config& c)
      : vision_model(c.vision),
        query_tokens(Shape{1, c.num_query_tokens, c.hidden_size}),
        qformer(c),
        language_model(c.text, kWho, "language."),
        language_projection({.in_features = c.hidden_size, .out_features = language_model.Decoder().hidden_size}),
        spec(language_model.Decoder()) {
    Require(spec.memory_size == 0 || spec.is_encoder_decoder,
            "[blip-2] expected a language model that reads its text itself, or with an encoder");
    spec.pictures = spec.is_encoder_decoder ? PicturePlace::kEncoder : PicturePlace::kBefore;
  }

  void Visit(nn::Visitor& v) {
    v("vision_model", vision_model);
    v("query_tokens", query_tokens);
    v("qformer", qformer);
    v("language_projection", language_projection);
    v("language_model", language_model);
  }

  Tensor EmbedImages(const Tensor& pixels) const {  // [B,Q,D]
    const Tensor seen = vision_model(pixels);       // [B,N,W]
    const Shape& queries = query_tokens.shape();
    const Tensor found = qformer(Expand(query_tokens, {seen.dim(0), queries[1], queries[2]}), seen);  // [B,Q,E]
    return nn::Stage("pictures", language_projection(found));                                         // [B,Q,D]
  }

  bool CanEncodeTexts() const { return spec.is_encoder_decoder; }
  int64_t FeatureSize() const { return spec.is_encoder_decoder ? spec.hidden_size : 0; }
  TextSpec Texts() const { return language_model.model().Texts(); }
  TextOutputs EncodeTexts(const TextInputs& inputs) const { return language_model.EncodeTexts(inputs); }
  DecoderSpec Decoder() const { return spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return language_model.EmbedTokens(ids); }
  DecodeOutputs Decode(const DecodeInputs& inputs) const { return language_model.Decode(inputs); }
};

// CLIP's mean and deviation, stretched to a square.
media::PreprocessSpec InputSpec(const base::Config& config) {
  const int64_t side = Config(config).vision.image_size;
  media::PreprocessSpec spec = ClipPreprocess(side);
  spec.size = {.height = side, .width = side};
  spec.do_center_crop = false;
  return spec;
}

constexpr std::string_view kUnused[] = {"*.position_ids"};

}  // namespace

const Entry& blip_2_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "BLIP-2",
               .paper = "Li et al. 2023, arXiv 2301.12597",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/blip_2/"
                            "modeling_blip_2.py",
               .tasks = "captions, answers about pictures"},
      .create = [](const base::Config& config) { return MakeModel(Blip2(Config(config))); },
      .input_spec = InputSpec,
      .unused = kUnused,
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AdaptPart(tensors, "language_model", Config(config).text); },
      .amend =
          [](const base::Config& config, std::span<const NamedTensor> tensors) {
            const base::Config text = AmendPart(Config(config).text, "language_model", tensors);
            return base::Config::Parse(base::StrCat("{\"text_config\": ", text.Text(), "}"), config.source())
                .MergedOver(config);
          }};
  return entry;
}

}  // namespace fovea::models
