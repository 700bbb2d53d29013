// The vision tower of BLIP and BLIP-2: a ViT whose queries, keys and values come from one layer.
//
// Legend: B pictures, Y X their size, P Q grid of patches, N = 1 + P Q vectors, D width.
#pragma once

#include "nn/decoder.h"
#include "nn/two_tower.h"

namespace fovea::models {

struct BlipVisionConfig : VisionTowerConfig {
  bool qkv_bias = true;

  // Defaults are BLIP's: 384 px, patches of 16 px, GELU.
  BlipVisionConfig();
  void Read(const base::Config& config, std::string_view who);
};

class BlipVisionTower {
 public:
  explicit BlipVisionTower(const BlipVisionConfig& config);

  // pixels [B,Y,X,C] -> [B,N,D], the class token first, after the last norm. Pictures of another size than the
  // configuration's get position embeddings resized to their grid. Stages "vision.embeddings", "vision.layers.<i>".
  Tensor operator()(const Tensor& pixels) const;
  void Visit(nn::Visitor& v);

  int64_t patch_size() const { return patch_embedding_.patch_size(); }  // px

  nn::LayerNorm post_layernorm;

 private:
  DecoderSpec spec_;
  nn::PatchEmbed patch_embedding_;
  nn::Parameter class_embedding_, position_embedding_;  // [1,1,D], [1,N,D]
  nn::List<nn::DecoderBlock> layers_;
};

}  // namespace fovea::models
