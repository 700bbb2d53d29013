// The network of RoBERTa and XLM-RoBERTa (Liu et al. 2019, arXiv 1907.11692), which differ in vocabulary and names
// alone: the trunk of BERT with positions that start after pad_token_id and skip padding, and heads of its own.
//
// Legend: B texts, T tokens, D model, V vocabulary or classes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nn/bert.h"

namespace fovea::nn {

class Roberta {
 public:
  // `who` names the model in errors, `family` is how its architectures begin: "Roberta" of "RobertaForMaskedLM". Throws
  // as BertOptions does, and kUnimplemented for an architecture other than <family>Model, <family>ForMaskedLM and
  // <family>ForSequenceClassification.
  Roberta(const base::Config& config, std::string_view who, std::string_view family);

  void Visit(Visitor& v);
  int64_t FeatureSize() const { return trunk_.options().hidden_size; }
  models::TextSpec Texts() const { return {.max_tokens = trunk_.options().MaxTokens()}; }
  // features: the pooler's output, of a plain model only. logits: [B,T,V] of words or [B,V] of classes.
  models::TextOutputs EncodeTexts(const models::TextInputs& inputs) const;

  // For the entries of the family.
  static constexpr models::Rename kRenames[] = {
      {"^embeddings.", "roberta.embeddings."}, {"^encoder.", "roberta.encoder."}, {"^pooler.", "roberta.pooler."}};
  static constexpr std::string_view kUnused[] = {"*embeddings.position_ids", "*embeddings.token_type_ids",
                                                 "roberta.pooler.*", "lm_head.*"};
  static void Adapt(std::vector<NamedTensor>& tensors, const base::Config& config);

 private:
  struct Options {
    BertOptions trunk;
    bool has_word_head = false, tie_word_embeddings = true;
    int64_t num_labels = 0;
    double classifier_dropout;

    Options(const base::Config& config, std::string_view who, std::string_view family);
  };
  // A hidden layer on the first token, then the scores.
  struct Classifier {
    Linear dense, out_proj;
    double dropout;

    void Visit(Visitor& v);
    Tensor operator()(const Tensor& tokens) const;  // [B,T,D] -> [B,V]
  };
  explicit Roberta(const Options& options);

  BertTrunk trunk_;
  Optional<MaskedWordHead> word_head_;
  Optional<Classifier> classifier_;
};

}  // namespace fovea::nn
