// BLIP-2: a frozen vision tower, a Q-Former whose learnt queries gather from it what a language model should hear, and
// a language model: a decoder (OPT) that reads the queries before the text, or an encoder-decoder (T5) whose encoder
// does.
//
// Paper: Li et al. 2023, BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language
// Models, arXiv 2301.12597.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/blip_2/modeling_blip_2.py
//
// The reference's placeholders (image_token_index) always stand before the text, so here the queries simply do. Not
// covered: features and image-text matching (Blip2ForImageTextRetrieval, Blip2Model), text in the Q-Former.
//
// Legend: B rows, N vectors of the tower, W their width, Q queries, F width of the Q-Former, D of the language model.
#include "nn/blip_vision.h"
#include "nn/linear.h"
#include "nn/part.h"
#include "ops/dropout.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "blip-2";

constexpr nn::DecoderBlockNames Names(bool has_cross_attention) {
  nn::DecoderBlockNames names = {.q = "attention.attention.query",
                                 .k = "attention.attention.key",
                                 .v = "attention.attention.value",
                                 .out = "attention.output.dense",
                                 .norm1 = "attention.output.LayerNorm",
                                 .up = "intermediate_query.dense",
                                 .down = "output_query.dense",
                                 .norm2 = "output_query.LayerNorm"};
  if (!has_cross_attention) return names;
  names.cross_q = "crossattention.attention.query";
  names.cross_k = "crossattention.attention.key";
  names.cross_v = "crossattention.attention.value";
  names.cross_out = "crossattention.output.dense";
  names.cross_norm = "crossattention.output.LayerNorm";
  return names;
}
constexpr nn::DecoderBlockNames kNames[] = {Names(false), Names(true)};

// ---- config: the keys of config.json, defaults as in transformers
base::Config Keys(const base::Config& c, const char* key) {
  return c.Has(key) ? c.Object(key) : base::Config::Parse("{}", c.source());
}

struct QFormerConfig {
  int64_t hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t cross_attention_frequency = 2;
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, layer_norm_eps = 1e-12;
  std::string hidden_act = "gelu";

  explicit QFormerConfig(const base::Config& c) {
    c.Read("hidden_size", hidden_size, 1, 1 << 20);
    c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
    c.Read("num_attention_heads", num_attention_heads, 1, 65536);
    c.Read("intermediate_size", intermediate_size, 1, 1 << 20);
    c.Read("cross_attention_frequency", cross_attention_frequency, 1, 1000);
    c.Read("hidden_dropout_prob", hidden_dropout_prob, 0, 0.99);
    c.Read("attention_probs_dropout_prob", attention_probs_dropout_prob, 0, 0.99);
    c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
    c.Read("hidden_act", hidden_act);
    if (c.Get<bool>("use_qformer_text_input", false))
      Fail(ErrorCode::kUnimplemented, "[blip-2] text in the Q-Former (use_qformer_text_input) is not implemented");
    Require(hidden_size % num_attention_heads == 0, "[blip-2] expected a number of heads that divides the width ",
            hidden_size, ", got ", num_attention_heads);
  }

  nn::DecoderBlockOptions Block(int64_t memory_size) const {
    return {.dim = hidden_size,
            .heads = num_attention_heads,
            .kv_heads = num_attention_heads,
            .head_dim = hidden_size / num_attention_heads,
            .ffn = intermediate_size,
            .memory_dim = memory_size,
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

struct Config {
  BlipVisionConfig vision;
  QFormerConfig qformer;
  base::Config text;
  int64_t num_query_tokens = 32;

  explicit Config(const base::Config& c)
      : qformer(Keys(c, "qformer_config")), text(PartConfig(c, "text_config", "opt", kWho, {"opt", "t5"})) {
    std::vector<std::string> architectures;
    c.Read("architectures", architectures);
    if (!architectures.empty() && architectures[0] != "Blip2ForConditionalGeneration") {
      Fail(ErrorCode::kUnimplemented, "[blip-2] the architecture \"", base::PrintableUtf8(architectures[0]),
           "\" is not implemented; there is Blip2ForConditionalGeneration");
    }
    vision.hidden_size = 1408;
    vision.intermediate_size = 6144;
    vision.num_hidden_layers = 39;
    vision.num_attention_heads = 16;
    vision.image_size = 224;
    vision.patch_size = 14;
    vision.layer_norm_eps = 1e-6;
    vision.Read(Keys(c, "vision_config"), kWho);
    c.Read("num_query_tokens", num_query_tokens, 1, 65536);
  }
};

// ---- modules
struct QFormer {
  DecoderSpec spec;
  double dropout;
  nn::LayerNorm layernorm;
  nn::List<nn::DecoderBlock> layer;

  QFormer(const QFormerConfig& c, int64_t memory_size)
      : dropout(c.hidden_dropout_prob), layernorm(c.hidden_size, c.layer_norm_eps) {
    spec.hidden_size = c.hidden_size;
    spec.memory_size = memory_size;
    for (int64_t i = 0; i < c.num_hidden_layers; ++i)
      layer.emplace_back(c.Block(memory_size), kNames[i % c.cross_attention_frequency == 0 ? 1 : 0]);
  }
  void Visit(nn::Visitor& v) {
    v("layernorm", layernorm);
    v("encoder.layer", layer);
  }

  // queries [B,Q,F], memory [B,N,W] -> [B,Q,F]
  Tensor operator()(const Tensor& queries, const Tensor& memory) const {
    Tensor h = Dropout(layernorm(queries), dropout);
    const DecodeInputs given{.embeddings = h, .memory = memory};
    nn::DecodeCall call(given, spec, kWho);
    call.is_causal = false;
    for (size_t i = 0; i < layer.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      h = nn::Stage("qformer.layers", index, layer[i](h, call, index));  // [B,Q,F]
    }
    return h;
  }
};

struct Blip2 {
  Config config;
  BlipVisionTower vision_model;
  nn::Parameter query_tokens;  // [1,Q,F]
  QFormer qformer;
  Part language_model;
  nn::Linear language_projection;
  DecoderSpec spec;

  explicit Blip2(const Config& c)
      : config(c),
        vision_model(c.vision),
        query_tokens(Shape{1, c.num_query_tokens, c.qformer.hidden_size}),
        qformer(c.qformer, c.vision.hidden_size),
        language_model(c.text, kWho, "language."),
        language_projection(
            {.in_features = c.qformer.hidden_size, .out_features = language_model.Decoder().hidden_size}),
        spec(language_model.Decoder()) {
    spec.pictures = spec.is_encoder_decoder ? PicturePlace::kEncoder : PicturePlace::kBefore;
  }

  void Visit(nn::Visitor& v) {
    v("vision_model", vision_model);
    v("query_tokens", query_tokens);
    v("qformer", qformer);
    v("language_model", language_model);
    v("language_projection", language_projection);
  }

  bool CanEncodeTexts() const { return spec.is_encoder_decoder; }
  int64_t FeatureSize() const { return spec.hidden_size; }
  TextSpec Texts() const { return language_model.model().Texts(); }
  DecoderSpec Decoder() const { return spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return language_model.EmbedTokens(ids); }  // [B,T,D]

  Tensor EmbedImages(const Tensor& pixels) const {
    const Tensor seen = vision_model(pixels);  // [B,N,W]
    const Tensor queries =
        Expand(query_tokens, {seen.dim(0), config.num_query_tokens, config.qformer.hidden_size});  // [B,Q,F]
    return nn::Stage("pictures", language_projection(qformer(queries, seen)));                     // [B,Q,D]
  }

  TextOutputs EncodeTexts(const TextInputs& inputs) const { return language_model.EncodeTexts(inputs); }
  DecodeOutputs Decode(const DecodeInputs& inputs) const { return language_model.Decode(inputs); }
};

media::PreprocessSpec InputSpec(const base::Config& config) {
  const int64_t side = Config(config).vision.image_size;
  media::PreprocessSpec spec = ClipPreprocess(side);
  spec.size = {.height = side, .width = side};  // stretched
  spec.do_center_crop = false;
  return spec;
}

constexpr std::string_view kUnused[] = {"*.position_ids", "qformer.encoder.layer.*.intermediate.*"};

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
