#include "nn/siglip.h"

#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "tensor/tape.h"

namespace fovea::models {

SiglipConfig::SiglipConfig(const base::Config& c, std::string_view who, std::string_view family)
    : towers(Towers::FromConfig(c, family)) {
  text.vocab_size = 32000;
  text.max_position_embeddings = 64;
  vision.patch_size = 16;
  for (TowerConfig* tower : {static_cast<TowerConfig*>(&text), static_cast<TowerConfig*>(&vision)}) {
    tower->hidden_act = "gelu_pytorch_tanh";
    tower->layer_norm_eps = 1e-6;
  }
  if (towers.has_text) {
    const base::Config keys = TowerKeys(c, "text_config", towers);
    text.Read(keys, who);
    projection_size = text.hidden_size;
    keys.Read("projection_size", projection_size, 1, 65536);
  }
  if (towers.has_vision) {
    const base::Config keys = TowerKeys(c, "vision_config", towers);
    vision.Read(keys, who);
    keys.Read("vision_use_head", vision_use_head);
    if (!vision_use_head && towers.classes == 0) {
      Fail(ErrorCode::kUnimplemented, "[", who,
           "] vision_use_head false leaves no feature of a picture; it is supported with ", family,
           "ForImageClassification only");
    }
  }
  Require(towers.IsSingle() || projection_size == vision.hidden_size, "[", who,
          "] expected text features of the size of picture features ", vision.hidden_size, ", got projection_size ",
          projection_size);
}

SiglipPoolingHead::SiglipPoolingHead(const VisionTowerConfig& c)
    : heads(c.num_attention_heads),
      probe(Shape{1, 1, c.hidden_size}),
      in_proj_weight(nn::Parameter::Packed({3 * c.hidden_size, c.hidden_size})),
      in_proj_bias(Shape{3 * c.hidden_size}),
      out_proj({.in_features = c.hidden_size, .out_features = c.hidden_size}),
      layernorm(c.hidden_size, c.layer_norm_eps),
      fc1({.in_features = c.hidden_size, .out_features = c.intermediate_size}),
      fc2({.in_features = c.intermediate_size, .out_features = c.hidden_size}),
      act(c.Block().act) {}

void SiglipPoolingHead::Visit(nn::Visitor& v) {
  v("probe", probe);
  v("attention.in_proj_weight", in_proj_weight);
  v("attention.in_proj_bias", in_proj_bias);
  v("attention.out_proj", out_proj);
  v("layernorm", layernorm);
  v("mlp.fc1", fc1);
  v("mlp.fc2", fc2);
}

Tensor SiglipPoolingHead::operator()(const Tensor& patches, const Tensor& mask) const {
  const auto [B, P, D] = patches.Dims<3>("pooling head");
  const auto project = [&, D = D](const Tensor& x, int64_t begin, int64_t end,
                                  const nn::Derived<kernels::PackedLinear>& packed) {
    const Tensor weight = Slice(in_proj_weight, 0, begin * D, end * D),
                 bias = Slice(in_proj_bias, 0, begin * D, end * D);
    if (Tape::Active() != nullptr) return fovea::Linear(x, weight, bias);
    const DType dtype = nn::PackedType(in_proj_weight, x.dtype());
    const uint64_t version = in_proj_weight.version() * 16 + static_cast<uint64_t>(x.dtype());
    return fovea::Linear(x,
                         *packed.Get(version,
                                     [&] {
                                       return std::make_shared<const kernels::PackedLinear>(
                                           weight.To(dtype), in_proj_weight.rounds_inputs());
                                     }),
                         bias);
  };
  const Tensor query =
      Permute(Reshape(project(probe, 0, 1, packed_query_), {1, 1, heads, -1}), {0, 2, 1, 3});  // [1,H,1,E]
  const Tensor parts = Permute(Reshape(project(patches, 1, 3, packed_keys_values_), {B, P, 2, heads, -1}),
                               {2, 0, 3, 1, 4});                                              // [2,B,H,P,E]
  const Tensor k = Squeeze(Slice(parts, 0, 0, 1), 0), v = Squeeze(Slice(parts, 0, 1, 2), 0);  // [B,H,P,E]
  const Tensor attended =
      ScaledDotProductAttention(Expand(query, {B, heads, 1, D / heads}), k, v, {.key_mask = mask});  // [B,H,1,E]
  const Tensor h = out_proj(Reshape(attended, {B, D}));                                              // [B,D]
  return h + fc2(fc1(layernorm(h), act));                                                            // [B,D]
}

SiglipNetwork::SiglipNetwork(const SiglipConfig& c) : config_(c), logit_scale_(Shape{1}), logit_bias_(Shape{1}) {
  if (c.towers.has_text) {
    text_model_.emplace(c.text);
    text_head_.emplace(nn::LinearOptions{.in_features = c.text.hidden_size, .out_features = c.projection_size});
  }
  if (!c.towers.has_vision) return;
  layers_ = TowerBlocks(c.vision);
  post_layernorm_.emplace(c.vision.hidden_size, c.vision.layer_norm_eps);
  if (c.towers.classes > 0) {
    classifier_.emplace(nn::LinearOptions{.in_features = c.vision.hidden_size, .out_features = c.towers.classes});
  } else {
    head_.emplace(c.vision);
  }
}

void SiglipNetwork::Visit(nn::Visitor& v) {
  if (!config_.towers.IsSingle()) {
    v("logit_scale", logit_scale_);
    v("logit_bias", logit_bias_);
  }
  v("text_model", text_model_);
  v("text_model.head", text_head_);
  v("vision_model.encoder.layers", layers_);
  v("vision_model.post_layernorm", post_layernorm_);
  v("vision_model.head", head_);
  v("classifier", classifier_);
}

void SiglipNetwork::RequireVision() const {
  if (!config_.towers.has_vision)
    Fail(ErrorCode::kUnimplemented, "[siglip] this checkpoint holds the text tower alone");
}

ImageOutputs SiglipNetwork::EncodeEmbedded(const Tensor& embedded, const Tensor& mask) const {
  Tensor h = nn::Stage("vision.embeddings", embedded);             // [B,P,D]
  h = RunBlocks(layers_, h, {.key_mask = mask}, "vision.layers");  // [B,P,D]
  h = (*post_layernorm_)(h);                                       // [B,P,D]
  if (!classifier_) return {.features = (*head_)(h, mask), .grid = h, .logits = {}};
  Tensor mean;  // [B,D]
  if (mask.defined()) {
    const Tensor exists = Unsqueeze(mask, 2);  // [B,P,1]
    const Tensor zero = Tensor::Full({1}, 0), one = Tensor::Full({1}, 1);
    mean = Sum(Where(exists, h, zero), {1}) / Sum(Where(exists, one, zero), {1});
  } else {
    mean = Mean(h, {1});
  }
  return {.features = mean, .grid = h, .logits = (*classifier_)(mean)};  // [B,V]
}

TextOutputs SiglipNetwork::EncodeTexts(const TextInputs& inputs) const {
  if (!text_model_) Fail(ErrorCode::kUnimplemented, "[siglip] this checkpoint holds the vision tower alone");
  const Tensor tokens = (*text_model_)(inputs.ids, {});                 // [B,T,D]
  const Tensor last = Squeeze(Slice(tokens, 1, -1, tokens.dim(1)), 1);  // [B,D]
  return {.features = (*text_head_)(last), .tokens = tokens, .logits = {}};
}

Tensor SiglipNetwork::MatchLogits(const Tensor& image_features, const Tensor& text_features) const {
  return CosineLogits(image_features, text_features) * Exp(logit_scale_) + logit_bias_.value();  // [N,M]
}

}  // namespace fovea::models
