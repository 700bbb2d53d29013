// ViT-MSN: ViT without a pooler, trained without labels by matching pictures to masked views of themselves.
//
// Paper: Assran et al. 2022, Masked Siamese Networks for Label-Efficient Learning, arXiv 2204.07141.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/vit_msn/modeling_vit_msn.py
//
// Architectures: ViTMSNModel and ViTMSNForImageClassification; features are the class token. Pictures of another size
// than image_size get interpolated positions, as the reference does when asked to. The mask token of pre-training is
// left out. This file is the example of docs/adding-a-model.md.
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
  int64_t num_channels = 3, num_labels;
  std::array<int64_t, 2> image_size;  // height, width; px
  int64_t patch_size;                 // px
  double hidden_dropout_prob = 0, attention_probs_dropout_prob = 0, layer_norm_eps = 1e-6;
  bool qkv_bias = true;
  std::string hidden_act = "gelu";

  explicit Config(const base::Config& c)
      : num_labels(nn::ClassCount(c, "vit_msn", {"ViTMSNModel", "ViTMSNForImageClassification"})),
        image_size(nn::ReadSides(c, "image_size", 224, 16384)),
        patch_size(nn::ReadSquare(c, "vit_msn", "patch_size", 16, 1024)) {
    c.Read("hidden_size", hidden_size, 1, 65536);
    c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
    c.Read("num_attention_heads", num_attention_heads, 1, 65536);
    c.Read("intermediate_size", intermediate_size, 1, 1e6);
    c.Read("num_channels", num_channels, 1, 64);
    c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
    c.Read("hidden_dropout_prob", hidden_dropout_prob, 0, 0.99);
    c.Read("attention_probs_dropout_prob", attention_probs_dropout_prob, 0, 0.99);
    c.Read("qkv_bias", qkv_bias);
    c.Read("hidden_act", hidden_act);
    Require(image_size[0] >= patch_size && image_size[1] >= patch_size, "[vit_msn] expected image_size of at least ",
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
struct VitMsn {
  Config config;
  nn::PatchEmbed patch;
  nn::Parameter cls_token, positions;  // [1,1,D], [1,T,D]
  nn::List<nn::EncoderBlock> layers;
  nn::LayerNorm norm;
  nn::Optional<nn::Linear> classifier;

  explicit VitMsn(const Config& c)
      : config(c),
        patch(c.num_channels, c.hidden_size, c.patch_size),
        cls_token(Shape{1, 1, c.hidden_size}),
        positions(Shape{1, 1 + c.Grid()[0] * c.Grid()[1], c.hidden_size}),
        norm(c.hidden_size, c.layer_norm_eps) {
    const nn::EncoderBlockOptions options = {.dim = c.hidden_size,
                                             .heads = c.num_attention_heads,
                                             .ffn = c.intermediate_size,
                                             .act = ActFromName(c.hidden_act, "vit_msn"),
                                             .eps = c.layer_norm_eps,
                                             .has_qkv_bias = c.qkv_bias,
                                             .dropout = c.hidden_dropout_prob,
                                             .attention_dropout = c.attention_probs_dropout_prob};
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers.emplace_back(options, kBlockNames);
    if (c.num_labels > 0)
      classifier.emplace(nn::LinearOptions{.in_features = c.hidden_size, .out_features = c.num_labels});
  }

  void Visit(nn::Visitor& v) {
    v("vit.embeddings.cls_token", cls_token);
    v("vit.embeddings.position_embeddings", positions);
    v("vit.embeddings.patch_embeddings.projection", patch.projection);
    v("vit.encoder.layer", layers);
    v("vit.layernorm", norm);
    v("classifier", classifier);
  }

  // ---- forward
  bool CanClassify() const { return classifier.has_value(); }
  int64_t FeatureSize() const { return config.hidden_size; }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    const Tensor patches = patch.Grid(pixels);  // [B,P,Q,D]
    const auto [B, P, Q, D] = patches.Dims<4>("patches");
    Tensor h = Concat({Expand(cls_token, {B, 1, D}), Reshape(patches, {B, P * Q, D})}, 1);  // [B,T,D]
    h = h + nn::ResizePositions(positions, config.Grid(), {P, Q});                          // [B,T,D]
    h = nn::Stage("embeddings", Dropout(h, config.hidden_dropout_prob));                    // [B,T,D]
    for (size_t i = 0; i < layers.size(); ++i) h = nn::Stage("layers", static_cast<int64_t>(i), layers[i](h));
    h = nn::Stage("layernorm", norm(h));                    // [B,T,D]
    const Tensor cls = Reshape(Slice(h, 1, 0, 1), {B, D});  // [B,D]
    return {.features = cls,
            .grid = Reshape(Slice(h, 1, 1, 1 + P * Q), {B, P, Q, D}),  // [B,P,Q,D]
            .logits = classifier ? (*classifier)(cls) : Tensor()};     // [B,V]
  }
};

// ---- names of checkpoints without the task's prefix
constexpr Rename kRenames[] = {
    {"^embeddings.", "vit.embeddings."}, {"^encoder.", "vit.encoder."}, {"^layernorm.", "vit.layernorm."}};
constexpr std::string_view kUnused[] = {"vit.embeddings.mask_token"};

}  // namespace

const Entry& vit_msn_entry() {
  static const Entry entry{
      .model_type = "vit_msn",
      .card = {.title = "ViT-MSN",
               .paper = "Assran et al. 2022, arXiv 2204.07141",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/vit_msn/"
                            "modeling_vit_msn.py",
               .tasks = "image classification, image features"},
      .create = [](const base::Config& config) { return MakeModel(VitMsn(Config(config))); },
      // ---- input spec
      .input_spec =
          [](const base::Config& config) {
            const Config c(config);
            return media::PreprocessSpec{.size = {.height = c.image_size[0], .width = c.image_size[1]},
                                         .resample = media::Filter::kBilinear};
          },
      .renames = kRenames,
      .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
