// GIT, Generative Image-to-text Transformer: captions and answers by one decoder that reads the vectors of a picture
// before the words. CLIP's vision tower, a projection, BERT's blocks; the picture's vectors see each other, words see
// the picture and what stands before them.
//
// Paper: Wang et al. 2022, GIT: A Generative Image-to-text Transformer for Vision and Language, arXiv 2205.14100.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/git/modeling_git.py
//
// Not covered: several frames of a video (num_image_with_embedding).
//
// Legend: B rows, T words, N = 1 + P Q vectors of a picture, D width of the decoder, V vocabulary.
#include <algorithm>

#include "nn/decoder.h"
#include "nn/embedding.h"
#include "nn/entry.h"
#include "nn/stage.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr nn::DecoderBlockNames kNames = {.q = "attention.self.query",
                                          .k = "attention.self.key",
                                          .v = "attention.self.value",
                                          .out = "attention.output.dense",
                                          .norm1 = "attention.output.LayerNorm",
                                          .up = "intermediate.dense",
                                          .down = "output.dense",
                                          .norm2 = "output.LayerNorm"};

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  VisionTowerConfig vision;
  int64_t vocab_size = 30522, hidden_size = 768, num_hidden_layers = 6, num_attention_heads = 12;
  int64_t intermediate_size = 3072, max_position_embeddings = 1024;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, layer_norm_eps = 1e-12;
  bool tie_word_embeddings = false;
  DecoderSpec spec;

  explicit Config(const base::Config& c) {
    constexpr double kMostSize = 1 << 20;
    std::vector<std::string> architectures;
    c.Read("architectures", architectures);
    if (!architectures.empty() && architectures[0] != "GitForCausalLM") {
      Fail(ErrorCode::kUnimplemented, "[git] the architecture \"", base::PrintableUtf8(architectures[0]),
           "\" is not implemented; there is GitForCausalLM");
    }
    if (c.Has("num_image_with_embedding") && !c.IsNull("num_image_with_embedding"))
      Fail(ErrorCode::kUnimplemented, "[git] several frames of a video (num_image_with_embedding) are not implemented");
    vision.patch_size = 16;
    if (c.Has("vision_config") && !c.IsNull("vision_config")) vision.Read(c.Object("vision_config"), "git");
    c.Read("vocab_size", vocab_size, 1, 1 << 24);
    c.Read("hidden_size", hidden_size, 1, kMostSize);
    c.Read("num_hidden_layers", num_hidden_layers, 0, 1000);
    c.Read("num_attention_heads", num_attention_heads, 1, 65536);
    c.Read("intermediate_size", intermediate_size, 1, kMostSize);
    c.Read("max_position_embeddings", max_position_embeddings, 1, 1 << 24);
    c.Read("hidden_act", hidden_act);
    c.Read("hidden_dropout_prob", hidden_dropout_prob, 0, 0.99);
    c.Read("attention_probs_dropout_prob", attention_probs_dropout_prob, 0, 0.99);
    c.Read("layer_norm_eps", layer_norm_eps, 0, 1);
    c.Read("tie_word_embeddings", tie_word_embeddings);
    Require(hidden_size % num_attention_heads == 0, "[git] expected a number of heads that divides the width ",
            hidden_size, ", got ", num_attention_heads);
    spec.layers = num_hidden_layers;
    spec.kv_heads = num_attention_heads;
    spec.key_dim = spec.value_dim = hidden_size / num_attention_heads;
    spec.hidden_size = hidden_size;
    spec.vocab = vocab_size;
    spec.max_positions = max_position_embeddings + vision.Grid() * vision.Grid() + 1;
    spec.bos = 101;
    spec.eos = {102};
    spec.pad = 0;
    spec.pictures = PicturePlace::kBefore;
    spec.pictures_see_each_other = true;
    spec.pictures_have_positions = false;
    spec.ReadSpecialTokens(c);
  }

  nn::DecoderBlockOptions Block() const {
    return {.dim = hidden_size,
            .heads = num_attention_heads,
            .kv_heads = num_attention_heads,
            .head_dim = hidden_size / num_attention_heads,
            .ffn = intermediate_size,
            .act = ActFromName(hidden_act, "git"),
            .norm = {.kind = nn::NormKind::kLayerNorm, .eps = layer_norm_eps},
            .has_qkv_bias = true,
            .has_out_bias = true,
            .has_mlp_bias = true,
            .is_pre_norm = false,
            .dropout = hidden_dropout_prob,
            .attention_dropout = attention_probs_dropout_prob};
  }
};

// ---- modules
struct Git {
  Config config;
  ClipVisionTower vision_model;
  nn::Linear projection;
  nn::LayerNorm projection_norm;
  nn::Embedding word_embeddings, position_embeddings;
  nn::LayerNorm norm;
  nn::List<nn::DecoderBlock> layer;
  nn::Linear output;

  explicit Git(const Config& c)
      : config(c),
        vision_model(c.vision),
        projection({.in_features = c.vision.hidden_size, .out_features = c.hidden_size}),
        projection_norm(c.hidden_size, c.vision.layer_norm_eps),
        word_embeddings(c.vocab_size, c.hidden_size),
        position_embeddings(c.max_position_embeddings, c.hidden_size),
        norm(c.hidden_size, c.layer_norm_eps),
        output({.in_features = c.hidden_size, .out_features = c.vocab_size}) {
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layer.emplace_back(c.Block(), kNames);
  }

  void Visit(nn::Visitor& v) {
    v("git.embeddings.word_embeddings", word_embeddings);
    v("git.embeddings.position_embeddings", position_embeddings);
    v("git.embeddings.LayerNorm", norm);
    v("git.image_encoder.vision_model", vision_model);
    v("git.encoder.layer", layer);
    v("git.visual_projection.visual_projection.0", projection);
    v("git.visual_projection.visual_projection.1", projection_norm);
    v("output", output);
  }

  DecoderSpec Decoder() const { return config.spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return word_embeddings(ids); }  // [B,T,D]

  // pixels [B,Y,X,C] -> [B,N,D].
  Tensor EmbedImages(const Tensor& pixels) const {
    const Tensor tokens = vision_model.Tokens(pixels, vision_model.layers.size());  // [B,N,W]
    return nn::Stage("pictures", projection_norm(projection((*vision_model.post_layernorm)(tokens))));
  }

  // Words get positions, a norm and dropout; the vectors of the picture, the prefix, stand as they are. [B,N+T,D]
  Tensor Embed(const DecodeInputs& inputs, const Tensor& positions) const {
    const Tensor given = inputs.ids.defined() ? EmbedTokens(inputs.ids) : inputs.embeddings;
    const int64_t N = inputs.bidirectional, all = given.dim(1);
    const auto finish = [&](const Tensor& words, const Tensor& places) {
      return Dropout(norm(words + position_embeddings(places)), config.hidden_dropout_prob);
    };
    if (N == 0) return finish(given, positions);
    const Tensor pictures = Slice(given, 1, 0, N);
    if (N == all) return pictures;
    return Concat({pictures, finish(Slice(given, 1, N, all), Slice(positions, 1, N, all).Contiguous())}, 1);
  }

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    const nn::DecodeCall call(inputs, config.spec, "git");
    Tensor h = nn::Stage("embeddings", Embed(inputs, call.TablePositions()));  // [B,N+T,D]
    for (size_t i = 0; i < layer.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      h = nn::Stage("layers", index, layer[i](h, call, index));  // [B,N+T,D]
    }
    call.Finish();
    return {.hidden = h, .logits = output(call.Asked(h))};  // [B,N+T,V]
  }
};

// GIT's preparation is CLIP's.
media::PreprocessSpec InputSpec(const base::Config& config) { return ClipPreprocess(Config(config).vision.image_size); }

constexpr std::string_view kUnused[] = {"*.position_ids"};

}  // namespace

const Entry& git_entry() {
  static const Entry entry{
      .model_type = "git",
      .card = {.title = "GIT",
               .paper = "Wang et al. 2022, arXiv 2205.14100",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/git/"
                            "modeling_git.py",
               .tasks = "captions, answers about pictures"},
      .create = [](const base::Config& config) { return MakeModel(Git(Config(config))); },
      .input_spec = InputSpec,
      .unused = kUnused,
      .adapt =
          [](std::vector<NamedTensor>& tensors, const base::Config& config) {
            // Tied in some checkpoints: the head is a copy of the words.
            const bool has_head = std::ranges::any_of(tensors, [](const auto& t) { return t.name == "output.weight"; });
            if (has_head || !config.Get<bool>("tie_word_embeddings", false)) return;
            for (size_t i = 0; i < tensors.size(); ++i) {
              if (tensors[i].name == "git.embeddings.word_embeddings.weight") {
                tensors.push_back({"output.weight", tensors[i].tensor});
                return;
              }
            }
          }};
  return entry;
}

}  // namespace fovea::models
