// Fovea's own dual encoder: an EfficientNet for pictures and a BERT for texts, each with a pooling that learns where to
// look and a projection head, compared by cosine. It is what `fovea-photos` is made of: two small towers that were
// trained alone (on classes of pictures, on pairs of sentences) and then together on captions.
//
// A pooling is a softmax over places (or tokens) for each slice of the channels, which begins close to the mean. A head
// is a linear map of the normalised vector plus a two-layer network: out = W n(x) + W2 gelu(W1 n(x)). The reference is
// the twin in tools/golden/fovea_dual_encoder.py, built from transformers' EfficientNet and BERT. There are no single
// towers and no other kinds of towers.
//
// Legend: B batch, Y X picture, P Q grid, T tokens, N places or tokens, H heads, D width, E common space.
#include <algorithm>
#include <limits>

#include "nn/bert.h"
#include "nn/efficientnet.h"
#include "nn/stage.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/reduce.h"
#include "ops/softmax.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json
struct Config {
  nn::EfficientNetConfig vision;
  nn::BertOptions text;
  int64_t projection_dim = 512, projection_hidden = 1024, pooling_heads = 8, max_text_tokens = 64;
  double head_dropout = 0.0, layer_norm_eps = 1e-6, logit_scale_init_value = 2.6592;
  std::string image_pooling = "attention", text_pooling = "attention";

  explicit Config(const base::Config& c) : vision(Part(c, "vision_config"), kWho), text(Part(c, "text_config"), kWho) {
    text.add_pooling_layer = false;
    text.stage_prefix = "text.";
    c.Read("projection_dim", projection_dim, 1, 65536);
    c.Read("projection_hidden", projection_hidden, 1, 65536);
    c.Read("pooling_heads", pooling_heads, 1, 1024);
    c.Read("max_text_tokens", max_text_tokens, 1, 1e6);
    c.Read("head_dropout", head_dropout, 0, 0.99);
    c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
    c.Read("logit_scale_init_value", logit_scale_init_value, -10, 10);  // where training starts
    c.Read("image_pooling", image_pooling);
    c.Read("text_pooling", text_pooling);
    for (const std::string* pooling : {&image_pooling, &text_pooling}) {
      Require(*pooling == "attention" || *pooling == "mean", "[", kWho,
              "] expected a pooling \"attention\" or \"mean\", got \"", base::PrintableUtf8(*pooling), "\"");
    }
    for (const int64_t width : {vision.HeadChannels(), text.hidden_size}) {
      Require(width % pooling_heads == 0, "[", kWho,
              "] expected pooling_heads that divides the widths of both towers, ", vision.HeadChannels(), " and ",
              text.hidden_size, ", got ", pooling_heads);
    }
    Require(vision.hidden_dim == vision.HeadChannels(), "[", kWho, "] expected hidden_dim ", vision.HeadChannels(),
            ", got ", vision.hidden_dim);
  }
  static constexpr std::string_view kWho = "fovea-dual-encoder";
  static base::Config Part(const base::Config& c, const char* key) {
    return c.Has(key) ? c.Object(key) : base::Config::Parse("{}", c.source());
  }
};

// ---- modules
struct Pooling {
  int64_t heads;
  nn::Optional<nn::Linear> score;

  Pooling(const std::string& kind, int64_t width, int64_t heads) : heads(heads) {
    if (kind == "attention") score.emplace(nn::LinearOptions{.in_features = width, .out_features = heads});
  }
  void Visit(nn::Visitor& v) { v("score", score); }

  // x [B,N,D] -> [B,D]; mask bool [B,N], undefined: all places exist.
  Tensor operator()(const Tensor& x, const Tensor& mask) const {
    auto [B, N, D] = x.Dims<3>("pooling");
    Tensor scores = score ? Permute((*score)(x), {0, 2, 1}) : Tensor::Zeros({B, heads, N}, x.dtype());  // [B,H,N]
    if (mask.defined()) scores = scores + Hidden(mask, x.dtype());                                      // [B,H,N]
    const Tensor weights = Unsqueeze(Softmax(scores), 2);                                               // [B,H,1,N]
    const Tensor slices = Permute(Reshape(x, {B, N, heads, D / heads}), {0, 2, 1, 3});                  // [B,H,N,D/H]
    return Reshape(MatMul(weights, slices), {B, D});                                                    // [B,D]
  }
  // 0 where the mask holds, -inf elsewhere. [B,1,N]
  static Tensor Hidden(const Tensor& mask, DType dtype) {
    const Tensor hidden = Tensor::Full(Shape{}, -std::numeric_limits<float>::infinity());
    return Unsqueeze(Where(mask, Tensor::Zeros(Shape{}), hidden), 1).To(dtype);
  }
};

struct Head {
  nn::LayerNorm norm;
  nn::Linear linear, fc1, fc2;
  double dropout;

  Head(const Config& c, int64_t width)
      : norm(width, c.layer_norm_eps),
        linear({.in_features = width, .out_features = c.projection_dim, .has_bias = false}),
        fc1({.in_features = width, .out_features = c.projection_hidden}),
        fc2({.in_features = c.projection_hidden, .out_features = c.projection_dim}),
        dropout(c.head_dropout) {}
  void Visit(nn::Visitor& v) {
    v("norm", norm);
    v("linear", linear);
    v("fc1", fc1);
    v("fc2", fc2);
  }
  Tensor operator()(const Tensor& x) const {                       // [B,D]
    const Tensor n = norm(x);                                      // [B,D]
    return linear(n) + Dropout(fc2(fc1(n, Act::kGelu)), dropout);  // [B,E]
  }
};

struct DualEncoder {
  Config config;
  nn::EfficientNetBody body;
  nn::ConvNormAct top;
  nn::BertTrunk text_model;
  Pooling image_pooling, text_pooling;
  Head visual_projection, text_projection;
  nn::Parameter logit_scale{Shape{}};

  explicit DualEncoder(const Config& c)
      : config(c),
        body(c.vision),
        top({.in_channels = c.vision.BodyChannels(), .out_channels = c.vision.HeadChannels(), .has_bias = false},
            c.vision.Norm(c.vision.HeadChannels()), c.vision.act),
        text_model(c.text),
        image_pooling(c.image_pooling, c.vision.HeadChannels(), c.pooling_heads),
        text_pooling(c.text_pooling, c.text.hidden_size, c.pooling_heads),
        visual_projection(c, c.vision.HeadChannels()),
        text_projection(c, c.text.hidden_size) {}

  void Visit(nn::Visitor& v) {
    v("vision_model", body);
    v("vision_model.encoder.top_conv", top.conv);
    v("vision_model.encoder.top_bn", top.norm);
    v("text_model", text_model);
    v("image_pooling", image_pooling);
    v("text_pooling", text_pooling);
    v("visual_projection", visual_projection);
    v("text_projection", text_projection);
    v("logit_scale", logit_scale);
  }

  Matching HowItMatches() const { return Matching::kSoftmax; }
  TextSpec Texts() const { return {.max_tokens = std::min(config.max_text_tokens, config.text.MaxTokens())}; }
  int64_t FeatureSize() const { return config.projection_dim; }

  int64_t TrunkBlocks() const { return static_cast<int64_t>(body.blocks.size()); }
  Tensor EncodeTrunk(const Tensor& pixels, int64_t blocks) const { return body.Begin(pixels, blocks, "vision."); }
  ImageOutputs EncodeImages(const Tensor& pixels) const { return Project(body(pixels, "vision.")); }
  ImageOutputs EncodeFromTrunk(const Tensor& trunk, int64_t blocks) const {
    return Project(body.Continue(trunk, blocks, "vision."));
  }

  ImageOutputs Project(const Tensor& h) const {           // h [B,P,Q,C]
    const Tensor grid = nn::Stage("vision.top", top(h));  // [B,P,Q,D]
    auto [B, P, Q, D] = grid.Dims<4>("grid");
    const Tensor pooled = image_pooling(Reshape(grid, {B, P * Q, D}), {});                                   // [B,D]
    return {.features = visual_projection(nn::Stage("vision.pooled", pooled)), .grid = grid, .logits = {}};  // [B,E]
  }

  TextOutputs EncodeTexts(const TextInputs& inputs) const {
    TextOutputs outputs = text_model(inputs);                                                   // [B,T,D]
    const Tensor pooled = nn::Stage("text.pooled", text_pooling(outputs.tokens, inputs.mask));  // [B,D]
    outputs.features = text_projection(pooled);                                                 // [B,E]
    return outputs;
  }

  Tensor MatchLogits(const Tensor& image_features, const Tensor& text_features) const {
    return CosineLogits(image_features, text_features) * Exp(logit_scale);  // [N,M]
  }
};

media::PreprocessSpec InputSpec(const base::Config& c) {
  Fail(ErrorCode::kInvalidArgument, "[fovea-dual-encoder] ", c.source(), " needs a preprocessor_config.json beside it");
}

}  // namespace

const Entry& fovea_dual_encoder_entry() {
  static const Entry entry{
      .model_type = "fovea-dual-encoder",
      .card = {.title = "Fovea dual encoder",
               .paper = "none; towers of Tan and Le 2019 (arXiv 1905.11946) and Devlin et al. 2018 (arXiv 1810.04805)",
               .reference = "tools/golden/fovea_dual_encoder.py",
               .tasks = "image and text features, zero-shot classification, search by words",
               .checkpoints = "fovea-photos"},
      .create = [](const base::Config& config) { return MakeModel(DualEncoder(Config(config))); },
      .input_spec = InputSpec};
  return entry;
}

}  // namespace fovea::models
