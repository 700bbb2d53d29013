// What LLaVA and LLaVA-NeXT share: CLIP's vision tower, a projector of two layers, and a language model that reads the
// vectors of pictures in place of the tokens that stand for them (Liu et al. 2023, arXiv 2304.08485). How a picture
// becomes one or several inputs of the tower is the business of each model's file.
//
// Of the tower only the blocks up to the last layer that is looked at are built.
//
// Legend: R pictures, N vectors each, W width of the tower, D of the language model, B texts, T tokens.
#pragma once

#include <string>
#include <vector>

#include "nn/linear.h"
#include "nn/part.h"
#include "nn/two_tower.h"

namespace fovea::models {

// The keys of config.json, defaults as in transformers.
struct LlavaConfig {
  // `who`: the family, for errors. Throws kInvalidArgument / kUnimplemented naming the option, kUnimplemented too for a
  // tower other than CLIP's.
  LlavaConfig(const base::Config& config, std::string_view who);

  std::string_view who;
  VisionTowerConfig vision;
  base::Config text;
  int64_t image_token_index = 32000;
  std::string projector_hidden_act = "gelu", vision_feature_select_strategy = "default";
  std::vector<int64_t> blocks;  // of the tower, after which its vectors are taken
  bool multimodal_projector_bias = true;

 private:
  void ReadBlocks(const base::Config& config);
};

class LlavaNetwork {
 public:
  explicit LlavaNetwork(const LlavaConfig& config);
  void Visit(nn::Visitor& v);

  const LlavaConfig& config() const { return config_; }
  const DecoderSpec& Decoder() const { return spec_; }
  Tensor EmbedTokens(const Tensor& ids) const;  // i64 [B,T] -> [B,T,D]
  DecodeOutputs Decode(const DecodeInputs& inputs) const { return language_model_.Decode(inputs); }
  Tensor EmbedImages(const Tensor& pixels) const;  // [R,Y,X,C] -> [R,N,D]

 private:
  LlavaConfig config_;
  ClipVisionTower tower_;
  Part language_model_;
  nn::Linear linear_1_, linear_2_;
  Act act_;
  DecoderSpec spec_;
};

// Names of tensors as in checkpoints, from those that transformers 5 has in memory, and without the blocks of the tower
// that nobody looks at.
void AdaptLlava(std::vector<NamedTensor>& tensors, const LlavaConfig& config);

// What checkpoints carry beside that.
inline constexpr std::string_view kLlavaUnused[] = {"vision_tower.vision_model.embeddings.position_ids",
                                                    "vision_tower.vision_model.post_layernorm.*"};

}  // namespace fovea::models
