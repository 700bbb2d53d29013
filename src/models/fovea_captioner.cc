// Fovea's own captioner: an EfficientNet whose grid a small transformer looks over, and a GPT-2 that reads the grid by
// cross-attention and writes. It is what `fovea-tell` is made of. Questions stand before their answers in the text.
//
// The places of the grid become memory: memory = blocks(norm(W g + p)), where p is a table of positions for a grid of
// grid_size x grid_size places, resized for grids of other sizes. The reference is the twin in
// tools/golden/fovea_captioner.py, built from transformers' EfficientNet and GPT-2 and PyTorch's encoder layers.
//
// Legend: B rows, T tokens, Y X picture, P Q grid, C its channels, D width of the decoder, V vocabulary.
#include "nn/efficientnet.h"
#include "nn/embedding.h"
#include "nn/entry.h"
#include "nn/stage.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/reduce.h"

namespace fovea::models {
namespace {

// ---- config: the keys of config.json
struct Config {
  nn::EfficientNetConfig vision;
  base::Config decoder;  // of model_type gpt2, with add_cross_attention
  TowerConfig encoder;   // hidden_size is that of the decoder
  int64_t grid_size = 7;
  double memory_dropout = 0;

  explicit Config(const base::Config& c) : vision(c.Object("vision_config"), kWho), decoder(c.Object("decoder")) {
    Require(decoder.Get<std::string>("model_type", "gpt2") == "gpt2" && decoder.Get<bool>("add_cross_attention", false),
            "[", kWho, "] expected decoder to be of model_type gpt2 with add_cross_attention");
    encoder.hidden_size = decoder.Require<int64_t>("n_embd");
    encoder.num_hidden_layers = 1;
    encoder.num_attention_heads = 6;
    encoder.hidden_act = "gelu";
    c.Read("encoder_layers", encoder.num_hidden_layers, 0, 1000);
    c.Read("encoder_attention_heads", encoder.num_attention_heads, 1, 65536);
    encoder.intermediate_size = 4 * encoder.hidden_size;
    if (c.Has("encoder_ffn_dim")) c.Read("encoder_ffn_dim", encoder.intermediate_size, 1, 1 << 20);
    c.Read("layer_norm_eps", encoder.layer_norm_eps, 0, 1);
    c.Read("grid_size", grid_size, 1, 1024);
    c.Read("memory_dropout", memory_dropout, 0, 0.99);
    Require(encoder.hidden_size >= 1 && encoder.hidden_size <= 1 << 20 &&
                encoder.hidden_size % encoder.num_attention_heads == 0,
            "[", kWho, "] expected encoder_attention_heads that divide the width of the decoder, ", encoder.hidden_size,
            ", got ", encoder.num_attention_heads);
  }
  static constexpr std::string_view kWho = "fovea-captioner";
};

std::unique_ptr<Model> MakeDecoder(const base::Config& config) {
  for (const Entry* entry : AllEntries()) {
    if (entry->model_type == "gpt2") return entry->create(config);
  }
  Fail(ErrorCode::kInternal, "[fovea-captioner] there is no gpt2");
}

// ---- modules
struct Captioner {
  Config config;
  nn::EfficientNetBody body;
  nn::ConvNormAct top;
  nn::Linear projection;
  nn::LayerNorm norm;
  nn::Embedding positions;
  nn::List<nn::EncoderBlock> layers;
  nn::LayerNorm memory_norm;
  std::unique_ptr<Model> decoder;

  explicit Captioner(const Config& c)
      : config(c),
        body(c.vision),
        top({.in_channels = c.vision.BodyChannels(), .out_channels = c.vision.HeadChannels(), .has_bias = false},
            c.vision.Norm(c.vision.HeadChannels()), c.vision.act),
        projection({.in_features = c.vision.HeadChannels(), .out_features = c.encoder.hidden_size}),
        norm(c.encoder.hidden_size, c.encoder.layer_norm_eps),
        positions(c.grid_size * c.grid_size, c.encoder.hidden_size),
        layers(TowerBlocks(c.encoder)),
        memory_norm(c.encoder.hidden_size, c.encoder.layer_norm_eps),
        decoder(MakeDecoder(c.decoder)) {}

  void Visit(nn::Visitor& v) {
    v("vision_model", body);
    v("vision_model.encoder.top_conv", top.conv);
    v("vision_model.encoder.top_bn", top.norm);
    v("projection", projection);
    v("norm", norm);
    v("positions", positions);
    v("layers", layers);
    v("memory_norm", memory_norm);
    v("decoder", *decoder);
  }

  int64_t FeatureSize() const { return config.encoder.hidden_size; }
  int64_t TrunkBlocks() const { return static_cast<int64_t>(body.blocks.size()); }
  Tensor EncodeTrunk(const Tensor& pixels, int64_t blocks) const { return body.Begin(pixels, blocks, "vision."); }
  ImageOutputs EncodeFromTrunk(const Tensor& trunk, int64_t blocks) const {
    return Remember(body.Continue(trunk, blocks, "vision."));
  }
  ImageOutputs EncodeImages(const Tensor& pixels) const { return Remember(body(pixels, "vision.")); }
  Tensor EmbedImages(const Tensor& pixels) const {  // [B,P*Q,D]
    const Tensor grid = EncodeImages(pixels).grid;
    return Reshape(grid, {grid.dim(0), grid.dim(1) * grid.dim(2), grid.dim(3)});
  }

  ImageOutputs Remember(const Tensor& h) const {          // h [B,P,Q,C']
    const Tensor grid = nn::Stage("vision.top", top(h));  // [B,P,Q,C]
    const auto [B, P, Q, C] = grid.Dims<4>("grid");
    Tensor m = projection(Reshape(grid, {B, P * Q, C}));                              // [B,PQ,D]
    m = norm(m) + PositionsForGrid(positions.weight, P, Q);                           // [B,PQ,D]
    m = Dropout(m, config.memory_dropout);                                            // [B,PQ,D]
    m = nn::Stage("memory", memory_norm(RunBlocks(layers, m, {}, "memory.layers")));  // [B,PQ,D]
    return {.features = Mean(m, {1}), .grid = Reshape(m, {B, P, Q, m.dim(2)}), .logits = {}};
  }

  DecoderSpec Decoder() const {
    DecoderSpec spec = decoder->Decoder();
    spec.pictures = PicturePlace::kMemory;
    return spec;
  }
  Tensor EmbedTokens(const Tensor& ids) const { return decoder->EmbedTokens(ids); }
  DecodeOutputs Decode(const DecodeInputs& inputs) const { return decoder->Decode(inputs); }
};

media::PreprocessSpec InputSpec(const base::Config& c) {
  Fail(ErrorCode::kInvalidArgument, "[fovea-captioner] ", c.source(), " needs a preprocessor_config.json beside it");
}

}  // namespace

const Entry& fovea_captioner_entry() {
  static const Entry entry{
      .model_type = "fovea-captioner",
      .card = {.title = "Fovea captioner",
               .paper = "none; parts of Tan and Le 2019 (arXiv 1905.11946) and Radford et al. 2019 (GPT-2)",
               .reference = "tools/golden/fovea_captioner.py",
               .tasks = "captions, answers about pictures",
               .checkpoints = "fovea-tell"},
      .create = [](const base::Config& config) { return MakeModel(Captioner(Config(config))); },
      .input_spec = InputSpec};
  return entry;
}

}  // namespace fovea::models
