// IDEFICS: an open Flamingo. LLaMA's decoder with gated cross-attention layers between its own, through which each
// token sees the last picture shown before it; a CLIP-like tower, whose vectors a perceiver resampler turns into a
// fixed number. Prompts may hold any number of pictures among the words: a few examples, then a question.
//
// Papers: Laurençon et al. 2023, OBELICS, arXiv 2306.16527; Alayrac et al. 2022, Flamingo, arXiv 2204.14198.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/idefics/modeling_idefics.py
//
// Not covered: pictures of another size than the tower's. Which tokens stand around and for pictures the configuration
// does not say: as in the published models, <fake_token_around_image> and <image> are the first two additional ones.
//
// Legend: R pictures, L vectors each, W width of the tower, B rows, T tokens, D width, V words, A additional ones.
#include "nn/embedding.h"
#include "nn/flamingo.h"
#include "nn/stage.h"
#include "nn/two_tower.h"
#include "ops/arithmetic.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr std::string_view kWho = "idefics";
constexpr nn::DecoderBlockNames kNames = {.q = "self_attn.q_proj",
                                          .k = "self_attn.k_proj",
                                          .v = "self_attn.v_proj",
                                          .out = "self_attn.o_proj",
                                          .norm1 = "input_layernorm",
                                          .gate = "mlp.gate_proj",
                                          .up = "mlp.up_proj",
                                          .down = "mlp.down_proj",
                                          .norm2 = "post_attention_layernorm"};

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t vocab_size = 32000, additional_vocab_size = 0;  // V, A
  int64_t cross_layer_interval = 1;
  bool tie_word_embeddings = false, use_resampler = false;
  VisionTowerConfig vision;
  nn::PerceiverOptions perceiver;
  nn::GatedCrossOptions cross;  // its block is that of the other layers
  nn::RopeOptions rope;
  DecoderSpec spec;

  explicit Config(const base::Config& c) {
    c.Read("vocab_size", vocab_size, 1, 1 << 24);
    c.Read("additional_vocab_size", additional_vocab_size, 0, 1 << 20);
    c.Read("tie_word_embeddings", tie_word_embeddings);
    c.Read("use_resampler", use_resampler);
    if (additional_vocab_size < 2) {
      Fail(ErrorCode::kUnimplemented, "[idefics] an additional_vocab_size below 2, without a token for pictures, is ",
           "not implemented; got ", additional_vocab_size);
    }
    ReadVision(c);
    ReadBlock(c);
    ReadDecoder(c);
  }

  void ReadVision(const base::Config& c) {
    const base::Config empty = base::Config::Parse("{}", c.source());
    const base::Config tower = c.Has("vision_config") ? c.Object("vision_config") : empty;
    vision.hidden_size = 768;
    vision.intermediate_size = 5120;
    vision.num_hidden_layers = 32;
    vision.num_attention_heads = 16;
    vision.patch_size = 14;
    vision.hidden_act = "gelu";
    tower.Read("embed_dim", vision.hidden_size, 1, 65536);
    vision.Read(tower, kWho);
    const base::Config keys = c.Has("perceiver_config") ? c.Object("perceiver_config") : empty;
    perceiver.dim = vision.hidden_size;
    keys.Read("resampler_n_latents", perceiver.latents, 1, 65536);
    keys.Read("resampler_depth", perceiver.depth, 0, 1000);
    keys.Read("resampler_n_heads", perceiver.heads, 1, 65536);
    keys.Read("resampler_head_dim", perceiver.head_dim, 1, 65536);
    keys.Read("qk_layer_norms_perceiver", perceiver.has_qk_norms);
  }

  void ReadBlock(const base::Config& c) {
    nn::DecoderBlockOptions& block = cross.block;
    std::string hidden_act = "silu", alpha_type = "float";
    block = {.dim = 4096, .heads = 32, .ffn = 11008, .norm = {.kind = nn::NormKind::kRms, .eps = 1e-6}};
    c.Read("hidden_size", block.dim, 1, 1 << 20);
    c.Read("num_attention_heads", block.heads, 1, 65536);
    c.Read("intermediate_size", block.ffn, 1, 1 << 20);
    c.Read("rms_norm_eps", block.norm.eps, 0, 1);
    c.Read("dropout", block.dropout, 0, 0.99);
    c.Read("hidden_act", hidden_act);
    c.Read("alpha_type", alpha_type);
    c.Read("qk_layer_norms", cross.has_qk_norms);
    c.Read("cross_layer_interval", cross_layer_interval, 1, 1000);
    Require(block.dim % block.heads == 0, "[idefics] expected num_attention_heads that divides hidden_size ", block.dim,
            ", got ", block.heads);
    Require(alpha_type == "float" || alpha_type == "vector", "[idefics] expected alpha_type float or vector, got \"",
            base::PrintableUtf8(alpha_type), "\"");
    block.kv_heads = block.heads;
    block.head_dim = block.dim / block.heads;
    block.memory_dim = vision.hidden_size;
    block.act = ActFromName(hidden_act, kWho);
    block.attention_dropout = block.dropout;
    cross.has_vector_gate = alpha_type == "vector";
    nn::CheckBlock(block, kWho);
    rope = nn::ReadRope(c, kWho, {.head_dim = block.head_dim});
  }

  void ReadDecoder(const base::Config& c) {
    spec.layers = 32;
    spec.max_positions = 2048;
    c.Read("num_hidden_layers", spec.layers, 1, 1000);
    c.Read("max_position_embeddings", spec.max_positions, 1, 1e9);
    Require(spec.layers % cross_layer_interval == 0, "[idefics] expected cross_layer_interval that divides ",
            "num_hidden_layers ", spec.layers, ", got ", cross_layer_interval);
    spec.kv_heads = cross.block.heads;
    spec.key_dim = spec.value_dim = cross.block.head_dim;
    spec.hidden_size = cross.block.dim;
    spec.vocab = vocab_size + additional_vocab_size;
    spec.bos = 1;
    spec.eos = {2};
    spec.pad = 0;
    spec.ReadSpecialTokens(c);
    spec.memory_size = vision.hidden_size;
    spec.pictures = PicturePlace::kMemory;
    spec.image_token_id = vocab_size + 1;
  }
};

// ---- modules
struct Idefics {
  Config config;
  nn::Embedding embed_tokens, additional_embedding;
  ClipVisionTower vision_model;
  nn::Optional<nn::PerceiverResampler> perceiver_resampler;
  nn::List<nn::DecoderBlock> layers;
  nn::List<nn::GatedCrossBlock> gated_cross_attn_layers;
  nn::Norm norm;
  nn::Rotary rotary;
  nn::Optional<nn::Linear> lm_head, additional_fc;
  nn::TiedLinear tied_head, tied_additional;

  explicit Idefics(const Config& c)
      : config(c),
        embed_tokens(c.vocab_size, c.spec.hidden_size),
        additional_embedding(c.additional_vocab_size, c.spec.hidden_size),
        vision_model(c.vision, /*has_pooling=*/false),
        norm(c.spec.hidden_size, c.cross.block.norm),
        rotary(c.rope) {
    if (c.use_resampler) perceiver_resampler.emplace(c.perceiver);
    for (int64_t i = 0; i < c.spec.layers; ++i) {
      layers.emplace_back(c.cross.block, kNames);
      if (i % c.cross_layer_interval == 0) gated_cross_attn_layers.emplace_back(c.cross);
    }
    if (c.tie_word_embeddings) return;
    const int64_t D = c.spec.hidden_size;
    lm_head.emplace(nn::LinearOptions{.in_features = D, .out_features = c.vocab_size, .has_bias = false});
    additional_fc.emplace(
        nn::LinearOptions{.in_features = D, .out_features = c.additional_vocab_size, .has_bias = false});
  }

  void Visit(nn::Visitor& v) {
    v("model.embed_tokens", embed_tokens);
    v("model.embed_tokens.additional_embedding", additional_embedding);
    v("model.vision_model", vision_model);
    v("model.perceiver_resampler", perceiver_resampler);
    v("model.layers", layers);
    v("model.gated_cross_attn_layers", gated_cross_attn_layers);
    v("model.norm", norm);
    v("lm_head", lm_head);
    v("lm_head.additional_fc", additional_fc);
  }

  DecoderSpec Decoder() const { return config.spec; }

  Tensor EmbedTokens(const Tensor& ids) const {  // i64 [B,T] -> [B,T,D]
    const int64_t V = config.vocab_size;
    const Tensor words = ids.Clone(), added = ids.Clone(), is_added = Tensor::Empty(ids.shape(), DType::kBool);
    for (int64_t i = 0; i < ids.numel(); ++i) {
      int64_t &word = words.mutable_data<int64_t>()[i], &addition = added.mutable_data<int64_t>()[i];
      is_added.mutable_data<bool>()[i] = word >= V;
      addition = std::max<int64_t>(0, addition - V);
      if (word >= V) word = 0;
    }
    return Where(Unsqueeze(is_added, 2), additional_embedding(added), embed_tokens(words));
  }

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    CheckMemory(inputs);
    // The memory is the gated layers' business: tokens see different parts of it, or nothing.
    DecodeInputs words = inputs;
    words.memory = words.memory_mask = {};
    DecoderSpec spec = config.spec;
    spec.memory_size = 0;
    const nn::DecodeCall call(words, spec, kWho);
    Tensor h = inputs.ids.defined() ? EmbedTokens(inputs.ids) : inputs.embeddings;  // [B,T,D]
    const nn::Rotary::Angles angles = rotary.At(call.positions);
    for (int64_t i = 0; i < spec.layers; ++i) {
      const int64_t seen = i / config.cross_layer_interval;
      if (i % config.cross_layer_interval == 0)
        h = nn::Stage("gated", seen, gated_cross_attn_layers[static_cast<size_t>(seen)](h, inputs, seen));
      h = nn::Stage("layers", i, layers[static_cast<size_t>(i)](h, call, i, &angles));  // [B,T,D]
    }
    nn::KeepLastMask(inputs);
    call.Finish();
    h = nn::Stage("norm", norm(h));      // [B,T,D]
    const Tensor asked = call.Asked(h);  // [B,T,D] or [B,1,D]
    const Tensor words_logits = lm_head ? (*lm_head)(asked) : tied_head(asked, embed_tokens.weight);
    const Tensor added = additional_fc ? (*additional_fc)(asked) : tied_additional(asked, additional_embedding.weight);
    return {.hidden = h, .logits = Concat({words_logits, added}, 2)};  // [B,T,V+A]
  }

  void CheckMemory(const DecodeInputs& inputs) const {
    const Tensor &memory = inputs.memory, &mask = inputs.memory_mask;
    const Tensor& given = inputs.ids.defined() ? inputs.ids : inputs.embeddings;
    Require(given.defined() && given.rank() >= 2, "[idefics] expected either ids or embeddings");
    const int64_t B = given.dim(0), T = given.dim(1);
    if (memory.defined()) {
      Require(memory.rank() == 3 && memory.dim(0) == B && memory.dim(2) == config.spec.memory_size,
              "[idefics] expected memory [", B, ",S,", config.spec.memory_size, "], got ", memory.shape());
      Require(!mask.defined() || mask.dim(-1) == memory.dim(1), "[idefics] expected a memory mask for ", memory.dim(1),
              " vectors, got ", mask.shape());
    }
    Require(!mask.defined() || (mask.dtype() == DType::kBool && mask.dim(0) == B &&
                                (mask.rank() == 2 || (mask.rank() == 3 && mask.dim(1) == T))),
            "[idefics] expected a memory mask bool [", B, ",S] or [", B, ",", T, ",S], got ", mask.dtype(),
            mask.shape());
  }

  // pixels [R,Y,X,C] -> [R,L,W].
  Tensor EmbedImages(const Tensor& pixels) const {
    const auto [R, Y, X, C] = pixels.Dims<4>("pixels");
    const int64_t size = config.vision.image_size;
    Require(Y == size && X == size, "[idefics] expected pictures of ", size, "x", size, " px, got ", pixels.shape());
    const Tensor seen = vision_model.Tokens(pixels, vision_model.layers.size());  // [R,1+PQ,W]
    return nn::Stage("pictures", perceiver_resampler ? (*perceiver_resampler)(seen) : seen);
  }

  // A picture is one tile, and one token stands for it.
  Tensor EmbedTiles(const TileInputs& picture) const {
    Require(picture.pixels.rank() == 4 && picture.pixels.dim(0) == 1, "[idefics] expected one tile, got ",
            picture.pixels.shape());
    return Squeeze(EmbedImages(picture.pixels), 0);  // [L,W]
  }
  std::string TileText(const TileInputs&, std::string_view image_token) const {
    constexpr std::string_view kAround = "<fake_token_around_image>";
    return base::StrCat(kAround, image_token, kAround);
  }
};

constexpr std::string_view kUnused[] = {"*.rotary_emb.inv_freq", "model.vision_model.embeddings.position_ids",
                                        "model.vision_model.post_layernorm.*", "lm_head.weight",
                                        "lm_head.additional_fc.weight"};

}  // namespace

const Entry& idefics_entry() {
  static const Entry entry{
      .model_type = kWho,
      .card = {.title = "IDEFICS",
               .paper = "Laurençon et al. 2023, arXiv 2306.16527",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/idefics/"
                            "modeling_idefics.py",
               .tasks = "conversations about pictures, captions, answers about pictures from a few examples"},
      .create = [](const base::Config& config) { return MakeModel(Idefics(Config(config))); },
      .input_spec = nullptr,
      .unused = kUnused};
  return entry;
}

}  // namespace fovea::models
