#include "nn/blip_vision.h"

#include "nn/stage.h"
#include "ops/arithmetic.h"

namespace fovea::models {
namespace {

constexpr nn::DecoderBlockNames kNames = {.qkv = "self_attn.qkv",
                                          .out = "self_attn.projection",
                                          .norm1 = "layer_norm1",
                                          .up = "mlp.fc1",
                                          .down = "mlp.fc2",
                                          .norm2 = "layer_norm2"};

}  // namespace

BlipVisionConfig::BlipVisionConfig() {
  image_size = 384;
  patch_size = 16;
  hidden_act = "gelu";
}

void BlipVisionConfig::Read(const base::Config& config, std::string_view who) {
  VisionTowerConfig::Read(config, who);
  config.Read("qkv_bias", qkv_bias);
}

BlipVisionTower::BlipVisionTower(const BlipVisionConfig& c)
    : post_layernorm(c.hidden_size, c.layer_norm_eps),
      patch_embedding_(c.num_channels, c.hidden_size, c.patch_size),
      class_embedding_(Shape{1, 1, c.hidden_size}),
      position_embedding_(Shape{1, 1 + c.Grid() * c.Grid(), c.hidden_size}) {
  spec_.hidden_size = c.hidden_size;
  const nn::DecoderBlockOptions block{.dim = c.hidden_size,
                                      .heads = c.num_attention_heads,
                                      .kv_heads = c.num_attention_heads,
                                      .head_dim = c.hidden_size / c.num_attention_heads,
                                      .ffn = c.intermediate_size,
                                      .act = c.Block().act,
                                      .norm = {.kind = nn::NormKind::kLayerNorm, .eps = c.layer_norm_eps},
                                      .has_qkv_bias = c.qkv_bias,
                                      .has_out_bias = true,
                                      .has_mlp_bias = true,
                                      .attention_dropout = c.attention_dropout};
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers_.emplace_back(block, kNames);
}

void BlipVisionTower::Visit(nn::Visitor& v) {
  v("embeddings.class_embedding", class_embedding_);
  v("embeddings.position_embedding", position_embedding_);
  v("embeddings.patch_embedding", patch_embedding_.projection);
  v("encoder.layers", layers_);
  v("post_layernorm", post_layernorm);
}

Tensor BlipVisionTower::operator()(const Tensor& pixels) const {
  const Tensor patches = patch_embedding_.Grid(pixels);  // [B,P,Q,D]
  const auto [B, P, Q, D] = patches.Dims<4>("patches");
  const int64_t N = position_embedding_.shape()[1];
  const Tensor table = Reshape(Slice(position_embedding_, 1, 1, N), {N - 1, D});                             // [N-1,D]
  const Tensor positions = Concat({Slice(position_embedding_, 1, 0, 1), PositionsForGrid(table, P, Q)}, 1);  // [1,N,D]
  const Tensor tokens = Concat({Expand(class_embedding_, {B, 1, D}), Reshape(patches, {B, P * Q, D})}, 1);
  Tensor h = nn::Stage("vision.embeddings", tokens + positions);  // [B,N,D]
  const DecodeInputs given{.embeddings = h};
  nn::DecodeCall call(given, spec_, "vision");
  call.is_causal = false;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = static_cast<int64_t>(i);
    h = nn::Stage("vision.layers", layer, layers_[i](h, call, layer));  // [B,N,D]
  }
  return post_layernorm(h);  // [B,N,D]
}

}  // namespace fovea::models
