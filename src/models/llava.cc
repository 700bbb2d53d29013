// LLaVA: CLIP's vision tower, a projector of two layers, and a language model that reads the vectors of pictures in
// place of the tokens that stand for them. The language model is any of ours.
//
// Papers: Liu et al. 2023, Visual Instruction Tuning, arXiv 2304.08485; Improved Baselines with Visual Instruction
// Tuning, arXiv 2310.03744.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/llava/modeling_llava.py
//
// Of the tower only the blocks up to the last layer that is looked at are built. Not covered: towers other than CLIP's.
//
// Legend: R pictures, N vectors each, W width of the tower, D of the language model.
#include <algorithm>

#include "nn/linear.h"
#include "nn/part.h"
#include "nn/two_tower.h"
#include "ops/activation.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "llava";
constexpr char kClipLarge[] =
    R"({"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 336, "patch_size": 14})";

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  VisionTowerConfig vision;
  base::Config text;
  int64_t image_token_index = 32000;
  std::string projector_hidden_act = "gelu", vision_feature_select_strategy = "default";
  std::vector<int64_t> blocks;  // of the tower, after which its vectors are taken
  bool multimodal_projector_bias = true;

  explicit Config(const base::Config& c) : text(PartConfig(c, "text_config", "llama", kWho)) {
    const bool has_tower = c.Has("vision_config") && !c.IsNull("vision_config");
    const base::Config large = base::Config::Parse(kClipLarge, c.source());
    if (has_tower) PartConfig(c, "vision_config", "clip_vision_model", kWho, {"clip_vision_model"});
    vision.Read(large, kWho);
    if (has_tower) vision.Read(c.Object("vision_config"), kWho);
    c.Read("image_token_index", image_token_index, 0, 1e8);
    c.Read("image_token_id", image_token_index, 0, 1e8);
    c.Read("projector_hidden_act", projector_hidden_act);
    c.Read("vision_feature_select_strategy", vision_feature_select_strategy);
    c.Read("multimodal_projector_bias", multimodal_projector_bias);
    Require(vision_feature_select_strategy == "default" || vision_feature_select_strategy == "full",
            "[llava] expected vision_feature_select_strategy default or full, got \"",
            base::PrintableUtf8(vision_feature_select_strategy), "\"");
    ReadBlocks(c);
  }

  // vision_feature_layer: one or several of the states before, between and after the blocks, from the end if negative.
  void ReadBlocks(const base::Config& c) {
    const int64_t layers = vision.num_hidden_layers;
    blocks = {-2};
    if (c.IsList("vision_feature_layer")) {
      c.Read("vision_feature_layer", blocks, -1001, 1000);
    } else {
      c.Read("vision_feature_layer", blocks[0], -1001, 1000);
    }
    Require(!blocks.empty() && blocks.size() <= 64, "[llava] expected 1 to 64 layers in vision_feature_layer");
    for (int64_t& block : blocks) {
      const int64_t asked = block;
      if (block < 0) block += layers + 1;
      Require(block >= 0 && block <= layers, "[llava] expected a vision_feature_layer among the ", layers + 1,
              " states of the tower, got ", asked);
    }
    vision.num_hidden_layers = *std::ranges::max_element(blocks);
  }
};

// ---- modules
struct Llava {
  Config config;
  ClipVisionTower tower;
  Part language_model;
  nn::Linear linear_1, linear_2;
  Act act;
  DecoderSpec spec;

  explicit Llava(const Config& c)
      : config(c),
        tower(c.vision, /*has_pooling=*/false),
        language_model(c.text, kWho, "language."),
        linear_1({.in_features = c.vision.hidden_size * static_cast<int64_t>(c.blocks.size()),
                  .out_features = language_model.Decoder().hidden_size,
                  .has_bias = c.multimodal_projector_bias}),
        linear_2({.in_features = language_model.Decoder().hidden_size,
                  .out_features = language_model.Decoder().hidden_size,
                  .has_bias = c.multimodal_projector_bias}),
        act(ActFromName(c.projector_hidden_act, "llava")),
        spec(language_model.Decoder()) {
    Require(spec.memory_size == 0, "[llava] expected a language model without cross-attention");
    spec.pictures = PicturePlace::kTokens;
    spec.image_token_id = c.image_token_index;
  }

  void Visit(nn::Visitor& v) {
    v("vision_tower.vision_model", tower);
    v("multi_modal_projector.linear_1", linear_1);
    v("multi_modal_projector.linear_2", linear_2);
    v("language_model", language_model);
  }

  DecoderSpec Decoder() const { return spec; }
  Tensor EmbedTokens(const Tensor& ids) const {
    // A token for pictures that the table of words lacks is replaced anyway.
    return language_model.EmbedTokens(config.image_token_index < spec.vocab ? ids : WithoutImages(ids));
  }
  DecodeOutputs Decode(const DecodeInputs& inputs) const { return language_model.Decode(inputs); }

  Tensor WithoutImages(const Tensor& ids) const {
    const Tensor words = ids.Clone();
    int64_t* id = words.mutable_data<int64_t>();
    for (int64_t i = 0; i < words.numel(); ++i) id[i] = id[i] == config.image_token_index ? 0 : id[i];
    return words;
  }

  // pixels [R,Y,X,C] -> [R,N,D].
  Tensor EmbedImages(const Tensor& pixels) const {
    std::vector<Tensor> states = {tower.Tokens(pixels, 0)};  // [R,1+PQ,W] each
    for (size_t i = 0; i < tower.layers.size(); ++i)
      states.push_back(nn::Stage("vision.layers", static_cast<int64_t>(i), tower.layers[i](states.back())));
    const int64_t first = config.vision_feature_select_strategy == "full" ? 0 : 1;  // whether the class token stays
    std::vector<Tensor> taken;
    for (const int64_t block : config.blocks)
      taken.push_back(Slice(states[static_cast<size_t>(block)], 1, first, states[0].dim(1)));  // [R,N,W]
    const Tensor seen = taken.size() == 1 ? taken[0] : Concat(taken, 2);                       // [R,N,kW]
    return nn::Stage("pictures", linear_2(linear_1(seen, act)));                               // [R,N,D]
  }
};

// ---- names: as LLaVA's checkpoints, and those that transformers 5 has in memory
constexpr Rename kRenames[] = {{"^model.vision_tower.", "vision_tower."},
                               {"^model.multi_modal_projector.", "multi_modal_projector."},
                               {"^model.language_model.", "language_model.model."},
                               {"^lm_head.", "language_model.lm_head."}};

void Adapt(std::vector<NamedTensor>& tensors, const base::Config& c) {
  const Config config(c);
  for (NamedTensor& tensor : tensors) {
    tensor.name = Renamed(tensor.name, kRenames);
    if (tensor.name.starts_with("vision_tower.") && !tensor.name.starts_with("vision_tower.vision_model."))
      tensor.name.insert(13, "vision_model.");
  }
  AdaptPart(tensors, "language_model", config.text);
  // Blocks of the tower that nobody looks at.
  constexpr std::string_view kBlocks = "vision_tower.vision_model.encoder.layers.";
  std::erase_if(tensors, [&](const NamedTensor& tensor) {
    return tensor.name.starts_with(kBlocks) &&
           std::atoll(tensor.name.c_str() + kBlocks.size()) >= config.vision.num_hidden_layers;
  });
}

constexpr std::string_view kUnused[] = {"vision_tower.vision_model.embeddings.position_ids",
                                        "vision_tower.vision_model.post_layernorm.*"};

}  // namespace

const Entry& llava_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "LLaVA",
               .paper = "Liu et al. 2023, arXiv 2304.08485",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/llava/"
                            "modeling_llava.py",
               .tasks = "conversations about pictures, captions, answers about pictures"},
      .create = [](const base::Config& config) { return MakeModel(Llava(Config(config))); },
      .input_spec = [](const base::Config& config) { return ClipPreprocess(Config(config).vision.image_size); },
      .unused = kUnused,
      .adapt = Adapt};
  return entry;
}

}  // namespace fovea::models
