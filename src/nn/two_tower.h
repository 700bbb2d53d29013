// What the models with one tower for pictures and one for texts have in common (Radford et al. 2021, arXiv 2103.00020):
// CLIP, Chinese-CLIP, SigLIP and SigLIP 2, and the checkpoints that hold one tower alone.
//
// Here are the keys that their text_config and vision_config share, the text transformer, CLIP's vision transformer and
// the comparison of features. How texts are pooled, heads and scales belong to the file of each model.
//
// Legend: B batch, Y X picture, P Q grid of patches, T tokens, D width, N M pictures and texts to compare.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "media/preprocess.h"
#include "nn/embedding.h"
#include "nn/entry.h"
#include "nn/transformer.h"

namespace fovea::models {

// ---- config

// Which parts a checkpoint has.
struct Towers {
  bool has_vision = true, has_text = true;
  bool has_projection = true;  // from a tower's width to the common space
  int64_t classes = 0;         // of a linear classifier on the vision tower

  bool IsSingle() const { return !has_vision || !has_text; }

  // From architectures[0], "<family>" followed by Model, TextModel, VisionModel, TextModelWithProjection,
  // VisionModelWithProjection or ForImageClassification; without architectures from the end of model_type. Throws
  // kUnimplemented naming any other.
  static Towers FromConfig(const base::Config& config, std::string_view family);
};

// The object `key` ("text_config", "vision_config"). Old checkpoints carry a complete "<key>_dict", which wins; those
// of a tower alone have its keys at the top.
base::Config TowerKeys(const base::Config& config, const std::string& key, const Towers& towers);

// Puts "vision_model." or "text_model." before the names of a single tower that lack it.
void AddTowerPrefix(std::vector<NamedTensor>& tensors, const Towers& towers);

// The keys that both towers of all families have.
struct TowerConfig {
  int64_t hidden_size = 768, intermediate_size = 3072, num_hidden_layers = 12, num_attention_heads = 12;
  double layer_norm_eps = 1e-5, attention_dropout = 0;
  std::string hidden_act = "quick_gelu";

  void Read(const base::Config& config, std::string_view who);
  nn::EncoderBlockOptions Block() const;
};

struct TextTowerConfig : TowerConfig {
  int64_t vocab_size = 49408, max_position_embeddings = 77;

  void Read(const base::Config& config, std::string_view who);
};

struct VisionTowerConfig : TowerConfig {
  int64_t num_channels = 3, image_size = 224, patch_size = 32;  // px

  void Read(const base::Config& config, std::string_view who);
  int64_t Grid() const { return image_size / patch_size; }
};

// ---- modules

// Names of the parts of a block in all these checkpoints.
inline constexpr nn::EncoderBlockNames kTowerBlockNames = {.q = "self_attn.q_proj",
                                                           .k = "self_attn.k_proj",
                                                           .v = "self_attn.v_proj",
                                                           .out = "self_attn.out_proj",
                                                           .norm1 = "layer_norm1",
                                                           .fc1 = "mlp.fc1",
                                                           .fc2 = "mlp.fc2",
                                                           .norm2 = "layer_norm2"};

nn::List<nn::EncoderBlock> TowerBlocks(const TowerConfig& config);

// The blocks in order, each a stage `name`.0, `name`.1, ... [B,T,D] -> [B,T,D].
Tensor RunBlocks(std::span<const nn::EncoderBlock> blocks, Tensor h, const AttentionOptions& mask,
                 std::string_view name);

// Token and position embeddings, blocks, a last norm.
struct TextTower {
  explicit TextTower(const TextTowerConfig& config);
  void Visit(nn::Visitor& v);

  // ids i64 [B,T] -> [B,T,D]. Throws kInvalidArgument for more tokens than there are positions.
  Tensor operator()(const Tensor& ids, const AttentionOptions& mask) const;

  nn::Embedding token_embedding, position_embedding;
  nn::List<nn::EncoderBlock> layers;
  nn::LayerNorm final_layer_norm;
};

// CLIP's vision transformer: a class token before the patches, a norm before the blocks and one after them.
struct ClipVisionTower {
  // Without `has_pooling` there is no pooled vector, and no norm for it.
  explicit ClipVisionTower(const VisionTowerConfig& config, bool has_pooling = true);
  void Visit(nn::Visitor& v);

  struct Outputs {
    Tensor pooled;  // [B,D] the class token after the last norm; undefined without has_pooling
    Tensor grid;    // [B,P,Q,D] the patches after the last block
  };
  // pixels [B,Y,X,C]. Pictures of another size than the configuration's get position embeddings resized to their grid.
  Outputs operator()(const Tensor& pixels) const;
  // The class token and the patches after the first `blocks` blocks, without the last norm: [B,1+P*Q,D].
  Tensor Tokens(const Tensor& pixels, size_t blocks) const;

  nn::PatchEmbed patch_embedding;
  nn::Parameter class_embedding;
  nn::Embedding position_embedding;
  nn::LayerNorm pre_layrnorm;  // spelt so in the checkpoints
  nn::List<nn::EncoderBlock> layers;
  nn::Optional<nn::LayerNorm> post_layernorm;
};

// A table of positions [G*G,D] for a grid of P rows and Q columns: as it is when P = Q = G, else resized (bicubic).
// [1,P*Q,D]
Tensor PositionsForGrid(const Tensor& table, int64_t rows, int64_t columns);

// ---- comparison and preparation

// image [N,D], text [M,D] -> [N,M] cosines.
Tensor CosineLogits(const Tensor& image_features, const Tensor& text_features);

// CLIP's preparation: the short side to `size` px (bicubic), a centred square, CLIP's mean and deviation.
media::PreprocessSpec ClipPreprocess(int64_t size);

}  // namespace fovea::models
