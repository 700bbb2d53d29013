// Chinese-CLIP: CLIP's vision tower beside a Chinese BERT; a text's vector is that of its first token.
//
// Paper: Yang et al. 2022, Chinese CLIP: Contrastive Vision-Language Pretraining in Chinese, arXiv 2211.01335.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/chinese_clip/
// modeling_chinese_clip.py
//
// Legend: B batch, Y X picture, P Q grid of patches, T tokens, D width, E common space, N M things to compare.
#include "nn/bert.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  Towers towers;
  nn::BertOptions text;
  VisionTowerConfig vision;
  int64_t projection_dim = 512;

  explicit Config(const base::Config& c)
      : towers(Towers::FromConfig(c, "ChineseCLIP")),
        text(towers.has_text ? TowerKeys(c, "text_config", towers) : base::Config::Parse("{}", c.source()),
             "chinese_clip") {
    if (towers.classes > 0 || (towers.IsSingle() && towers.has_projection))
      Fail(ErrorCode::kUnimplemented, "[chinese_clip] ", c.source(),
           " expected the architecture ChineseCLIPModel, ChineseCLIPTextModel or ChineseCLIPVisionModel");
    text.add_pooling_layer = towers.IsSingle();
    text.stage_prefix = "text.";
    if (towers.has_vision) vision.Read(TowerKeys(c, "vision_config", towers), "chinese_clip");
    c.Read("projection_dim", projection_dim, 1, 65536);
  }
};

struct ChineseClip {
  Config config;
  nn::Optional<nn::BertTrunk> text_model;
  nn::Optional<ClipVisionTower> vision_model;
  nn::Optional<nn::Linear> visual_projection, text_projection;
  nn::Parameter logit_scale{Shape{}};

  explicit ChineseClip(const Config& c) : config(c) {
    const auto projection = [&](int64_t width) {
      return nn::LinearOptions{.in_features = width, .out_features = c.projection_dim, .has_bias = false};
    };
    if (c.towers.has_text) text_model.emplace(c.text);
    if (c.towers.has_vision) vision_model.emplace(c.vision);
    if (c.towers.IsSingle()) return;
    visual_projection.emplace(projection(c.vision.hidden_size));
    text_projection.emplace(projection(c.text.hidden_size));
  }

  void Visit(nn::Visitor& v) {
    if (!config.towers.IsSingle()) v("logit_scale", logit_scale);
    v("text_model", text_model);
    v("vision_model", vision_model);
    v("visual_projection", visual_projection);
    v("text_projection", text_projection);
  }

  bool CanEncodeImages() const { return config.towers.has_vision; }
  bool CanEncodeTexts() const { return config.towers.has_text; }
  Matching HowItMatches() const { return config.towers.IsSingle() ? Matching::kNone : Matching::kSoftmax; }
  TextSpec Texts() const { return {.max_tokens = config.text.MaxTokens()}; }
  int64_t FeatureSize() const {
    if (!config.towers.IsSingle()) return config.projection_dim;
    return config.towers.has_vision ? config.vision.hidden_size : config.text.hidden_size;
  }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    if (!vision_model) Fail(ErrorCode::kUnimplemented, "[chinese_clip] this checkpoint holds the text tower alone");
    const auto [pooled, grid] = (*vision_model)(pixels);  // [B,D], [B,P,Q,D]
    return {
        .features = visual_projection ? (*visual_projection)(pooled) : pooled, .grid = grid, .logits = {}};  // [B,E]
  }

  TextOutputs EncodeTexts(const TextInputs& inputs) const {
    if (!text_model) Fail(ErrorCode::kUnimplemented, "[chinese_clip] this checkpoint holds the vision tower alone");
    TextOutputs outputs = (*text_model)(inputs);  // [B,D] of the pooler, [B,T,D]
    if (text_projection) outputs.features = (*text_projection)(Squeeze(Slice(outputs.tokens, 1, 0, 1), 1));  // [B,E]
    return outputs;
  }

  Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const {
    return CosineLogits(image_features, text_features) * Exp(logit_scale);  // [N,M]
  }
};

constexpr std::string_view kUnused[] = {"*.position_ids", "text_model.pooler.*"};
constexpr std::string_view kAliases[] = {"chinese_clip_text_model", "chinese_clip_vision_model"};

}  // namespace

const Entry& chinese_clip_entry() {
  static const Entry entry{
      .model_type = "chinese_clip",
      .aliases = kAliases,
      .card = {.title = "Chinese-CLIP",
               .paper = "Yang et al. 2022, arXiv 2211.01335",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/"
                            "chinese_clip/modeling_chinese_clip.py",
               .tasks = "image and text features, zero-shot classification, search by words"},
      .create = [](const base::Config& config) { return MakeModel(ChineseClip(Config(config))); },
      .input_spec = [](const base::Config& config) { return ClipPreprocess(Config(config).vision.image_size); },
      .unused = kUnused,
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AddTowerPrefix(tensors, Towers::FromConfig(config, "ChineseCLIP")); }};
  return entry;
}

}  // namespace fovea::models
