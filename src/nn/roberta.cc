#include "nn/roberta.h"

#include "ops/dropout.h"

namespace fovea::nn {
namespace {

constexpr MaskedWordNames kHeadNames{
    .decoder = "lm_head.decoder", .bias = "lm_head.bias", .words = "roberta.embeddings.word_embeddings.weight"};

}  // namespace

Roberta::Options::Options(const base::Config& c, std::string_view who, std::string_view family)
    : trunk(c, who, /*pad=*/1), classifier_dropout(trunk.hidden_dropout_prob) {
  c.Read("tie_word_embeddings", tie_word_embeddings);
  c.Read("classifier_dropout", classifier_dropout, 0, 0.99);
  Require(trunk.pad_token_id >= 0 && trunk.pad_token_id + 1 < trunk.max_position_embeddings, "[", who,
          "] expected a pad_token_id from 0 to max_position_embeddings - 2 = ", trunk.max_position_embeddings - 2,
          ", got ", trunk.pad_token_id);
  trunk.skips_padding_positions = true;
  const std::string name(family), architecture = ArchitectureOf(c, name + "Model");
  if (architecture == name + "ForMaskedLM") {
    has_word_head = true;
  } else if (architecture == name + "ForSequenceClassification") {
    num_labels = NumLabels(c);
  } else if (architecture != name + "Model") {
    Fail(ErrorCode::kUnimplemented, "[", who, "] the architecture \"", base::PrintableUtf8(architecture),
         "\" is not implemented; hint: with \"architectures\": [\"", name, "Model\"] its encoder loads alone");
  }
  if (has_word_head || num_labels > 0) trunk.add_pooling_layer = false;
}

Roberta::Roberta(const base::Config& config, std::string_view who, std::string_view family)
    : Roberta(Options(config, who, family)) {}

Roberta::Roberta(const Options& o) : trunk_(o.trunk) {
  const int64_t dim = o.trunk.hidden_size;
  if (o.has_word_head)
    word_head_.emplace(MaskedWordHead::Options{.dim = dim,
                                               .vocab = o.trunk.vocab_size,
                                               .act = Act::kGelu,  // whatever the trunk has
                                               .eps = o.trunk.layer_norm_eps,
                                               .is_tied = o.tie_word_embeddings});
  if (o.num_labels > 0)
    classifier_.emplace(Classifier{.dense = Linear({.in_features = dim, .out_features = dim}),
                                   .out_proj = Linear({.in_features = dim, .out_features = o.num_labels}),
                                   .dropout = o.classifier_dropout});
}

void Roberta::Classifier::Visit(Visitor& v) {
  v("dense", dense);
  v("out_proj", out_proj);
}

Tensor Roberta::Classifier::operator()(const Tensor& tokens) const {
  const Tensor first = Squeeze(Slice(tokens, 1, 0, 1), 1);      // [B,D]
  const Tensor h = dense(Dropout(first, dropout), Act::kTanh);  // [B,D]
  return out_proj(Dropout(h, dropout));                         // [B,V]
}

void Roberta::Visit(Visitor& v) {
  v("roberta", trunk_);
  if (word_head_) {
    v("lm_head.dense", word_head_->dense);
    v("lm_head.layer_norm", word_head_->norm);
    v("lm_head.decoder", word_head_->decoder);
    v("lm_head.bias", word_head_->bias);
  }
  v("classifier", classifier_);
}

models::TextOutputs Roberta::EncodeTexts(const models::TextInputs& inputs) const {
  models::TextOutputs outputs = trunk_(inputs);  // features [B,D], tokens [B,T,D]
  if (word_head_) outputs.logits = (*word_head_)(outputs.tokens, trunk_.embeddings.word_embeddings.weight);  // [B,T,V]
  if (classifier_) outputs.logits = (*classifier_)(outputs.tokens);                                          // [B,V]
  return outputs;
}

void Roberta::Adapt(std::vector<NamedTensor>& tensors, const base::Config& config) {
  AdaptMaskedWordHead(tensors, kHeadNames, config.Get<bool>("tie_word_embeddings", true));
}

}  // namespace fovea::nn
