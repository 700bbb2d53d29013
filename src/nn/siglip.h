// What SigLIP and SigLIP 2 share: everything but the way a picture becomes tokens (Zhai et al. 2023, arXiv 2303.15343;
// Tschannen et al. 2025, arXiv 2502.14786).
//
// The vision tower ends in attention by one learnt query, the text tower in its last token, and a pair is scored by
// itself, with a scale and a bias. Both models' files add their embeddings of pictures.
//
// Legend: B batch, P patches, T tokens, D width, V classes, N M pictures and texts to compare.
#pragma once

#include "nn/two_tower.h"

namespace fovea::models {

struct SiglipConfig {
  Towers towers;
  TextTowerConfig text;
  VisionTowerConfig vision;
  int64_t projection_size = 0;  // of text features
  bool vision_use_head = true;

  // `who`: the family, for errors. Throws kInvalidArgument / kUnimplemented naming the option.
  SiglipConfig(const base::Config& config, std::string_view who, std::string_view family);
};

// One query attends to all patches, then an MLP: [B,P,D] -> [B,D].
struct SiglipPoolingHead {
  explicit SiglipPoolingHead(const VisionTowerConfig& config);
  void Visit(nn::Visitor& v);

  // `mask` bool [B,P], true for patches that exist; undefined: all do.
  Tensor operator()(const Tensor& patches, const Tensor& mask) const;

  int64_t heads;
  nn::Parameter probe;                         // [1,1,D]
  nn::Parameter in_proj_weight, in_proj_bias;  // [3D,D], [3D]: query, key and value
  nn::Linear out_proj;
  nn::LayerNorm layernorm;
  nn::Linear fc1, fc2;
  Act act;

 private:
  nn::Derived<kernels::PackedLinear> packed_query_, packed_keys_values_;
};

class SiglipNetwork {
 public:
  explicit SiglipNetwork(const SiglipConfig& config);
  void Visit(nn::Visitor& v);

  bool CanEncodeTexts() const { return config_.towers.has_text; }
  Matching HowItMatches() const { return config_.towers.IsSingle() ? Matching::kNone : Matching::kSigmoid; }
  TextSpec Texts() const { return {.max_tokens = config_.text.max_position_embeddings, .pads_to_max = true}; }
  int64_t FeatureSize() const {
    return config_.towers.has_vision ? config_.vision.hidden_size : config_.projection_size;
  }

  bool CanClassify() const { return classifier_.has_value(); }
  // Throws kUnimplemented when the checkpoint holds the text tower alone.
  void RequireVision() const;
  // From embedded patches [B,P,D] on; `grid` of the result is [B,P,D]. `mask` as for the pooling head.
  ImageOutputs EncodeEmbedded(const Tensor& embedded, const Tensor& mask) const;
  // Padding is part of the text: these models saw padded texts without a mask, and their tokenizers give none.
  TextOutputs EncodeTexts(const TextInputs& inputs) const;
  Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const;

 private:
  SiglipConfig config_;
  nn::Parameter logit_scale_, logit_bias_;  // [1]
  nn::Optional<TextTower> text_model_;
  nn::Optional<nn::Linear> text_head_;
  nn::List<nn::EncoderBlock> layers_;
  nn::Optional<nn::LayerNorm> post_layernorm_;
  nn::Optional<SiglipPoolingHead> head_;
  nn::Optional<nn::Linear> classifier_;
};

}  // namespace fovea::models
