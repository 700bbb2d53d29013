// ALIGN: an EfficientNet for pictures and a BERT for texts, trained on a billion noisy pairs.
//
// Paper: Jia et al. 2021, Scaling Up Visual and Vision-Language Representation Learning With Noisy Text Supervision,
// arXiv 2102.05918.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/align/modeling_align.py
//
// Legend: B batch, Y X picture, P Q grid after the strides, T tokens, D width, E common space, N M things to compare.
#include <algorithm>

#include "nn/bert.h"
#include "nn/efficientnet.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"

namespace fovea::models {
namespace {

constexpr int64_t kMaxTokens = 64;  // what the reference's processor pads to

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  Towers towers;
  nn::BertOptions text;
  nn::EfficientNetConfig vision;
  int64_t projection_dim = 640;

  explicit Config(const base::Config& c)
      : towers(Towers::FromConfig(c, "Align")),
        text(Keys(c, "text_config", towers.has_text), "align"),
        vision(Keys(c, "vision_config", towers.has_vision), "align") {
    if (towers.classes > 0 || (towers.IsSingle() && towers.has_projection))
      Fail(ErrorCode::kUnimplemented, "[align] ", c.source(),
           " expected the architecture AlignModel, AlignTextModel or AlignVisionModel");
    text.add_pooling_layer = towers.IsSingle();  // beside pictures nothing reads it
    text.stage_prefix = "text.";
    c.Read("projection_dim", projection_dim, 1, 65536);
    Require(towers.IsSingle() || projection_dim == vision.BodyChannels(), "[align] expected a projection_dim of ",
            vision.BodyChannels(), ", which is what the vision tower gives, got ", projection_dim);
  }
  base::Config Keys(const base::Config& c, const char* key, bool has_tower) const {
    return has_tower ? TowerKeys(c, key, towers) : base::Config::Parse("{}", c.source());
  }
};

struct Align {
  Config config;
  nn::Optional<nn::BertTrunk> text_model;
  nn::Optional<nn::EfficientNetBody> vision_model;
  nn::Optional<nn::Linear> text_projection;
  nn::Parameter temperature{Shape{}};

  explicit Align(const Config& c) : config(c) {
    if (c.towers.has_text) text_model.emplace(c.text);
    if (c.towers.has_vision) vision_model.emplace(c.vision);
    if (!c.towers.IsSingle())
      text_projection.emplace(nn::LinearOptions{.in_features = c.text.hidden_size, .out_features = c.projection_dim});
  }

  void Visit(nn::Visitor& v) {
    if (!config.towers.IsSingle()) v("temperature", temperature);
    v("text_model", text_model);
    v("vision_model", vision_model);
    v("text_projection", text_projection);
  }

  bool CanEncodeImages() const { return config.towers.has_vision; }
  bool CanEncodeTexts() const { return config.towers.has_text; }
  Matching HowItMatches() const { return config.towers.IsSingle() ? Matching::kNone : Matching::kSoftmax; }
  TextSpec Texts() const { return {.max_tokens = std::min(kMaxTokens, config.text.MaxTokens())}; }
  int64_t FeatureSize() const {
    return config.towers.has_vision ? config.vision.BodyChannels() : config.text.hidden_size;
  }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    if (!vision_model) Fail(ErrorCode::kUnimplemented, "[align] this checkpoint holds the text tower alone");
    const Tensor grid = (*vision_model)(pixels, "vision.");                     // [B,P,Q,E]
    return {.features = vision_model->Pool(grid), .grid = grid, .logits = {}};  // [B,E]
  }

  TextOutputs EncodeTexts(const TextInputs& inputs) const {
    if (!text_model) Fail(ErrorCode::kUnimplemented, "[align] this checkpoint holds the vision tower alone");
    TextOutputs outputs = (*text_model)(inputs);  // [B,D] of the pooler, [B,T,D]
    if (text_projection) outputs.features = (*text_projection)(Squeeze(Slice(outputs.tokens, 1, 0, 1), 1));  // [B,E]
    return outputs;
  }

  Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const {
    return CosineLogits(image_features, text_features) / temperature.value();  // [N,M]
  }
};

constexpr std::string_view kUnused[] = {"*.position_ids", "*.token_type_ids", "text_model.pooler.*"};
constexpr std::string_view kAliases[] = {"align_text_model", "align_vision_model"};

media::PreprocessSpec InputSpec(const base::Config& config) {
  return media::PreprocessSpec::FromConfig(base::Config::Parse("{}", config.source()), "align");
}

}  // namespace

const Entry& align_entry() {
  static const Entry entry{
      .model_type = "align",
      .aliases = kAliases,
      .card = {.title = "ALIGN",
               .paper = "Jia et al. 2021, arXiv 2102.05918",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/align/"
                            "modeling_align.py",
               .tasks = "image and text features, zero-shot classification, search by words"},
      .create = [](const base::Config& config) { return MakeModel(Align(Config(config))); },
      .input_spec = InputSpec,
      .unused = kUnused,
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AddTowerPrefix(tensors, Towers::FromConfig(config, "Align")); }};
  return entry;
}

}  // namespace fovea::models
