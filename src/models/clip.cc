// CLIP: pictures and texts in one space, learnt from pairs. OpenAI's, LAION's and TinyCLIP's checkpoints, whole or one
// tower alone (the text encoders of image generators, the vision towers of language models).
//
// Paper: Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision, arXiv 2103.00020.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/clip/modeling_clip.py
//
// Legend: B batch, Y X picture, P Q grid of patches, T tokens, D width, E common space, V classes, N M things to
// compare.
#include <algorithm>

#include "nn/entry.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  Towers towers;
  TextTowerConfig text;
  VisionTowerConfig vision;
  int64_t projection_dim = 512;
  int64_t eos_token_id = 49407;

  explicit Config(const base::Config& c) : towers(Towers::FromConfig(c, "CLIP")) {
    text.hidden_size = 512;
    text.intermediate_size = 2048;
    text.num_attention_heads = 8;
    if (towers.has_text) {
      const base::Config keys = TowerKeys(c, "text_config", towers);
      text.Read(keys, "clip");
      keys.Read("eos_token_id", eos_token_id, -1, 1e7);
      if (!towers.has_vision) keys.Read("projection_dim", projection_dim, 1, 65536);
    }
    if (towers.has_vision) {
      const base::Config keys = TowerKeys(c, "vision_config", towers);
      vision.Read(keys, "clip");
      if (!towers.has_text) keys.Read("projection_dim", projection_dim, 1, 65536);
    }
    if (!towers.IsSingle()) c.Read("projection_dim", projection_dim, 1, 65536);
  }
};

// For each text the place of the token that stands for all of it: the end of text. Configurations written before it was
// corrected say 2; those mean the first of the highest numbers, which is where the end of text stands in the
// vocabulary. Where the token is missing, the first place, as in the reference. ids i64 [B,T] -> rows of [B*T,...], i64
// [B]
Tensor EndOfText(const Tensor& ids, int64_t eos_token_id) {
  const auto [B, T] = ids.Dims<2>("token ids");
  const Tensor dense = ids.Contiguous();
  const Tensor rows = Tensor::Empty({B}, DType::kI64);
  for (int64_t b = 0; b < B; ++b) {
    const int64_t* begin = dense.data<int64_t>() + b * T;
    const int64_t* found =
        eos_token_id == 2 ? std::max_element(begin, begin + T) : std::find(begin, begin + T, eos_token_id);
    rows.mutable_data<int64_t>()[b] = b * T + (found == begin + T ? 0 : found - begin);
  }
  return rows;
}

struct Clip {
  Config config;
  nn::Optional<TextTower> text_model;
  nn::Optional<ClipVisionTower> vision_model;
  nn::Optional<nn::Linear> visual_projection, text_projection, classifier;
  nn::Parameter logit_scale{Shape{}};

  explicit Clip(const Config& c) : config(c) {
    const auto projection = [&](int64_t width) {
      return nn::LinearOptions{.in_features = width, .out_features = c.projection_dim, .has_bias = false};
    };
    if (c.towers.has_text) text_model.emplace(c.text);
    if (c.towers.has_vision) vision_model.emplace(c.vision, /*has_pooling=*/c.towers.classes == 0);
    if (c.towers.has_projection && text_model) text_projection.emplace(projection(c.text.hidden_size));
    if (c.towers.has_projection && vision_model) visual_projection.emplace(projection(c.vision.hidden_size));
    if (c.towers.classes > 0)
      classifier.emplace(nn::LinearOptions{.in_features = c.vision.hidden_size, .out_features = c.towers.classes});
  }

  void Visit(nn::Visitor& v) {
    if (HowItMatches() != Matching::kNone) v("logit_scale", logit_scale);
    v("text_model", text_model);
    v("vision_model", vision_model);
    v("visual_projection", visual_projection);
    v("text_projection", text_projection);
    v("classifier", classifier);
  }

  bool CanEncodeImages() const { return config.towers.has_vision; }
  bool CanEncodeTexts() const { return config.towers.has_text; }
  Matching HowItMatches() const { return config.towers.IsSingle() ? Matching::kNone : Matching::kSoftmax; }
  TextSpec Texts() const { return {.max_tokens = config.text.max_position_embeddings}; }
  bool CanClassify() const { return classifier.has_value(); }
  int64_t FeatureSize() const {
    if (config.towers.has_projection) return config.projection_dim;
    return config.towers.has_vision ? config.vision.hidden_size : config.text.hidden_size;
  }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    if (!vision_model) Fail(ErrorCode::kUnimplemented, "[clip] this checkpoint holds the text tower alone");
    const auto [pooled, grid] = (*vision_model)(pixels);  // [B,D], [B,P,Q,D]
    if (classifier) {
      const Tensor mean = Mean(grid, {1, 2});                                  // [B,D]
      return {.features = mean, .grid = grid, .logits = (*classifier)(mean)};  // [B,V]
    }
    return {.features = visual_projection ? (*visual_projection)(pooled) : pooled,  // [B,E]
            .grid = grid,
            .logits = {}};
  }

  TextOutputs EncodeTexts(const TextInputs& inputs) const {
    if (!text_model) Fail(ErrorCode::kUnimplemented, "[clip] this checkpoint holds the vision tower alone");
    const Tensor tokens = (*text_model)(inputs.ids, {.is_causal = true, .key_mask = inputs.mask});  // [B,T,D]
    const Tensor rows = Reshape(tokens, {-1, config.text.hidden_size});                             // [B*T,D]
    const Tensor pooled = IndexSelect(rows, 0, EndOfText(inputs.ids, config.eos_token_id));         // [B,D]
    return {.features = text_projection ? (*text_projection)(pooled) : pooled,                      // [B,E]
            .tokens = tokens,
            .logits = {}};
  }

  Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const {
    return CosineLogits(image_features, text_features) * Exp(logit_scale);  // [N,M]
  }
};

constexpr std::string_view kUnused[] = {"*.position_ids", "vision_model.post_layernorm.*"};
constexpr std::string_view kAliases[] = {"clip_text_model", "clip_vision_model"};

}  // namespace

const Entry& clip_entry() {
  static const Entry entry{
      .model_type = "clip",
      .aliases = kAliases,
      .card = {.title = "CLIP",
               .paper = "Radford et al. 2021, arXiv 2103.00020",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/clip/"
                            "modeling_clip.py",
               .tasks = "image and text features, zero-shot classification, search by words"},
      .create = [](const base::Config& config) { return MakeModel(Clip(Config(config))); },
      .input_spec = [](const base::Config& config) { return ClipPreprocess(Config(config).vision.image_size); },
      .unused = kUnused,
      .adapt = [](std::vector<NamedTensor>& tensors,
                  const base::Config& config) { AddTowerPrefix(tensors, Towers::FromConfig(config, "CLIP")); }};
  return entry;
}

}  // namespace fovea::models
