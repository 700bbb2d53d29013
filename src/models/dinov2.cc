// DINOv2: ViT encoders trained without labels, whose patch tokens are good features of places.
//
// Paper: Oquab et al. 2023, DINOv2: Learning Robust Visual Features without Supervision, arXiv 2304.07193.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/dinov2/modeling_dinov2.py
//
// Architectures: Dinov2Model and Dinov2ForImageClassification (a linear layer over the class token beside the mean of
// the patch tokens). Features: the class token. Positions are interpolated to the size of the picture. The mask token
// belongs to pre-training: it is kept and saved, and not used. Variants with registers are another model_type.
//
// Legend: B batch, Y X picture, P Q grid of patches, T = 1 + P Q tokens, D model, F ffn, V classes.
#include <functional>

#include "nn/attention.h"
#include "nn/entry.h"
#include "nn/norm.h"
#include "nn/stage.h"
#include "nn/transformer.h"
#include "nn/vision.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tensor/tape.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12, num_channels = 3, num_labels;
  int64_t image_size, patch_size;  // px
  double mlp_ratio = 4, hidden_dropout_prob = 0, attention_probs_dropout_prob = 0, drop_path_rate = 0;
  double layer_norm_eps = 1e-6;
  bool qkv_bias = true, use_swiglu_ffn = false, use_mask_token = true;
  std::string hidden_act = "gelu";
  Act act;  // of hidden_act

  explicit Config(const base::Config& c)
      : num_labels(nn::ClassCount(c, "dinov2", {"Dinov2Model", "Dinov2ForImageClassification"})),
        image_size(nn::ReadSquare(c, "dinov2", "image_size", 224, 16384)),
        patch_size(nn::ReadSquare(c, "dinov2", "patch_size", 14, 1024)) {
    c.Read("hidden_size", hidden_size, 1, 65536);
    c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
    c.Read("num_attention_heads", num_attention_heads, 1, 65536);
    c.Read("num_channels", num_channels, 1, 64);
    c.Read("mlp_ratio", mlp_ratio, 0.01, 64);
    c.Read("hidden_dropout_prob", hidden_dropout_prob, 0, 0.99);
    c.Read("attention_probs_dropout_prob", attention_probs_dropout_prob, 0, 0.99);
    c.Read("drop_path_rate", drop_path_rate, 0, 0.99);
    c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
    c.Read("qkv_bias", qkv_bias);
    c.Read("use_swiglu_ffn", use_swiglu_ffn);
    c.Read("use_mask_token", use_mask_token);
    c.Read("hidden_act", hidden_act);
    act = ActFromName(hidden_act, "dinov2");
    Require(image_size >= patch_size, "[dinov2] expected image_size of at least ", patch_size, " px, a patch, got ",
            image_size);
    Require(Ffn() >= 1, "[dinov2] expected a larger mlp_ratio, got ", mlp_ratio);
  }

  int64_t Grid() const { return image_size / patch_size; }
  // F. A gated MLP has three matrices instead of two, so it keeps two thirds of the width, in eights.
  int64_t Ffn() const {
    const auto plain = static_cast<int64_t>(static_cast<double>(hidden_size) * mlp_ratio);
    return use_swiglu_ffn ? (static_cast<int64_t>(static_cast<double>(plain * 2) / 3) + 7) / 8 * 8 : plain;
  }
};

// ---- modules
struct Mlp {
  nn::Linear in, out;
  Act act;
  bool is_gated;

  explicit Mlp(const Config& c)
      : in({.in_features = c.hidden_size, .out_features = c.use_swiglu_ffn ? 2 * c.Ffn() : c.Ffn()}),
        out({.in_features = c.Ffn(), .out_features = c.hidden_size}),
        act(c.act),
        is_gated(c.use_swiglu_ffn) {}
  void Visit(nn::Visitor& v) {
    v(is_gated ? "weights_in" : "fc1", in);
    v(is_gated ? "weights_out" : "fc2", out);
  }

  Tensor operator()(const Tensor& x) const {
    if (!is_gated) return out(in(x, act));                   // [B,T,D]
    const std::vector<Tensor> halves = Split(in(x), -1, 2);  // 2 x [B,T,F]
    return out(Silu(halves[0]) * halves[1]);                 // [B,T,D]
  }
};

struct Block {
  nn::LayerNorm norm1, norm2;
  nn::MultiHeadAttention attention;
  nn::Parameter scale1, scale2;  // [D] each
  Mlp mlp;
  double drop_path_rate;

  explicit Block(const Config& c)
      : norm1(c.hidden_size, c.layer_norm_eps),
        norm2(c.hidden_size, c.layer_norm_eps),
        attention({.dim = c.hidden_size,
                   .heads = c.num_attention_heads,
                   .has_qkv_bias = c.qkv_bias,
                   .dropout = c.attention_probs_dropout_prob}),
        scale1(Shape{c.hidden_size}),
        scale2(Shape{c.hidden_size}),
        mlp(c),
        drop_path_rate(c.drop_path_rate) {}
  void Visit(nn::Visitor& v) {
    v("norm1", norm1);
    v("attention.attention.query", attention.q);
    v("attention.attention.key", attention.k);
    v("attention.attention.value", attention.v);
    v("attention.output.dense", attention.out);
    v("layer_scale1.lambda1", scale1);
    v("norm2", norm2);
    v("mlp", mlp);
    v("layer_scale2.lambda1", scale2);
  }

  Tensor operator()(const Tensor& x) const {
    const Tensor h = x + nn::DropPath(attention(norm1(x)) * scale1, drop_path_rate);  // [B,T,D]
    return h + nn::DropPath(mlp(norm2(h)) * scale2, drop_path_rate);                  // [B,T,D]
  }
};

struct Dinov2 {
  Config config;
  nn::PatchEmbed patch;
  nn::Parameter cls_token, positions, mask_token;  // [1,1,D], [1,T,D], [1,D]
  nn::List<Block> layers;
  nn::LayerNorm norm;
  nn::Optional<nn::Linear> classifier;

  explicit Dinov2(const Config& c)
      : config(c),
        patch(c.num_channels, c.hidden_size, c.patch_size),
        cls_token(Shape{1, 1, c.hidden_size}),
        positions(Shape{1, 1 + c.Grid() * c.Grid(), c.hidden_size}),
        mask_token(Shape{1, c.hidden_size}, nn::Parameter::Kind::kBuffer),
        norm(c.hidden_size, c.layer_norm_eps) {
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers.emplace_back(c);
    if (c.num_labels > 0)
      classifier.emplace(nn::LinearOptions{.in_features = 2 * c.hidden_size, .out_features = c.num_labels});
  }

  void Visit(nn::Visitor& v) {
    v("dinov2.embeddings.cls_token", cls_token);
    if (config.use_mask_token) v("dinov2.embeddings.mask_token", mask_token);
    v("dinov2.embeddings.position_embeddings", positions);
    v("dinov2.embeddings.patch_embeddings.projection", patch.projection);
    v("dinov2.encoder.layer", layers);
    v("dinov2.layernorm", norm);
    v("classifier", classifier);
  }

  bool CanClassify() const { return classifier.has_value(); }
  int64_t FeatureSize() const { return config.hidden_size; }

  ImageOutputs EncodeImages(const Tensor& pixels) const {
    const Tensor patches = patch.Grid(pixels);  // [B,P,Q,D]
    const auto [B, P, Q, D] = patches.Dims<4>("patches");
    Tensor h = Concat({Expand(cls_token, {B, 1, D}), Reshape(patches, {B, P * Q, D})}, 1);  // [B,T,D]
    h = h + nn::ResizePositions(positions, {config.Grid(), config.Grid()}, {P, Q});         // [B,T,D]
    h = nn::Stage("embeddings", Dropout(h, config.hidden_dropout_prob));                    // [B,T,D]
    for (size_t i = 0; i < layers.size(); ++i)
      h = nn::Stage("layers", static_cast<int64_t>(i), Tape::Recomputed(h, std::cref(layers[i])));
    h = nn::Stage("layernorm", norm(h));                    // [B,T,D]
    const Tensor cls = Reshape(Slice(h, 1, 0, 1), {B, D});  // [B,D]
    const Tensor places = Slice(h, 1, 1, 1 + P * Q);        // [B,P*Q,D]
    Tensor logits;
    if (classifier) logits = (*classifier)(Concat({cls, Mean(places, {1})}, 1));  // [B,V]
    return {.features = cls, .grid = Reshape(places, {B, P, Q, D}), .logits = logits};
  }
};

// ---- names of checkpoints without the task's prefix
constexpr Rename kRenames[] = {
    {"^embeddings.", "dinov2.embeddings."}, {"^encoder.", "dinov2.encoder."}, {"^layernorm.", "dinov2.layernorm."}};
constexpr std::string_view kUnused[] = {"dinov2.embeddings.mask_token"};

}  // namespace

const Entry& dinov2_entry() {
  static const Entry entry{
      .model_type = "dinov2",
      .card = {.title = "DINOv2",
               .paper = "Oquab et al. 2023, arXiv 2304.07193",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/dinov2/"
                            "modeling_dinov2.py",
               .tasks = "image features, features of places, image classification"},
      .create = [](const base::Config& config) { return MakeModel(Dinov2(Config(config))); },
      .input_spec = media::PreprocessSpec::OfModel,
      .renames = kRenames,
      .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
