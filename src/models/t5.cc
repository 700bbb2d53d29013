// T5: an encoder and a decoder of one width that know positions only by their distances, in buckets that grow with
// them. T5, T5 1.1 and FLAN-T5; the text half of several pictures' models.
//
// Papers: Raffel et al. 2019, Exploring the Limits of Transfer Learning, arXiv 1910.10683; Chung et al. 2022, Scaling
// Instruction-Finetuned Language Models, arXiv 2210.11416.
// Reference: https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/t5/modeling_t5.py
//
// Not covered: the encoder alone, classifiers and answer spans on the same trunk.
//
// Legend: B rows, T tokens, S keys, D width, H heads, V vocabulary.
#include <algorithm>
#include <cmath>
#include <map>

#include "nn/decoder.h"
#include "nn/embedding.h"
#include "nn/entry.h"
#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/shape.h"

namespace fovea::models {
namespace {

constexpr nn::DecoderBlockNames EncoderNames(bool is_gated) {
  return {.q = "layer.0.SelfAttention.q",
          .k = "layer.0.SelfAttention.k",
          .v = "layer.0.SelfAttention.v",
          .out = "layer.0.SelfAttention.o",
          .norm1 = "layer.0.layer_norm",
          .gate = is_gated ? "layer.1.DenseReluDense.wi_0" : "",
          .up = is_gated ? "layer.1.DenseReluDense.wi_1" : "layer.1.DenseReluDense.wi",
          .down = "layer.1.DenseReluDense.wo",
          .norm2 = "layer.1.layer_norm"};
}

constexpr nn::DecoderBlockNames DecoderNames(bool is_gated) {
  return {.q = "layer.0.SelfAttention.q",
          .k = "layer.0.SelfAttention.k",
          .v = "layer.0.SelfAttention.v",
          .out = "layer.0.SelfAttention.o",
          .norm1 = "layer.0.layer_norm",
          .cross_q = "layer.1.EncDecAttention.q",
          .cross_k = "layer.1.EncDecAttention.k",
          .cross_v = "layer.1.EncDecAttention.v",
          .cross_out = "layer.1.EncDecAttention.o",
          .cross_norm = "layer.1.layer_norm",
          .gate = is_gated ? "layer.2.DenseReluDense.wi_0" : "",
          .up = is_gated ? "layer.2.DenseReluDense.wi_1" : "layer.2.DenseReluDense.wi",
          .down = "layer.2.DenseReluDense.wo",
          .norm2 = "layer.2.layer_norm"};
}

constexpr nn::DecoderBlockNames kEncoderNames[] = {EncoderNames(false), EncoderNames(true)};
constexpr nn::DecoderBlockNames kDecoderNames[] = {DecoderNames(false), DecoderNames(true)};

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t vocab_size = 32128, d_model = 512, d_kv = 64, d_ff = 2048, num_layers = 6, num_decoder_layers = -1;
  int64_t num_heads = 8, relative_attention_num_buckets = 32, relative_attention_max_distance = 128;
  int64_t n_positions = 512;  // tokens of the encoder's texts in training; no limit of the network
  double dropout_rate = 0.1, layer_norm_epsilon = 1e-6;
  bool tie_word_embeddings = true, scale_decoder_outputs = true, is_gated = false;
  std::string act = "relu";
  DecoderSpec spec;

  explicit Config(const base::Config& c) {
    constexpr double kMostSize = 1 << 20;
    std::vector<std::string> architectures;
    c.Read("architectures", architectures);
    if (!architectures.empty() && architectures[0] != "T5ForConditionalGeneration" &&
        architectures[0] != "T5WithLMHeadModel") {
      Fail(ErrorCode::kUnimplemented, "[t5] the architecture \"", base::PrintableUtf8(architectures[0]),
           "\" is not implemented; there is T5ForConditionalGeneration");
    }
    c.Read("vocab_size", vocab_size, 1, 1 << 24);
    c.Read("d_model", d_model, 1, kMostSize);
    c.Read("d_kv", d_kv, 1, 65536);
    c.Read("d_ff", d_ff, 1, kMostSize);
    c.Read("num_layers", num_layers, 0, 1000);
    if (c.Has("num_decoder_layers")) c.Read("num_decoder_layers", num_decoder_layers, 0, 1000);
    c.Read("num_heads", num_heads, 1, 65536);
    c.Read("relative_attention_num_buckets", relative_attention_num_buckets, 4, 65536);
    c.Read("relative_attention_max_distance", relative_attention_max_distance, 1, 1e9);
    c.Read("n_positions", n_positions, 1, 1e9);
    c.Read("dropout_rate", dropout_rate, 0, 0.99);
    c.Read("layer_norm_epsilon", layer_norm_epsilon, 0, 1);
    c.Read("tie_word_embeddings", tie_word_embeddings);
    scale_decoder_outputs = tie_word_embeddings;
    c.Read("scale_decoder_outputs", scale_decoder_outputs);
    Require(relative_attention_max_distance > relative_attention_num_buckets / 2,
            "[t5] expected relative_attention_max_distance above half of the buckets ", relative_attention_num_buckets,
            ", got ", relative_attention_max_distance);
    std::string feed_forward_proj = "relu";
    c.Read("feed_forward_proj", feed_forward_proj);
    is_gated = feed_forward_proj.starts_with("gated-");
    act = is_gated ? feed_forward_proj.substr(6) : feed_forward_proj;
    if (feed_forward_proj == "gated-gelu") act = "gelu_new";  // as the reference, for its old configurations
    if (num_decoder_layers < 0) num_decoder_layers = num_layers;
    spec.layers = num_decoder_layers;
    spec.kv_heads = num_heads;
    spec.key_dim = spec.value_dim = d_kv;
    spec.hidden_size = spec.memory_size = d_model;
    spec.vocab = vocab_size;
    spec.max_positions = 1 << 20;
    spec.is_encoder_decoder = true;
    spec.pad = 0;
    spec.eos = {1};
    spec.ReadSpecialTokens(c);
    if (spec.decoder_start_token_id < 0) spec.decoder_start_token_id = spec.pad;
  }

  nn::DecoderBlockOptions Block() const {
    return {.dim = d_model,
            .heads = num_heads,
            .kv_heads = num_heads,
            .head_dim = d_kv,
            .ffn = d_ff,
            .memory_dim = d_model,
            .act = ActFromName(act, "t5"),
            .norm = {.kind = nn::NormKind::kRms, .eps = layer_norm_epsilon},
            .scale = 1.0f,
            .dropout = dropout_rate,
            .attention_dropout = dropout_rate,
            .activation_dropout = dropout_rate};
  }
};

// Which bucket a key belongs to that lies `distance` tokens after the query: a half of the buckets for single
// distances, the rest for ranges that grow by a constant factor.
int64_t Bucket(int64_t distance, bool is_causal, int64_t buckets, int64_t max_distance) {
  int64_t first = 0;
  if (!is_causal) {
    buckets /= 2;
    if (distance > 0) first = buckets;
    distance = std::abs(distance);
  } else {
    distance = std::max<int64_t>(-distance, 0);
  }
  const int64_t exact = buckets / 2;
  if (distance < exact) return first + distance;
  // In f32 as the reference, so that borders fall alike.
  const float share = std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
                      static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  const auto grown = exact + static_cast<int64_t>(share * static_cast<float>(buckets - exact));
  return first + std::min(grown, buckets - 1);
}

// ---- modules

// Encoder or decoder: its blocks, the vectors of distances, which the first block owns, and a norm.
struct Stack {
  bool is_causal;
  int64_t buckets, max_distance;
  double dropout;
  nn::List<nn::DecoderBlock> block;
  nn::Embedding relative_attention_bias;
  nn::Norm final_layer_norm;

  Stack(const Config& c, bool is_decoder)
      : is_causal(is_decoder),
        buckets(c.relative_attention_num_buckets),
        max_distance(c.relative_attention_max_distance),
        dropout(c.dropout_rate),
        relative_attention_bias(c.relative_attention_num_buckets, c.num_heads),
        final_layer_norm(c.d_model, {.kind = nn::NormKind::kRms, .eps = c.layer_norm_epsilon}) {
    const nn::DecoderBlockNames& names = (is_decoder ? kDecoderNames : kEncoderNames)[c.is_gated ? 1 : 0];
    const int64_t count = is_decoder ? c.num_decoder_layers : c.num_layers;
    for (int64_t i = 0; i < count; ++i) block.emplace_back(c.Block(), names);
  }

  void Visit(nn::Visitor& v) {
    v("block", block);
    if (!block.empty()) v("block.0.layer.0.SelfAttention.relative_attention_bias", relative_attention_bias);
    v("final_layer_norm", final_layer_norm);
  }

  // What distances add to the scores of the last T of S tokens. [1,H,T,S]
  Tensor Bias(int64_t T, int64_t S) const {
    const Tensor index = Tensor::Empty({T, S}, DType::kI64);
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t s = 0; s < S; ++s)
        index.mutable_data<int64_t>()[t * S + s] = Bucket(s - (S - T + t), is_causal, buckets, max_distance);
    }
    return Unsqueeze(Permute(relative_attention_bias(index), {2, 0, 1}), 0);  // [1,H,T,S]
  }

  // [B,T,D] -> [B,T,D]. Stages `name`.0, `name`.1, ...
  Tensor operator()(Tensor h, nn::DecodeCall& call, std::string_view name) const {
    std::map<int64_t, Tensor> made;  // by S: all layers add the same
    call.is_causal = is_causal;
    call.bias = [&](int64_t T, int64_t S) {
      Tensor& bias = made[S];
      return bias.defined() ? bias : bias = Bias(T, S);
    };
    h = Dropout(h, dropout);
    for (size_t i = 0; i < block.size(); ++i) {
      const auto layer = static_cast<int64_t>(i);
      h = nn::Stage(name, layer, block[i](h, call, layer));  // [B,T,D]
    }
    return Dropout(final_layer_norm(h), dropout);  // [B,T,D]
  }
};

struct T5 {
  Config config;
  DecoderSpec encoder_spec;
  nn::Embedding shared;
  Stack encoder, decoder;
  nn::Optional<nn::Linear> lm_head;
  nn::TiedLinear tied_head;

  explicit T5(const Config& c) : config(c), shared(c.vocab_size, c.d_model), encoder(c, false), decoder(c, true) {
    encoder_spec.hidden_size = c.d_model;
    if (!c.tie_word_embeddings)
      lm_head.emplace(nn::LinearOptions{.in_features = c.d_model, .out_features = c.vocab_size, .has_bias = false});
  }

  void Visit(nn::Visitor& v) {
    v("shared", shared);
    v("encoder", encoder);
    v("decoder", decoder);
    v("lm_head", lm_head);
  }

  TextSpec Texts() const { return {.max_tokens = config.n_positions}; }
  int64_t FeatureSize() const { return config.d_model; }
  DecoderSpec Decoder() const { return config.spec; }
  Tensor EmbedTokens(const Tensor& ids) const { return shared(ids); }  // [B,T,D]

  TextOutputs EncodeTexts(const TextInputs& inputs) const {
    const DecodeInputs given{.ids = inputs.ids, .mask = inputs.mask};
    nn::DecodeCall call(given, encoder_spec, "t5");
    const Tensor tokens = encoder(shared(inputs.ids), call, "encoder");  // [B,T,D]
    return {.features = {}, .tokens = tokens, .logits = {}};
  }

  DecodeOutputs Decode(const DecodeInputs& inputs) const {
    nn::DecodeCall call(inputs, config.spec, "t5");
    const Tensor words = inputs.ids.defined() ? shared(inputs.ids) : inputs.embeddings;  // [B,T,D]
    const Tensor h = decoder(words, call, "decoder");                                    // [B,T,D]
    call.Finish();
    Tensor asked = call.Asked(h);  // [B,T,D] or [B,1,D]
    if (config.scale_decoder_outputs) asked = asked * static_cast<float>(1 / std::sqrt(config.d_model));
    return {.hidden = h,
            .logits = lm_head ? (*lm_head)(asked) : tied_head(asked, shared.weight)};  // [B,T,V] or [B,1,V]
  }
};

// Newer versions of transformers write tie_word_embeddings true whatever the weights are, and scale_decoder_outputs
// beside it: a head of its own is one that is there.
base::Config TiedAsInWeights(const base::Config& config, std::span<const NamedTensor> tensors) {
  const bool has_head = std::ranges::any_of(tensors, [](const NamedTensor& t) { return t.name == "lm_head.weight"; });
  const bool was_tied = config.Get<bool>("tie_word_embeddings", true);
  const bool scales = config.Get<bool>("scale_decoder_outputs", was_tied);
  const std::string found = base::StrCat("{\"tie_word_embeddings\": ", has_head ? "false" : "true",
                                         ", \"scale_decoder_outputs\": ", scales ? "true" : "false", "}");
  return base::Config::Parse(found, config.source()).MergedOver(config);
}

constexpr std::string_view kUnused[] = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight",
                                        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"};

}  // namespace

const Entry& t5_entry() {
  static const Entry entry{
      .model_type = "t5",
      .card = {.title = "T5",
               .paper = "Raffel et al. 2019, arXiv 1910.10683",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/t5/"
                            "modeling_t5.py",
               .tasks = "text to text generation, text features"},
      .create = [](const base::Config& config) { return MakeModel(T5(Config(config))); },
      .input_spec = nullptr,
      .unused = kUnused,
      .amend = TiedAsInWeights};
  return entry;
}

}  // namespace fovea::models
