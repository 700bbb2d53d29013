// PaliGemma: SigLIP's vision tower, one linear layer, and Gemma, which reads the vectors of a picture in place of the
// tokens that stand for them. Picture and prompt are a prefix whose tokens all see each other; the answer sees what
// stands before it.
//
// Paper: Beyer et al. 2024, PaliGemma: A versatile 3B VLM for transfer, arXiv 2407.07726.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/paligemma/
// modeling_paligemma.py
//
// Positions begin at 0 where the reference's begin at 1: rotary attention knows distances only. Not covered: PaliGemma
// 2, whose language model is Gemma 2; training, as the parts of a batch that see each other differ from row to row.
//
// Legend: R pictures, N vectors each, P Q grid of patches, W width of the tower, D of the language model.
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/part.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "paligemma";

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  VisionTowerConfig vision;
  base::Config text;
  int64_t image_token_index = 256000, projection_dim = 2048;

  explicit Config(const base::Config& c) : text(TextConfig(c)) {
    vision.patch_size = 16;
    vision.hidden_act = "gelu_pytorch_tanh";
    vision.layer_norm_eps = 1e-6;
    vision.Read(PartConfig(c, "vision_config", "siglip_vision_model", kWho, {"siglip_vision_model"}), kWho);
    c.Read("image_token_index", image_token_index, 0, 1e8);
    c.Read("image_token_id", image_token_index, 0, 1e8);
    c.Read("projection_dim", projection_dim, 1, 1 << 20);
  }

  static base::Config TextConfig(const base::Config& c) {
    // Only what it says of a prefix, which is meant here in any case.
    return base::Config::Parse(R"({"use_bidirectional_attention": null})", c.source())
        .MergedOver(PartConfig(c, "text_config", "gemma", kWho, {"gemma"}));
  }
};

// ---- modules
struct PaliGemma {
  Config config;
  nn::PatchEmbed patch_embedding;
  nn::Embedding position_embedding;
  nn::List<nn::EncoderBlock> layers;
  nn::LayerNorm post_layernorm;
  nn::Linear projector;
  Part language_model;
  DecoderSpec spec;

  explicit PaliGemma(const Config& c)
      : config(c),
        patch_embedding(c.vision.num_channels, c.vision.hidden_size, c.vision.patch_size),
        position_embedding(c.vision.Grid() * c.vision.Grid(), c.vision.hidden_size),
        layers(TowerBlocks(c.vision)),
        post_layernorm(c.vision.hidden_size, c.vision.layer_norm_eps),
        projector({.in_features = c.vision.hidden_size, .out_features = c.projection_dim}),
        language_model(c.text, kWho, "language."),
        spec(language_model.Decoder()) {
    Require(spec.hidden_size == c.projection_dim, "[paligemma] expected projection_dim as wide as the language model, ",
            spec.hidden_size, ", got ", c.projection_dim);
    spec.pictures = PicturePlace::kTokens;
    spec.image_token_id = c.image_token_index;
    spec.prompt_sees_itself = true;
  }

  void Visit(nn::Visitor& v) {
    v("vision_tower.vision_model.embeddings.patch_embedding", patch_embedding.projection);
    v("vision_tower.vision_model.embeddings.position_embedding", position_embedding);
    v("vision_tower.vision_model.encoder.layers", layers);
    v("vision_tower.vision_model.post_layernorm", post_layernorm);
    v("multi_modal_projector.linear", projector);
    v("language_model", language_model);
  }

  // pixels [R,Y,X,C] -> [R,N,D].
  Tensor EmbedImages(const Tensor& pixels) const {
    const Tensor patches = patch_embedding.Grid(pixels);  // [R,P,Q,W]
    const auto [R, P, Q, W] = patches.Dims<4>("patches");
    Tensor h = Reshape(patches, {R, P * Q, W}) + PositionsForGrid(position_embedding.weight, P, Q);  // [R,N,W]
    h = RunBlocks(layers, nn::Stage("vision.embeddings", h), {}, "vision.layers");                   // [R,N,W]
    return nn::Stage("pictures", projector(post_layernorm(h)));                                      // [R,N,D]
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
};

// SigLIP's: stretched to a square.
media::PreprocessSpec InputSpec(const base::Config& config) {
  media::PreprocessSpec spec;  // mean and deviation 0.5
  spec.size.height = spec.size.width = Config(config).vision.image_size;
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
