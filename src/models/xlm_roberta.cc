// XLM-RoBERTa: RoBERTa trained on a hundred languages, the trunk of most multilingual sentence encoders.
//
// Paper: Conneau et al. 2019, Unsupervised Cross-lingual Representation Learning at Scale, arXiv 1911.02116.
// Reference:
// https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/xlm_roberta/modeling_xlm_roberta.py
//
// The network is RoBERTa's (roberta.cc), the names of its architectures start with XLMRoberta.
#include "nn/roberta.h"

namespace fovea::models {

const Entry& xlm_roberta_entry() {
  static const Entry entry{
      .model_type = "xlm-roberta",
      .card = {.title = "XLM-RoBERTa",
               .paper = "Conneau et al. 2019, arXiv 1911.02116",
               .reference = "https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/"
                            "xlm_roberta/modeling_xlm_roberta.py",
               .tasks = "text features, masked words, text classification"},
      .create = [](const base::Config& config) { return MakeModel(nn::Roberta(config, "xlm-roberta", "XLMRoberta")); },
      .input_spec = nullptr,
      .renames = nn::Roberta::kRenames,
      .unused = nn::Roberta::kUnused,
      .adapt = nn::Roberta::Adapt,
      .amend = nn::PoolerAsInWeights};
  return entry;
}

}  // namespace fovea::models
