#include "nn/llava.h"

#include <algorithm>

#include "ops/activation.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr char kClipLarge[] =
    R"({"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 336, "patch_size": 14})";

constexpr Rename kRenames[] = {{"^model.vision_tower.", "vision_tower."},
                               {"^model.multi_modal_projector.", "multi_modal_projector."},
                               {"^model.image_newline", "image_newline"},
                               {"^model.language_model.", "language_model.model."},
                               {"^lm_head.", "language_model.lm_head."}};

}  // namespace

LlavaConfig::LlavaConfig(const base::Config& c, std::string_view name)
    : who(name), text(TiedAsWhole(c, PartConfig(c, "text_config", "llama", name))) {
  const bool has_tower = c.Has("vision_config") && !c.IsNull("vision_config");
  const base::Config large = base::Config::Parse(kClipLarge, c.source());
  if (has_tower) PartConfig(c, "vision_config", "clip_vision_model", who, {"clip_vision_model"});
  vision.Read(large, who);
  if (has_tower) vision.Read(c.Object("vision_config"), who);
  c.Read("image_token_index", image_token_index, 0, 1e8);
  c.Read("image_token_id", image_token_index, 0, 1e8);
  c.Read("projector_hidden_act", projector_hidden_act);
  c.Read("vision_feature_select_strategy", vision_feature_select_strategy);
  c.Read("multimodal_projector_bias", multimodal_projector_bias);
  Require(vision_feature_select_strategy == "default" || vision_feature_select_strategy == "full", "[", who,
          "] expected vision_feature_select_strategy default or full, got \"",
          base::PrintableUtf8(vision_feature_select_strategy), "\"");
  ReadBlocks(c);
}

// vision_feature_layer: one or several of the states before, between and after the blocks, from the end if negative.
void LlavaConfig::ReadBlocks(const base::Config& c) {
  const int64_t layers = vision.num_hidden_layers;
  blocks = {-2};
  if (c.IsList("vision_feature_layer")) {
    c.Read("vision_feature_layer", blocks, -1001, 1000);
  } else {
    c.Read("vision_feature_layer", blocks[0], -1001, 1000);
  }
  Require(!blocks.empty() && blocks.size() <= 64, "[", who, "] expected 1 to 64 layers in vision_feature_layer");
  for (int64_t& block : blocks) {
    const int64_t asked = block;
    if (block < 0) block += layers + 1;
    Require(block >= 0 && block <= layers, "[", who, "] expected a vision_feature_layer among the ", layers + 1,
            " states of the tower, got ", asked);
  }
  vision.num_hidden_layers = *std::ranges::max_element(blocks);
}

LlavaNetwork::LlavaNetwork(const LlavaConfig& c)
    : config_(c),
      tower_(c.vision, /*has_pooling=*/false),
      language_model_(c.text, c.who, "language."),
      linear_1_({.in_features = c.vision.hidden_size * static_cast<int64_t>(c.blocks.size()),
                 .out_features = language_model_.Decoder().hidden_size,
                 .has_bias = c.multimodal_projector_bias}),
      linear_2_({.in_features = language_model_.Decoder().hidden_size,
                 .out_features = language_model_.Decoder().hidden_size,
                 .has_bias = c.multimodal_projector_bias}),
      act_(ActFromName(c.projector_hidden_act, c.who)),
      spec_(language_model_.Decoder()) {
  Require(spec_.memory_size == 0, "[", c.who, "] expected a language model without cross-attention");
  spec_.pictures = PicturePlace::kTokens;
  spec_.image_token_id = c.image_token_index;
}

void LlavaNetwork::Visit(nn::Visitor& v) {
  v("vision_tower.vision_model", tower_);
  v("multi_modal_projector.linear_1", linear_1_);
  v("multi_modal_projector.linear_2", linear_2_);
  v("language_model", language_model_);
}

Tensor LlavaNetwork::EmbedTokens(const Tensor& ids) const {
  if (config_.image_token_index < spec_.vocab) return language_model_.EmbedTokens(ids);
  // A token for pictures that the table of words lacks is replaced anyway.
  const Tensor words = ids.Clone();
  int64_t* id = words.mutable_data<int64_t>();
  for (int64_t i = 0; i < words.numel(); ++i) id[i] = id[i] == config_.image_token_index ? 0 : id[i];
  return language_model_.EmbedTokens(words);
}

Tensor LlavaNetwork::EmbedImages(const Tensor& pixels) const {
  std::vector<Tensor> states = {tower_.Tokens(pixels, 0)};  // [R,1+PQ,W] each
  for (size_t i = 0; i < tower_.layers.size(); ++i)
    states.push_back(nn::Stage("vision.layers", static_cast<int64_t>(i), tower_.layers[i](states.back())));
  const int64_t first = config_.vision_feature_select_strategy == "full" ? 0 : 1;  // whether the class token stays
  std::vector<Tensor> taken;
  for (const int64_t block : config_.blocks)
    taken.push_back(Slice(states[static_cast<size_t>(block)], 1, first, states[0].dim(1)));  // [R,N,W]
  const Tensor seen = taken.size() == 1 ? taken[0] : Concat(taken, 2);                       // [R,N,kW]
  return nn::Stage("pictures", linear_2_(linear_1_(seen, act_)));                            // [R,N,D]
}

void AdaptLlava(std::vector<NamedTensor>& tensors, const LlavaConfig& config) {
  for (NamedTensor& tensor : tensors) {
    tensor.name = Renamed(tensor.name, kRenames);
    if (tensor.name.starts_with("vision_tower.") && !tensor.name.starts_with("vision_tower.vision_model."))
      tensor.name.insert(13, "vision_model.");
  }
  AdaptPart(tensors, "language_model", config.text);
  constexpr std::string_view kBlocks = "vision_tower.vision_model.encoder.layers.";
  std::erase_if(tensors, [&](const NamedTensor& tensor) {
    return tensor.name.starts_with(kBlocks) &&
           std::atoll(tensor.name.c_str() + kBlocks.size()) >= config.vision.num_hidden_layers;
  });
}

}  // namespace fovea::models
