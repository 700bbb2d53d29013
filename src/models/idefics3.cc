// Idefics 3 and SmolVLM: a SigLIP tower that sees a large picture tile by tile and then as a whole, squares of its
// vectors joined into one each (pixel shuffle), a projection, and a language model that reads them in place of the
// tokens that stand for them. Between the tiles the prompt says in which row and column each lies. The language model
// is any of ours; Idefics 3 and SmolVLM have LLaMA's.
//
// Papers: Laurençon et al. 2024, Building and better understanding vision-language models, arXiv 2408.12637; Marafioti
// et al. 2025, SmolVLM, arXiv 2504.05299.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/idefics3/modeling_idefics3.py
//
// Not covered: tiles of another size than the tower's pictures, films. The reference finds the position of a patch from
// a fraction in f32, which for some sides of a grid (19, 25, 29, ...) puts a patch one place too early; for the sides
// of published models (26, 27, 32) it does not, and here no patch is misplaced.
//
// Legend: R tiles, G side of a tile in patches, W width of the tower, S side of the squares that are joined, N vectors
// of a tile, D width of the language model.
#include "nn/part.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "idefics3";
constexpr char kVisionDefaults[] =
    R"({"hidden_size": 1152, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 32, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6})";

// ---- config: the keys of config.json, defaults as in transformers
base::Config TextConfig(const base::Config& c) {
  const base::Config text = PartConfig(c, "text_config", "llama", kWho);
  // Published files name an architecture there ("VLlama3ForCausalLM") that the reference does not look at.
  return TiedAsWhole(c, base::Config::Parse(R"({"architectures": []})", text.source()).MergedOver(text));
}

struct Config {
  VisionTowerConfig vision;
  base::Config text;
  int64_t image_token_id = 128257;
  int64_t scale_factor = 2;  // S

  explicit Config(const base::Config& c) : text(TextConfig(c)) {
    base::Config tower = base::Config::Parse(kVisionDefaults, c.source());
    if (c.Has("vision_config")) {
      PartConfig(c, "vision_config", "idefics3_vision", kWho,
                 {"idefics3_vision", "smolvlm_vision", "idefics3", "smolvlm"});
      tower = c.Object("vision_config").MergedOver(tower);
    }
    vision.Read(tower, kWho);
    c.Read("image_token_id", image_token_id, 0, 1e8);
    c.Read("scale_factor", scale_factor, 1, 64);
    Require(vision.image_size % vision.patch_size == 0 && vision.Grid() % scale_factor == 0,
            "[idefics3] expected an image_size of whole patches of ", vision.patch_size, " px, in squares of ",
            scale_factor, ", got ", vision.image_size);
  }
  int64_t Vectors() const { return vision.Grid() * vision.Grid() / (scale_factor * scale_factor); }  // N
};

// ---- modules
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

  // pixels [R,Y,X,C] -> [R,GG,W].
  Tensor operator()(const Tensor& pixels) const {
    const Tensor h = patch_embedding(pixels) + position_embedding.weight.value();  // [R,GG,W]
    return post_layernorm(RunBlocks(layers, nn::Stage("vision.embeddings", h), {}, "vision.layers"));
  }
};

struct Idefics3 {
  Config config;
  Tower vision_model;
  Part text_model;
  nn::Linear projection;
  DecoderSpec spec;

  explicit Idefics3(const Config& c)
      : config(c),
        vision_model(c.vision),
        text_model(c.text, kWho, "language."),
        projection({.in_features = c.vision.hidden_size * c.scale_factor * c.scale_factor,
                    .out_features = text_model.Decoder().hidden_size,
                    .has_bias = false}),
        spec(text_model.Decoder()) {
    Require(spec.memory_size == 0, "[idefics3] expected a language model without cross-attention");
    spec.pictures = PicturePlace::kTokens;
    spec.image_token_id = c.image_token_id;
  }

  void Visit(nn::Visitor& v) {
    v("vision_model", vision_model);
    v("connector.modality_projection.proj", projection);
    v("text_model", text_model);
  }

  DecoderSpec Decoder() const { return spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return text_model.EmbedTokens(ids); }
  DecodeOutputs Decode(const DecodeInputs& inputs) const { return text_model.Decode(inputs); }

  // The vectors of the tiles one after the other, those of the whole picture last: [RN,D].
  Tensor EmbedTiles(const TileInputs& picture) const {
    const auto [R, Y, X, C] = picture.pixels.Dims<4>("tiles");
    const int64_t size = config.vision.image_size, G = config.vision.Grid(), S = config.scale_factor;
    Require(R == 1 + picture.rows * picture.columns && Y == size && X == size,
            "[idefics3] expected the tiles and the whole picture, [rows*columns+1,", size, ",", size, ",", C, "], got ",
            picture.pixels.shape(), " for ", picture.rows, "x", picture.columns, " tiles");
    const Tensor seen = vision_model(picture.pixels);  // [R,GG,W]
    const int64_t W = seen.dim(2), N = config.Vectors();
    const Tensor rows = Reshape(seen, {R, G / S, S, G / S, S * W});                    // [R,G/S,S,G/S,SW]
    const Tensor joined = Reshape(Permute(rows, {0, 1, 3, 2, 4}), {R, N, S * S * W});  // [R,N,SSW]
    const Tensor vectors = nn::Stage("connector", projection(joined));                 // [R,N,D]
    return Reshape(vectors, {R * N, vectors.dim(2)});
  }

  std::string TileText(const TileInputs& picture, std::string_view image_token) const {
    constexpr std::string_view kAround = "<fake_token_around_image>";
    std::string vectors, text;
    for (int64_t i = 0; i < config.Vectors(); ++i) vectors += image_token;
    for (int64_t row = 1; row <= picture.rows; ++row) {
      for (int64_t column = 1; column <= picture.columns; ++column)
        text += base::StrCat(kAround, "<row_", row, "_col_", column, ">", vectors);
      text += '\n';
    }
    return base::StrCat(text, picture.rows > 0 ? "\n" : "", kAround, "<global-img>", vectors, kAround);
  }
};

// ---- names
constexpr Rename kRenames[] = {{"^model.vision_model.", "vision_model."},
                               {"^model.connector.", "connector."},
                               {"^model.text_model.", "text_model.model."},
                               {"^lm_head.", "text_model.lm_head."}};

void Adapt(std::vector<NamedTensor>& tensors, const base::Config& c) {
  for (NamedTensor& tensor : tensors) tensor.name = Renamed(tensor.name, kRenames);
  AdaptPart(tensors, "text_model", Config(c).text);
}

constexpr std::string_view kAliases[] = {"smolvlm"};

}  // namespace

const Entry& idefics3_entry() {
  static const Entry entry{
      .model_type = kWho,
      .aliases = kAliases,
      .card = {.title = "Idefics3",
               .paper = "Laurençon et al. 2024, arXiv 2408.12637",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/idefics3/"
                            "modeling_idefics3.py",
               .tasks = "conversations about pictures, captions, answers about pictures"},
      .create = [](const base::Config& config) { return MakeModel(Idefics3(Config(config))); },
      .input_spec = nullptr,
      .adapt = Adapt};
  return entry;
}

}  // namespace fovea::models
