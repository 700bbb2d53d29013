// PaliGemma: SigLIP's vision tower, a projection, and Gemma, which reads the vectors of pictures in place of the tokens
// that stand for them. The tokens of a prompt, pictures and words, all see each other; those of the answer see what
// stands before them.
//
// Paper: Beyer et al. 2024, PaliGemma: A versatile 3B VLM for transfer, arXiv 2407.07726.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/paligemma/
// modeling_paligemma.py
//
// Positions count from 0 here and from 1 there, which rotary positions do not tell apart. Not covered: PaliGemma 2
// (gemma2).
//
// Legend: R pictures, P patches each, W width of the tower, D of the language model.
#include "nn/linear.h"
#include "nn/part.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "paligemma";
constexpr char kTower[] =
    R"({"hidden_size": 1152, "intermediate_size": 4096, "num_hidden_layers": 27, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 14, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6})";
constexpr char kText[] =
    R"({"hidden_size": 2048, "num_hidden_layers": 18, "intermediate_size": 16384, "num_attention_heads": 8,
        "num_key_value_heads": 1, "vocab_size": 257152})";

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  VisionTowerConfig vision;
  base::Config text;
  int64_t image_token_index = 256000;

  explicit Config(const base::Config& c)
      : text(PartConfig(c, "text_config", "gemma", kWho, {"gemma"}).MergedOver(base::Config::Parse(kText, c.source()))) {
    vision.Read(base::Config::Parse(kTower, c.source()), kWho);
    if (c.Has("vision_config")) vision.Read(PartConfig(c, "vision_config", "siglip_vision_model", kWho,
                                                       {"siglip_vision_model"}), kWho);
    c.Read("image_token_index", image_token_index, 0, 1e8);
    c.Read("image_token_id", image_token_index, 0, 1e8);
    if (!text.Get<bool>("use_bidirectional_attention", true))
      Fail(ErrorCode::kUnimplemented, "[paligemma] prompts that are read causally (use_bidirectional_attention false) "
           "are not implemented");
  }
};

// ---- modules

// SigLIP's tower without its head.
struct Tower {
  nn::PatchEmbed patch_embedding;
  nn::Embedding position_embedding;
  nn::List<nn::EncoderBlock> layers;
  nn::LayerNorm post_layernorm;

  explicit Tower(const VisionTowerConfig& c)
      : patch_embedding(c.num_channels, c.hidden_size, c.patch_size),
        position_embedding(c.Grid() * c.Grid(), c.hidden_size),
        layers(TowerBlocks(c)),
        post_layernorm(c.hidden_size, c.layer_norm_eps) {}
  void Visit(nn::Visitor& v) {
    v("embeddings.patch_embedding", patch_embedding.projection);
    v("embeddings.position_embedding", position_embedding);
    v("encoder.layers", layers);
    v("post_layernorm", post_layernorm);
  }

  // pixels [R,Y,X,C] -> [R,P,W]
  Tensor operator()(const Tensor& pixels) const {
    const Tensor patches = patch_embedding.Grid(pixels);  // [R,rows,columns,W]
    const auto [R, rows, columns, W] = patches.Dims<4>("patches");
    const Tensor h = Reshape(patches, {R, rows * columns, W}) +
                     PositionsForGrid(position_embedding.weight, rows, columns);  // [R,P,W]
    return post_layernorm(RunBlocks(layers, h, {}, "vision.layers"));             // [R,P,W]
  }
};

struct PaliGemma {
  Config config;
  Tower tower;
  Part language_model;
  nn::Linear projector;
  DecoderSpec spec;

  explicit PaliGemma(const Config& c)
      : config(c),
        tower(c.vision),
        language_model(c.text, kWho, "language."),
        projector({.in_features = c.vision.hidden_size, .out_features = language_model.Decoder().hidden_size}),
        spec(language_model.Decoder()) {
    spec.pictures = PicturePlace::kTokens;
    spec.image_token_id = c.image_token_index;
    spec.prompt_sees_itself = true;
  }

  void Visit(nn::Visitor& v) {
    v("vision_tower.vision_model", tower);
    v("multi_modal_projector.linear", projector);
    v("language_model", language_model);
  }

  DecoderSpec Decoder() const { return spec; }
  Tensor EmbedTokens(const Tensor& ids) const {
    if (config.image_token_index < spec.vocab) return language_model.EmbedTokens(ids);  // [B,T,D]
    const Tensor words = ids.Clone();  // a token that the table of words lacks is replaced anyway
    for (int64_t i = 0; i < words.numel(); ++i) {
      int64_t& id = words.mutable_data<int64_t>()[i];
      if (id == config.image_token_index) id = 0;
    }
    return language_model.EmbedTokens(words);
  }
  Tensor EmbedImages(const Tensor& pixels) const { return nn::Stage("pictures", projector(tower(pixels))); }  // [R,P,D]
  DecodeOutputs Decode(const DecodeInputs& inputs) const { return language_model.Decode(inputs); }
};

media::PreprocessSpec InputSpec(const base::Config& config) {
  const int64_t side = Config(config).vision.image_size;
  media::PreprocessSpec spec;  // mean and deviation 0.5
  spec.size = {.height = side, .width = side};
  spec.resample = media::Filter::kBicubic;
  return spec;
}

// ---- names: as PaliGemma's checkpoints, and those that transformers 5 has in memory
constexpr Rename kRenames[] = {{"^model.vision_tower.", "vision_tower."},
                               {"^model.multi_modal_projector.", "multi_modal_projector."},
                               {"^model.language_model.", "language_model.model."},
                               {"^lm_head.", "language_model.lm_head."}};

void Adapt(std::vector<NamedTensor>& tensors, const base::Config& c) {
  for (NamedTensor& tensor : tensors) {
    tensor.name = Renamed(tensor.name, kRenames);
    if (tensor.name.starts_with("vision_tower.") && !tensor.name.starts_with("vision_tower.vision_model."))
      tensor.name.insert(13, "vision_model.");
  }
  AdaptPart(tensors, "language_model", Config(c).text);
}

constexpr std::string_view kUnused[] = {"*.position_ids", "vision_tower.vision_model.head.*"};

}  // namespace

const Entry& paligemma_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "PaliGemma",
               .paper = "Beyer et al. 2024, arXiv 2407.07726",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/"
                            "paligemma/modeling_paligemma.py",
               .tasks = "captions, answers about pictures"},
      .create = [](const base::Config& config) { return MakeModel(PaliGemma(Config(config))); },
      .input_spec = InputSpec,
      .unused = kUnused,
      .adapt = Adapt};
  return entry;
}

}  // namespace fovea::models
