// RoBERTa: BERT's network with positions that skip padding; with a pooler, a masked-word head or a classifier on top.
//
// Paper: Liu et al. 2019, RoBERTa: A Robustly Optimized BERT Pretraining Approach, arXiv 1907.11692.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/roberta/modeling_roberta.py
//
// architectures[0] of config.json says which network it is: RobertaModel (the default), RobertaForMaskedLM or
// RobertaForSequenceClassification. A checkpoint of a RobertaModel may lack the pooler.
// XLM-RoBERTa (xlm_roberta.cc) is this network under another name.
#include "nn/roberta.h"

namespace fovea::models {

const Entry& roberta_entry() {
  static const Entry entry{
      .model_type = "roberta",
      .card = {.title = "RoBERTa",
               .paper = "Liu et al. 2019, arXiv 1907.11692",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/roberta/"
                            "modeling_roberta.py",
               .tasks = "text features, masked words, text classification"},
      .create = [](const base::Config& config) { return MakeModel(nn::Roberta(config, "roberta", "Roberta")); },
      .input_spec = nullptr,
      .renames = nn::Roberta::kRenames,
      .unused = nn::Roberta::kUnused,
      .adapt = nn::Roberta::Adapt,
      .amend = nn::PoolerAsInWeights};
  return entry;
}

}  // namespace fovea::models
