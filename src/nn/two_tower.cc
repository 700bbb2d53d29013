#include "nn/two_tower.h"

#include <algorithm>
#include <cmath>

#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/norm.h"
#include "ops/resize.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWithoutPrefix[] = {"vision_model.", "text_model.", "visual_projection.", "text_projection.",
                                               "classifier."};

std::string ArchitectureOf(const base::Config& c, std::string_view family) {
  const auto architectures = c.Get<std::vector<std::string>>("architectures", {});
  if (!architectures.empty()) return architectures[0];
  const auto model_type = c.Get<std::string>("model_type", "");
  if (model_type.ends_with("_text_model")) return base::StrCat(family, "TextModel");
  if (model_type.ends_with("_vision_model")) return base::StrCat(family, "VisionModel");
  return base::StrCat(family, "Model");
}

int64_t NumLabels(const base::Config& c) {
  if (c.Has("id2label")) return static_cast<int64_t>(c.Object("id2label").Keys().size());
  int64_t num_labels = 2;
  c.Read("num_labels", num_labels, 1, 1e6);
  return num_labels;
}

}  // namespace

Towers Towers::FromConfig(const base::Config& c, std::string_view family) {
  const std::string architecture = ArchitectureOf(c, family);
  const std::string_view part =
      architecture.starts_with(family) ? std::string_view(architecture).substr(family.size()) : std::string_view();
  if (part == "Model") return {};
  if (part == "TextModel") return {.has_vision = false, .has_projection = false};
  if (part == "TextModelWithProjection") return {.has_vision = false};
  if (part == "VisionModel") return {.has_text = false, .has_projection = false};
  if (part == "VisionModelWithProjection") return {.has_text = false};
  if (part == "ForImageClassification") return {.has_text = false, .has_projection = false, .classes = NumLabels(c)};
  Fail(ErrorCode::kUnimplemented, "[model] ", c.source(), " asks for the architecture \"",
       base::PrintableUtf8(architecture), "\"; there are ", family, "Model, ", family, "TextModel, ", family,
       "VisionModel (both also WithProjection) and ", family, "ForImageClassification");
}

base::Config TowerKeys(const base::Config& config, const std::string& key, const Towers& towers) {
  for (const std::string& name : {key + "_dict", key}) {
    if (config.Has(name)) return config.Object(name);
  }
  return towers.IsSingle() ? config : base::Config::Parse("{}", config.source());
}

void AddTowerPrefix(std::vector<NamedTensor>& tensors, const Towers& towers) {
  if (!towers.IsSingle()) return;
  for (NamedTensor& tensor : tensors) {
    const auto starts = [&](std::string_view prefix) { return tensor.name.starts_with(prefix); };
    if (std::ranges::any_of(kWithoutPrefix, starts)) continue;
    tensor.name.insert(0, towers.has_text ? "text_model." : "vision_model.");
  }
}

void TowerConfig::Read(const base::Config& c, std::string_view who) {
  c.Read("hidden_size", hidden_size, 1, 65536);
  c.Read("intermediate_size", intermediate_size, 1, 1e6);
  c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
  c.Read("num_attention_heads", num_attention_heads, 1, 65536);
  c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
  c.Read("attention_dropout", attention_dropout, 0, 0.99);
  c.Read("hidden_act", hidden_act);
  ActFromName(hidden_act, std::string(who).c_str());
  Require(hidden_size % num_attention_heads == 0, "[", who, "] expected num_attention_heads that divides hidden_size ",
          hidden_size, ", got ", num_attention_heads);
}

nn::EncoderBlockOptions TowerConfig::Block() const {
  return {.dim = hidden_size,
          .heads = num_attention_heads,
          .ffn = intermediate_size,
          .act = ActFromName(hidden_act, "model"),
          .eps = layer_norm_eps,
          .attention_dropout = attention_dropout};
}

void TextTowerConfig::Read(const base::Config& c, std::string_view who) {
  TowerConfig::Read(c, who);
  c.Read("vocab_size", vocab_size, 1, 1e7);
  c.Read("max_position_embeddings", max_position_embeddings, 1, 1e6);
}

void VisionTowerConfig::Read(const base::Config& c, std::string_view who) {
  TowerConfig::Read(c, who);
  c.Read("num_channels", num_channels, 1, 64);
  c.Read("image_size", image_size, 1, 65536);
  c.Read("patch_size", patch_size, 1, 4096);
  Require(patch_size <= image_size, "[", who, "] expected a patch_size of at most image_size ", image_size, ", got ",
          patch_size);
}

nn::List<nn::EncoderBlock> TowerBlocks(const TowerConfig& config) {
  nn::List<nn::EncoderBlock> blocks;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) blocks.emplace_back(config.Block(), kTowerBlockNames);
  return blocks;
}

Tensor RunBlocks(std::span<const nn::EncoderBlock> blocks, Tensor h, const AttentionOptions& mask,
                 std::string_view name) {
  int64_t index = 0;
  for (const nn::EncoderBlock& block : blocks) h = nn::Stage(name, index++, block(h, mask));  // [B,T,D]
  return h;
}

TextTower::TextTower(const TextTowerConfig& c)
    : token_embedding(c.vocab_size, c.hidden_size),
      position_embedding(c.max_position_embeddings, c.hidden_size),
      layers(TowerBlocks(c)),
      final_layer_norm(c.hidden_size, c.layer_norm_eps) {}

void TextTower::Visit(nn::Visitor& v) {
  v("embeddings.token_embedding", token_embedding);
  v("embeddings.position_embedding", position_embedding);
  v("encoder.layers", layers);
  v("final_layer_norm", final_layer_norm);
}

Tensor TextTower::operator()(const Tensor& ids, const AttentionOptions& mask) const {
  const auto [B, T] = ids.Dims<2>("token ids");
  const int64_t positions = position_embedding.weight.shape()[0];
  Require(T >= 1 && T <= positions, "[text] expected 1 to ", positions, " tokens, got ", T);
  Tensor h = token_embedding(ids) + Slice(position_embedding.weight, 0, 0, T);  // [B,T,D]
  h = RunBlocks(layers, nn::Stage("text.embeddings", h), mask, "text.layers");  // [B,T,D]
  return final_layer_norm(h);                                                   // [B,T,D]
}

ClipVisionTower::ClipVisionTower(const VisionTowerConfig& c, bool has_pooling)
    : patch_embedding(c.num_channels, c.hidden_size, c.patch_size, /*has_bias=*/false),
      class_embedding(Shape{c.hidden_size}),
      position_embedding(c.Grid() * c.Grid() + 1, c.hidden_size),
      pre_layrnorm(c.hidden_size, c.layer_norm_eps),
      layers(TowerBlocks(c)) {
  if (has_pooling) post_layernorm.emplace(c.hidden_size, c.layer_norm_eps);
}

void ClipVisionTower::Visit(nn::Visitor& v) {
  v("embeddings.class_embedding", class_embedding);
  v("embeddings.patch_embedding", patch_embedding.projection);
  v("embeddings.position_embedding", position_embedding);
  v("pre_layrnorm", pre_layrnorm);
  v("encoder.layers", layers);
  v("post_layernorm", post_layernorm);
}

Tensor ClipVisionTower::Tokens(const Tensor& pixels, size_t blocks) const {
  const Tensor patches = patch_embedding.Grid(pixels);  // [B,P,Q,D]
  const auto [B, P, Q, D] = patches.Dims<4>("patches");
  const int64_t positions = position_embedding.weight.shape()[0];
  const Tensor class_position = Slice(position_embedding.weight, 0, 0, 1);  // [1,D]
  const Tensor grid_position = PositionsForGrid(Slice(position_embedding.weight, 0, 1, positions), P, Q);
  const Tensor class_token = Reshape(class_embedding.value() + class_position, {1, 1, D});  // [1,1,D]
  Tensor h = Reshape(patches, {B, P * Q, D}) + grid_position;                               // [B,PQ,D]
  h = Concat({Expand(class_token, {B, 1, D}), h}, 1);                                       // [B,1+PQ,D]
  h = pre_layrnorm(nn::Stage("vision.embeddings", h));                                      // [B,1+PQ,D]
  return RunBlocks(std::span(layers).first(blocks), h, {}, "vision.layers");                // [B,1+PQ,D]
}

ClipVisionTower::Outputs ClipVisionTower::operator()(const Tensor& pixels) const {
  const Tensor h = Tokens(pixels, layers.size());  // [B,1+PQ,D]
  const int64_t patch_size = patch_embedding.patch_size();
  const int64_t B = h.dim(0), P = pixels.dim(1) / patch_size, Q = pixels.dim(2) / patch_size, D = h.dim(2);
  const Tensor class_out = Squeeze(Slice(h, 1, 0, 1), 1);                      // [B,D]
  return {.pooled = post_layernorm ? (*post_layernorm)(class_out) : Tensor(),  // [B,D]
          .grid = Reshape(Slice(h, 1, 1, 1 + P * Q), {B, P, Q, D})};           // [B,P,Q,D]
}

Tensor PositionsForGrid(const Tensor& table, int64_t rows, int64_t columns) {
  const auto [count, D] = table.Dims<2>("position embeddings");
  const auto side = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(count))));
  if (rows == side && columns == side) return Reshape(table, {1, count, D});
  const Tensor square = Reshape(table, {1, side, side, D});                                  // [1,G,G,D]
  const Tensor resized = Resize2d(square, {rows, columns}, {.mode = ResizeMode::kBicubic});  // [1,P,Q,D]
  return Reshape(resized, {1, rows * columns, D});
}

Tensor CosineLogits(const Tensor& image_features, const Tensor& text_features) {
  return MatMul(L2Normalize(image_features), L2Normalize(text_features), {.transpose_b = true});
}

media::PreprocessSpec ClipPreprocess(int64_t size) {
  media::PreprocessSpec spec;
  spec.size.shortest_edge = size;
  spec.resample = media::Filter::kBicubic;
  spec.do_center_crop = true;
  spec.crop_height = spec.crop_width = size;
  spec.mean = {0.48145466f, 0.4578275f, 0.40821073f};
  spec.std = {0.26862954f, 0.26130258f, 0.27577711f};
  return spec;
}

}  // namespace fovea::models
