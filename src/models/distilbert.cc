// DistilBERT: a BERT of half the depth, without segments and pooler, taught by a BERT; with a masked-word head or a
// classifier on top.
//
// Paper: Sanh et al. 2019, DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter, arXiv
// 1910.01108.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/distilbert/modeling_distilbert.py
//
// architectures[0] of config.json says which network it is: DistilBertModel (the default), DistilBertForMaskedLM or
// DistilBertForSequenceClassification. Nobody defines one vector for a text here: TextOutputs has no features.
// sinusoidal_pos_embds only says how the table of positions, which checkpoints carry, was filled.
//
// Legend: B texts, T tokens, D model, V vocabulary or classes.
#include "nn/bert.h"
#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "tensor/tape.h"

namespace fovea::models {
namespace {

constexpr double kEps = 1e-12;
constexpr nn::MaskedWordNames kHeadNames{.decoder = "vocab_projector",
                                         .bias = "vocab_projector.bias",
                                         .words = "distilbert.embeddings.word_embeddings.weight"};

// ---- config: the keys of config.json, defaults as in transformers
struct Config {
  int64_t vocab_size = 30522, max_position_embeddings = 512, n_layers = 6, n_heads = 12, dim = 768, hidden_dim = 3072;
  int64_t pad_token_id, num_labels = 0;
  double dropout = 0.1, attention_dropout = 0.1, seq_classif_dropout = 0.2;
  bool has_word_head = false, tie_word_embeddings = true;
  Act activation;

  explicit Config(const base::Config& c)
      : activation(ActFromName(c.Get<std::string>("activation", "gelu"), "distilbert")) {
    c.Read("vocab_size", vocab_size, 1, 1e7);
    c.Read("max_position_embeddings", max_position_embeddings, 1, 1e6);
    for (const char* key : {"n_layers", "num_hidden_layers"}) c.Read(key, n_layers, 1, 1000);
    for (const char* key : {"n_heads", "num_attention_heads"}) c.Read(key, n_heads, 1, 65536);
    for (const char* key : {"dim", "hidden_size"}) c.Read(key, dim, 1, 65536);
    c.Read("hidden_dim", hidden_dim, 1, 1e6);
    pad_token_id = nn::PadTokenId(c, 0);
    c.Read("dropout", dropout, 0, 0.99);
    c.Read("attention_dropout", attention_dropout, 0, 0.99);
    c.Read("seq_classif_dropout", seq_classif_dropout, 0, 0.99);
    c.Read("tie_word_embeddings", tie_word_embeddings);
    Require(pad_token_id < vocab_size, "[distilbert] expected a pad_token_id below vocab_size ", vocab_size, ", got ",
            pad_token_id);
    if (c.Has("pruned_heads") && !c.Object("pruned_heads").Keys().empty())
      Fail(ErrorCode::kUnimplemented, "[distilbert] pruned_heads are not implemented");
    const std::string architecture = nn::ArchitectureOf(c, "DistilBertModel");
    if (architecture == "DistilBertForMaskedLM") {
      has_word_head = true;
    } else if (architecture == "DistilBertForSequenceClassification") {
      num_labels = nn::NumLabels(c);
    } else if (architecture != "DistilBertModel") {
      Fail(ErrorCode::kUnimplemented, "[distilbert] the architecture \"", base::PrintableUtf8(architecture),
           "\" is not implemented; hint: with \"architectures\": [\"DistilBertModel\"] its encoder loads alone");
    }
  }
};

// ---- modules
struct Embeddings {
  Config config;
  nn::Embedding word_embeddings, position_embeddings;
  nn::LayerNorm norm;

  explicit Embeddings(const Config& c)
      : config(c),
        word_embeddings(c.vocab_size, c.dim),
        position_embeddings(c.max_position_embeddings, c.dim),
        norm(c.dim, kEps) {}
  void Visit(nn::Visitor& v) {
    v("word_embeddings", word_embeddings);
    v("position_embeddings", position_embeddings);
    v("LayerNorm", norm);
  }

  Tensor operator()(const TextInputs& inputs) const {
    const auto [B, T] = inputs.ids.Dims<2>("distilbert");
    Require(T >= 1 && T <= config.max_position_embeddings, "[distilbert] expected 1 to ",
            config.max_position_embeddings, " tokens, got ids of shape ", inputs.ids.shape());
    Require(!inputs.mask.defined() || inputs.mask.shape() == inputs.ids.shape(),
            "[distilbert] expected a mask of shape ", inputs.ids.shape(), ", got ", inputs.mask.shape());
    const Tensor words = nn::LookUp(word_embeddings, inputs.ids, config.pad_token_id);  // [B,T,D]
    const Tensor sum = words + Slice(position_embeddings.weight, 0, 0, T);              // [B,T,D]
    return Dropout(norm(sum), config.dropout);                                          // [B,T,D]
  }
};

// As nn::EncoderBlock after its norms, but for dropout, which here follows the MLP alone.
struct Block {
  double dropout;
  Act activation;
  nn::MultiHeadAttention attention;
  nn::LayerNorm sa_layer_norm, output_layer_norm;
  nn::Linear lin1, lin2;

  explicit Block(const Config& c)
      : dropout(c.dropout),
        activation(c.activation),
        attention({.dim = c.dim, .heads = c.n_heads, .dropout = c.attention_dropout}),
        sa_layer_norm(c.dim, kEps),
        output_layer_norm(c.dim, kEps),
        lin1({.in_features = c.dim, .out_features = c.hidden_dim}),
        lin2({.in_features = c.hidden_dim, .out_features = c.dim}) {}
  void Visit(nn::Visitor& v) {
    v("attention.q_lin", attention.q);
    v("attention.k_lin", attention.k);
    v("attention.v_lin", attention.v);
    v("attention.out_lin", attention.out);
    v("sa_layer_norm", sa_layer_norm);
    v("ffn.lin1", lin1);
    v("ffn.lin2", lin2);
    v("output_layer_norm", output_layer_norm);
  }

  Tensor operator()(const Tensor& x, const Tensor& key_mask) const {
    const Tensor h = sa_layer_norm(x + attention(x, {.key_mask = key_mask}));   // [B,T,D]
    return output_layer_norm(h + Dropout(lin2(lin1(h, activation)), dropout));  // [B,T,D]
  }
};

struct DistilBert {
  Config config;
  Embeddings embeddings;
  nn::List<Block> layers;
  nn::Optional<nn::MaskedWordHead> word_head;
  nn::Optional<nn::Linear> pre_classifier, classifier;

  explicit DistilBert(const Config& c) : config(c), embeddings(c) {
    for (int64_t i = 0; i < c.n_layers; ++i) layers.emplace_back(c);
    if (c.has_word_head)
      word_head.emplace(nn::MaskedWordHead::Options{
          .dim = c.dim, .vocab = c.vocab_size, .act = c.activation, .eps = kEps, .is_tied = c.tie_word_embeddings});
    if (c.num_labels > 0) {
      pre_classifier.emplace(nn::LinearOptions{.in_features = c.dim, .out_features = c.dim});
      classifier.emplace(nn::LinearOptions{.in_features = c.dim, .out_features = c.num_labels});
    }
  }

  void Visit(nn::Visitor& v) {
    v("distilbert.embeddings", embeddings);
    v("distilbert.transformer.layer", layers);
    if (word_head) {
      v("vocab_transform", word_head->dense);
      v("vocab_layer_norm", word_head->norm);
      v("vocab_projector", word_head->decoder);
      v("vocab_projector.bias", word_head->bias);
    }
    v("pre_classifier", pre_classifier);
    v("classifier", classifier);
  }

  int64_t FeatureSize() const { return config.dim; }
  TextSpec Texts() const { return {.max_tokens = config.max_position_embeddings}; }

  TextOutputs EncodeTexts(const TextInputs& inputs) const {
    Tensor h = nn::Stage("embeddings", embeddings(inputs));  // [B,T,D]
    for (size_t i = 0; i < layers.size(); ++i)
      h = nn::Stage("layers", static_cast<int64_t>(i),
                    Tape::Recomputed(h, [layer = &layers[i], mask = inputs.mask](const Tensor& x) {
                      return (*layer)(x, mask);
                    }));  // [B,T,D]
    TextOutputs outputs{.features = {}, .tokens = h, .logits = {}};
    if (word_head) outputs.logits = (*word_head)(h, embeddings.word_embeddings.weight);  // [B,T,V]
    if (classifier) {
      const Tensor first = Squeeze(Slice(h, 1, 0, 1), 1);                           // [B,D]
      const Tensor pooled = (*pre_classifier)(first, Act::kRelu);                   // [B,D]
      outputs.logits = (*classifier)(Dropout(pooled, config.seq_classif_dropout));  // [B,V]
    }
    return outputs;
  }
};

// ---- names of checkpoints without the task's prefix
constexpr Rename kRenames[] = {{"^embeddings.", "distilbert.embeddings."},
                               {"^transformer.", "distilbert.transformer."}};
constexpr std::string_view kUnused[] = {"*embeddings.position_ids", "vocab_*"};

}  // namespace

const Entry& distilbert_entry() {
  static const Entry entry{
      .model_type = "distilbert",
      .card = {.title = "DistilBERT",
               .paper = "Sanh et al. 2019, arXiv 1910.01108",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/"
                            "distilbert/modeling_distilbert.py",
               .tasks = "text features, masked words, text classification"},
      .create = [](const base::Config& config) { return MakeModel(DistilBert(Config(config))); },
      .input_spec = nullptr,
      .renames = kRenames,
      .unused = kUnused,
      .adapt =
          [](std::vector<NamedTensor>& tensors, const base::Config& config) {
            nn::AdaptMaskedWordHead(tensors, kHeadNames, config.Get<bool>("tie_word_embeddings", true));
          }};
  return entry;
}

}  // namespace fovea::models
