// ViT: a picture as a sequence of patches through a transformer encoder. Also DINO's encoders, which are published as
// this model_type, without the pooler.
//
// Paper: Dosovitskiy et al. 2020, An Image is Worth 16x16 Words, arXiv 2010.11929. DINO: Caron et al. 2021, arXiv
// 2104.14294.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/vit/modeling_vit.py
//
// Architectures: ViTModel (features: the pooler, or the class token of a checkpoint that has none) and
// ViTForImageClassification (features: the class token). Pictures of another size than image_size get interpolated
// positions, as the reference does when asked to (interpolate_pos_encoding). Masked image modelling is not covered.
//
// Legend: B batch, Y X picture, P Q grid of patches, T = 1 + P Q tokens, D model, V classes.
#include "nn/entry.h"
#include "nn/stage.h"
#include "nn/transformer.h"
#include "nn/vision.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, intermediate_size = 3072;
  int64_t num_channels = 3, pooler_output_size = 0, num_labels;
  std::array<int64_t, 2> image_size;  // height, width; px
  int64_t patch_size;                 // px
  double hidden_dropout_prob = 0, attention_probs_dropout_prob = 0, layer_norm_eps = 1e-12;
  bool qkv_bias = true;
  bool add_pooling_layer = true;  // an argument of the reference's class; AsCheckpointHasIt sets it here
  std::string hidden_act = "gelu", pooler_act = "tanh";

  explicit Config(const base::Config& c)
      : num_labels(nn::ClassCount(c, "vit", {"ViTModel", "ViTForImageClassification"})),
        image_size(nn::ReadSides(c, "image_size", 224, 16384)),
        patch_size(nn::ReadSquare(c, "vit", "patch_size", 16, 1024)) {
    c.Read("hidden_size", hidden_size, 1, 65536);
    c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
    c.Read("num_attention_heads", num_attention_heads, 1, 65536);
    c.Read("intermediate_size", intermediate_size, 1, 1e6);
    c.Read("num_channels", num_channels, 1, 64);
    c.Read("pooler_output_size", pooler_output_size, 0, 65536);
    c.Read("hidden_dropout_prob", hidden_dropout_prob, 0, 0.99);
    c.Read("attention_probs_dropout_prob", attention_probs_dropout_prob, 0, 0.99);
    c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
    c.Read("qkv_bias", qkv_bias);
    c.Read("add_pooling_layer", add_pooling_layer);
    c.Read("hidden_act", hidden_act);
    c.Read("pooler_act", pooler_act);
    if (pooler_output_size == 0) pooler_output_size = hidden_size;
    if (num_labels > 0) add_pooling_layer = false;
    Require(image_size[0] >= patch_size && image_size[1] >= patch_size, "[vit] expected image_size of at least ",
            patch_size, " px, a patch, got ", image_size[0], "x", image_size[1]);
  }

  std::array<int64_t, 2> Grid() const { return {image_size[0] / patch_size, image_size[1] / patch_size}; }
};

constexpr nn::EncoderBlockNames kBlockNames = {.q = "attention.attention.query",
                                               .k = "attention.attention.key",
                                               .v = "attention.attention.value",
                                               .out = "attention.output.dense",
                                               .norm1 = "layernorm_before",
                                               .fc1 = "intermediate.dense",
                                               .fc2 = "output.dense",
                                               .norm2 = "layernorm_after"};

// ---- modules
struct Vit {
  Config config;
  nn::PatchEmbed patch;
  nn::Parameter cls_token, positions;  // [1,1,D], [1,T,D]
  nn::List<nn::EncoderBlock> layers;
  nn::LayerNorm norm;
  nn::Optional<nn::Linear> pooler, classifier;
  Act pooler_act;

  explicit Vit(const Config& c)
      : config(c),
        patch(c.num_channels, c.hidden_size, c.patch_size),
        cls_token(Shape{1, 1, c.hidden_size}),
        positions(Shape{1, 1 + c.Grid()[0] * c.Grid()[1], c.hidden_size}),
        norm(c.hidden_size, c.layer_norm_eps),
        pooler_act(ActFromName(c.pooler_act, "vit")) {
    const nn::EncoderBlockOptions options = {.dim = c.hidden_size,
                                             .heads = c.num_attention_heads,
                                             .ffn = c.intermediate_size,
                                             .act = ActFromName(c.hidden_act, "vit"),
                                             .eps = c.layer_norm_eps,
                                             .has_qkv_bias = c.qkv_bias,
                                             .dropout = c.hidden_dropout_prob,
                                             .attention_dropout = c.attention_probs_dropout_prob};
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers.emplace_back(options, kBlockNames);
    if (c.add_pooling_layer)
      pooler.emplace(nn::LinearOptions{.in_features = c.hidden_size, .out_features = c.pooler_output_size});
    if (c.num_labels > 0)
      classifier.emplace(nn::LinearOptions{.in_features = c.hidden_size, .out_features = c.num_labels});
  }

  void Visit(nn::Visitor& v) {
    v("vit.embeddings.cls_token", cls_token);
    v("vit.embeddings.position_embeddings", positions);
    v("vit.embeddings.patch_embeddings.projection", patch.projection);
    v("vit.encoder.layer", layers);
    v("vit.layernorm", norm);
    v("vit.pooler.dense", pooler);
    v("classifier", classifier);
  }

  bool CanClassify() const { return classifier.has_value(); }
  int64_t FeatureSize() const { return pooler ? config.pooler_output_size : config.hidden_size; }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    const Tensor patches = patch.Grid(pixels);  // [B,P,Q,D]
    const auto [B, P, Q, D] = patches.Dims<4>("patches");
    Tensor h = Concat({Expand(cls_token, {B, 1, D}), Reshape(patches, {B, P * Q, D})}, 1);  // [B,T,D]
    h = h + nn::ResizePositions(positions, config.Grid(), {P, Q});                          // [B,T,D]
    h = nn::Stage("embeddings", Dropout(h, config.hidden_dropout_prob));                    // [B,T,D]
    for (size_t i = 0; i < layers.size(); ++i) h = nn::Stage("layers", static_cast<int64_t>(i), layers[i](h));
    h = nn::Stage("layernorm", norm(h));                               // [B,T,D]
    const Tensor cls = Reshape(Slice(h, 1, 0, 1), {B, D});             // [B,D]
    return {.features = pooler ? (*pooler)(cls, pooler_act) : cls,     // [B,D]
            .grid = Reshape(Slice(h, 1, 1, 1 + P * Q), {B, P, Q, D}),  // [B,P,Q,D]
            .logits = classifier ? (*classifier)(cls) : Tensor()};     // [B,V]
  }
};

// ---- names of checkpoints without the task's prefix, and of transformers 5 in memory
constexpr Rename kRenames[] = {{"^embeddings.", "vit.embeddings."},
                               {"^encoder.", "vit.encoder."},
                               {"^layers.", "vit.layers."},
                               {"^layernorm.", "vit.layernorm."},
                               {"^pooler.", "vit.pooler."},
                               {"^vit.layers.", "vit.encoder.layer."},
                               {".attention.q_proj.", ".attention.attention.query."},
                               {".attention.k_proj.", ".attention.attention.key."},
                               {".attention.v_proj.", ".attention.attention.value."},
                               {".attention.o_proj.", ".attention.output.dense."},
                               {".mlp.fc1.", ".intermediate.dense."},
                               {".mlp.fc2.", ".output.dense."}};
// Left from pre-training: a pooler below a classifier, the mask token.
constexpr std::string_view kUnused[] = {"vit.pooler.*", "vit.embeddings.mask_token"};

// Whether a ViTModel has a pooler is not written in its config.json; the weights show it.
base::Config AsCheckpointHasIt(const base::Config& config, std::span<const NamedTensor> tensors) {
  for (const NamedTensor& tensor : tensors) {
    if (tensor.name.find("pooler.dense.") != std::string::npos) return config;
  }
  return base::Config::Parse(R"({"add_pooling_layer": false})", config.source()).MergedOver(config);
}

}  // namespace

const Entry& vit_entry() {
  static const Entry entry{
      .model_type = "vit",
      .card = {.title = "ViT",
               .paper = "Dosovitskiy et al. 2020, arXiv 2010.11929",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/vit/"
                            "modeling_vit.py",
               .tasks = "image classification, image features"},
      .create = [](const base::Config& config) { return MakeModel(Vit(Config(config))); },
      .input_spec =
          [](const base::Config& config) {
            const Config c(config);
            media::PreprocessSpec spec = media::PreprocessSpec::OfModel(config);
            spec.size = {.height = c.image_size[0], .width = c.image_size[1]};
            return spec;
          },
      .renames = kRenames,
      .unused = kUnused,
      .amend = AsCheckpointHasIt};
  return entry;
}

}  // namespace fovea::models
