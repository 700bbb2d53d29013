// Qwen2-VL: a vision transformer that sees pictures at their own size and proportions, with rotary positions in two
// dimensions; squares of its patches become one vector each; Qwen 2's language model reads them in place of the tokens
// that stand for them, at positions of three axes: time, row and column (M-RoPE).
//
// Paper: Wang et al. 2024, Qwen2-VL, arXiv 2409.12191.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/qwen2_vl/modeling_qwen2_vl.py
//
// Not covered: films. The tower takes pairs of frames; of a picture it sees the same twice, which is what its two
// weights do together to one.
//
// Legend: B pictures, P patches in the order in which squares of S x S are joined, F pixels of a patch, W width and E
// head dimension of the tower, N vectors of a picture, D width of the language model.
#include <algorithm>

#include "nn/part.h"
#include "nn/rotary.h"
#include "nn/transformer.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/rotary.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "qwen2_vl";
constexpr double kEps = 1e-6;  // of the tower's norms
constexpr char kTextDefaults[] =
    R"({"vocab_size": 152064, "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5,
        "max_window_layers": 80, "bos_token_id": 151643, "eos_token_id": 151645})";

// ---- config: the keys of config.json, defaults as in transformers
struct VisionConfig {
  int64_t depth = 32, embed_dim = 1280, hidden_size = 3584, num_heads = 16, in_channels = 3;
  int64_t patch_size = 14, spatial_merge_size = 2, temporal_patch_size = 2;
  double mlp_ratio = 4, rope_theta = 10000;
  std::string hidden_act = "quick_gelu";

  explicit VisionConfig(const base::Config& c) {
    c.Read("depth", depth, 0, 1000);
    c.Read("embed_dim", embed_dim, 1, 65536);
    c.Read("hidden_size", hidden_size, 1, 1 << 20);
    c.Read("num_heads", num_heads, 1, 65536);
    c.Read("in_channels", in_channels, 1, 64);
    c.Read("patch_size", patch_size, 1, 1024);
    c.Read("spatial_merge_size", spatial_merge_size, 1, 64);
    c.Read("temporal_patch_size", temporal_patch_size, 1, 64);
    c.Read("mlp_ratio", mlp_ratio, 0.01, 64);
    c.Read("hidden_act", hidden_act);
    ActFromName(hidden_act, kWho);
    if (c.Has("rope_parameters")) ReadRopeParameters(c.Object("rope_parameters"));
    Require(embed_dim % num_heads == 0 && embed_dim / num_heads % 4 == 0,
            "[qwen2_vl] expected heads of a multiple of 4 elements, got embed_dim ", embed_dim, " and num_heads ",
            num_heads);
  }
  void ReadRopeParameters(const base::Config& rope) {
    rope.Read("rope_theta", rope_theta, 1.0001, 1e12);
    const auto kind = rope.Get<std::string>("rope_type", "axial");
    if (kind != "axial")
      Fail(ErrorCode::kUnimplemented, "[qwen2_vl] the tower's rotary embedding \"", base::PrintableUtf8(kind),
           "\" is not implemented; there is axial");
  }
  int64_t HeadDim() const { return embed_dim / num_heads; }  // E
};

base::Config VisionKeys(const base::Config& c) {
  if (!c.Has("vision_config")) return base::Config::Parse("{}", c.source());
  return PartConfig(c, "vision_config", "qwen2_vl_vision", kWho, {"qwen2_vl_vision", "qwen2_vl"});
}

// The language model is Qwen 2's. Its keys stand in text_config, or among all others in published files.
base::Config TextConfig(const base::Config& c) {
  const bool is_nested = c.Has("text_config");
  if (is_nested) PartConfig(c, "text_config", "qwen2_vl_text", kWho, {"qwen2_vl_text", "qwen2_vl"});
  base::Config text = is_nested ? c.Object("text_config") : c;
  text = text.MergedOver(base::Config::Parse(kTextDefaults, c.source()));
  std::string changes = R"("model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"])";
  const std::string rope = text.Has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const base::Config keys = text.Has(rope) ? text.Object(rope) : base::Config::Parse("{}", c.source());
  const base::Config filled = keys.MergedOver(base::Config::Parse(R"({"mrope_section": [16, 24, 24]})", c.source()));
  changes += base::StrCat(", \"rope_parameters\": ", filled.Text());
  if (!text.Has("rope_theta")) changes += R"(, "rope_theta": 1e6)";
  text = base::Config::Parse("{" + changes + "}", c.source()).MergedOver(text);
  // Files written before version 5 of the reference say it in text_config alone.
  return c.Get<bool>("tie_word_embeddings", false) ? TiedAsWhole(c, text) : text;
}

struct Config {
  VisionConfig vision;
  base::Config text;
  int64_t image_token_id = 151655;

  explicit Config(const base::Config& c) : vision(VisionKeys(c)), text(TextConfig(c)) {
    c.Read("image_token_id", image_token_id, 0, 1e8);
  }
};

// ---- the tower
struct Block {
  int64_t heads;
  Act act;
  nn::LayerNorm norm1, norm2;
  nn::Linear qkv, proj, fc1, fc2;

  explicit Block(const VisionConfig& c)
      : heads(c.num_heads),
        act(ActFromName(c.hidden_act, kWho)),
        norm1(c.embed_dim, kEps),
        norm2(c.embed_dim, kEps),
        qkv({.in_features = c.embed_dim, .out_features = 3 * c.embed_dim}),
        proj({.in_features = c.embed_dim, .out_features = c.embed_dim}),
        fc1({.in_features = c.embed_dim, .out_features = Ffn(c)}),
        fc2({.in_features = Ffn(c), .out_features = c.embed_dim}) {}
  static int64_t Ffn(const VisionConfig& c) {
    return static_cast<int64_t>(static_cast<double>(c.embed_dim) * c.mlp_ratio);
  }

  void Visit(nn::Visitor& v) {
    v("norm1", norm1);
    v("norm2", norm2);
    v("attn.qkv", qkv);
    v("attn.proj", proj);
    v("mlp.fc1", fc1);
    v("mlp.fc2", fc2);
  }

  Tensor Attention(const Tensor& x, const nn::Rotary::Angles& angles) const {  // [1,P,W] -> [1,P,W]
    const auto [B, P, W] = x.Dims<3>("patches");
    const Tensor parts = Permute(Reshape(qkv(x), {B, P, 3, heads, W / heads}), {2, 0, 3, 1, 4});  // [3,1,H,P,E]
    const auto part = [&](int64_t i) { return Squeeze(Slice(parts, 0, i, i + 1), 0); };
    const Tensor q = Rotary(part(0), angles.cos, angles.sin), k = Rotary(part(1), angles.cos, angles.sin);
    const Tensor y = ScaledDotProductAttention(q, k, part(2));  // [1,H,P,E]
    return proj(Reshape(Permute(y, {0, 2, 1, 3}), {B, P, W}));  // [1,P,W]
  }

  Tensor operator()(const Tensor& x, const nn::Rotary::Angles& angles) const {
    const Tensor h = x + Attention(norm1(x), angles);  // [1,P,W]
    return h + fc2(fc1(norm2(h), act));                // [1,P,W]
  }
};

struct Tower {
  VisionConfig config;
  nn::Parameter patch_embed;  // [W,C,T,Y,X]: T frames
  nn::Rotary rotary;          // of rows, and of columns
  nn::List<Block> blocks;
  nn::LayerNorm ln_q;
  nn::Linear mlp_0, mlp_2;

  explicit Tower(const VisionConfig& c)
      : config(c),
        patch_embed(Shape{c.embed_dim, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size}),
        rotary({.rotated = c.HeadDim() / 2, .theta = c.rope_theta}),
        ln_q(c.embed_dim, kEps),
        mlp_0({.in_features = Joined(), .out_features = Joined()}),
        mlp_2({.in_features = Joined(), .out_features = c.hidden_size}) {
    for (int64_t i = 0; i < c.depth; ++i) blocks.emplace_back(c);
  }
  int64_t Joined() const { return config.embed_dim * config.spatial_merge_size * config.spatial_merge_size; }

  void Visit(nn::Visitor& v) {
    v("patch_embed.proj.weight", patch_embed);
    v("blocks", blocks);
    v("merger.ln_q", ln_q);
    v("merger.mlp.0", mlp_0);
    v("merger.mlp.2", mlp_2);
  }

  // Where each patch lies, in the order in which squares are joined.
  struct Places {
    Tensor index, rows, columns;  // i64 [P] among patches row by row; [1,P]
  };
  Places PlacesOf(int64_t rows, int64_t columns) const {
    const int64_t S = config.spatial_merge_size, P = rows * columns;
    Places places{Tensor::Empty({P}, DType::kI64), Tensor::Empty({1, P}, DType::kI64),
                  Tensor::Empty({1, P}, DType::kI64)};
    for (int64_t i = 0; i < P; ++i) {
      const int64_t square = i / (S * S), within = i % (S * S);
      const int64_t row = square / (columns / S) * S + within / S, column = square % (columns / S) * S + within % S;
      places.index.mutable_data<int64_t>()[i] = row * columns + column;
      places.rows.mutable_data<int64_t>()[i] = row;
      places.columns.mutable_data<int64_t>()[i] = column;
    }
    return places;
  }

  // patches [1,P,F] row by row, each [y,x,colour] -> [1,N,D].
  Tensor operator()(const Tensor& patches, int64_t rows, int64_t columns) const {
    const Places places = PlacesOf(rows, columns);
    const nn::Rotary::Angles down = rotary.At(places.rows), across = rotary.At(places.columns);  // [1,P,E/4]
    const nn::Rotary::Angles angles{Concat({down.cos, across.cos}, 2), Concat({down.sin, across.sin}, 2)};
    const Tensor once = Sum(patch_embed, {2});                                                         // [W,C,Y,X]
    const Tensor weight = Reshape(Permute(once, {0, 2, 3, 1}), {config.embed_dim, patches.dim(2)});    // [W,F]
    Tensor h = nn::Stage("vision.embeddings", Linear(IndexSelect(patches, 1, places.index), weight));  // [1,P,W]
    for (size_t i = 0; i < blocks.size(); ++i)
      h = nn::Stage("vision.layers", static_cast<int64_t>(i), blocks[i](h, angles));  // [1,P,W]
    h = Reshape(ln_q(h), {1, -1, Joined()});                                          // [1,N,SSW]
    return nn::Stage("pictures", mlp_2(mlp_0(h, Act::kGelu)));                        // [1,N,D]
  }
};

// ---- the whole
struct Qwen2Vl {
  Config config;
  Tower visual;
  Part language_model;
  DecoderSpec spec;

  explicit Qwen2Vl(const Config& c)
      : config(c), visual(c.vision), language_model(c.text, kWho, "language."), spec(language_model.Decoder()) {
    Require(c.vision.hidden_size == spec.hidden_size, "[qwen2_vl] expected hidden_size of the tower to be the width ",
            spec.hidden_size, " of the language model, got ", c.vision.hidden_size);
    spec.pictures = PicturePlace::kTokens;
    spec.image_token_id = c.image_token_id;
  }

  void Visit(nn::Visitor& v) {
    v("visual", visual);
    v("language_model", language_model);
  }

  DecoderSpec Decoder() const { return spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return language_model.EmbedTokens(ids); }
  DecodeOutputs Decode(const DecodeInputs& inputs) const { return language_model.Decode(inputs); }

  // Pictures of one number of patches.
  Tensor EmbedPatches(const PatchInputs& inputs) const {
    const auto [B, P, F] = inputs.patches.Dims<3>("patches");
    const VisionConfig& c = config.vision;
    Require(F == c.patch_size * c.patch_size * c.in_channels, "[qwen2_vl] expected patches of ", c.patch_size, "x",
            c.patch_size, " px and ", c.in_channels, " colours, got ", inputs.patches.shape());
    const Tensor shapes = inputs.shapes.Contiguous();
    std::vector<Tensor> pictures;
    for (int64_t b = 0; b < B; ++b) {
      const int64_t rows = shapes.data<int64_t>()[2 * b], columns = shapes.data<int64_t>()[2 * b + 1];
      Require(rows > 0 && columns > 0 && rows % c.spatial_merge_size == 0 && columns % c.spatial_merge_size == 0 &&
                  rows * columns == P,
              "[qwen2_vl] expected pictures of ", P, " patches in whole squares of ", c.spatial_merge_size, ", got ",
              rows, "x", columns);
      pictures.push_back(visual(Slice(inputs.patches, 0, b, b + 1), rows, columns));  // [1,N,D]
    }
    return Concat(pictures, 0);  // [B,N,D]
  }
};

// ---- names: as published, and those that transformers 5 has in memory
constexpr Rename kRenames[] = {{"^model.visual.", "visual."},
                               {"^model.language_model.", "language_model.model."},
                               {"^model.", "language_model.model."},
                               {"^lm_head.", "language_model.lm_head."}};

void Adapt(std::vector<NamedTensor>& tensors, const base::Config& c) {
  for (NamedTensor& tensor : tensors) tensor.name = Renamed(tensor.name, kRenames);
  AdaptPart(tensors, "language_model", TextConfig(c));
}

}  // namespace

const Entry& qwen2_vl_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "Qwen2-VL",
               .paper = "Wang et al. 2024, arXiv 2409.12191",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/qwen2_vl/"
                            "modeling_qwen2_vl.py",
               .tasks = "conversations about pictures, captions, answers about pictures"},
      .create = [](const base::Config& config) { return MakeModel(Qwen2Vl(Config(config))); },
      .input_spec = nullptr,
      .adapt = Adapt};
  return entry;
}

}  // namespace fovea::models
