// The trunk of BERT (Devlin et al. 2018, arXiv 1810.04805) for the models that are built around it: BERT, RoBERTa and
// XLM-RoBERTa, the text towers of ALIGN and Chinese-CLIP, VisualBERT.
//
// BertOptions reads the keys of config.json that all of them share and refuses what is not implemented; BertTrunk is
// embeddings, encoder and pooler under the names of the reference ("embeddings.word_embeddings", "encoder.layer.0.
// attention.self.query", "pooler.dense"), without a prefix: the owner visits it as v("bert", trunk). Heads belong to
// the model files, except the one for masked words, which the whole family has.
//
// Legend: B texts, T tokens, D model, V vocabulary.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "nn/embedding.h"
#include "nn/entry.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/transformer.h"

namespace fovea::nn {

// Fields are the keys of config.json, defaults those of transformers' BertConfig.
struct BertOptions {
  int64_t vocab_size = 30522, hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12;
  int64_t intermediate_size = 3072, max_position_embeddings = 512, type_vocab_size = 2;
  int64_t pad_token_id = 0;  // its vector is not trained; -1: there is none
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, layer_norm_eps = 1e-12;
  Act hidden_act = Act::kGelu;
  // Not in the configuration of the reference, where the caller decides; PoolerAsInWeights sets it here.
  bool add_pooling_layer = true;

  // Set by the model file.
  bool skips_padding_positions = false;  // RoBERTa: positions count from pad_token_id + 1, pad tokens have none
  std::string stage_prefix;              // before the names of stages, e.g. "text." beside an image tower

  // `who` names the model in errors. `pad` is pad_token_id where the configuration says nothing. Throws
  // kInvalidArgument for values out of range and kUnimplemented for decoders, cross-attention, pruned heads and
  // position_embedding_type other than "absolute".
  BertOptions(const base::Config& config, std::string_view who, int64_t pad = 0);

  // The number of tokens that have positions.
  int64_t MaxTokens() const { return max_position_embeddings - (skips_padding_positions ? pad_token_id + 1 : 0); }
};

// Sum of word, segment and position vectors, then LayerNorm.
class BertEmbeddings {
 public:
  explicit BertEmbeddings(const BertOptions& options);

  // Before the norm, for models that append more rows first: -> [B,T,D]. Throws kInvalidArgument when ids are not
  // i64 [B,T] with 1 <= T <= MaxTokens(), when mask or type_ids have another shape, or for an id out of range.
  Tensor Sum(const models::TextInputs& inputs) const;
  Tensor Finish(const Tensor& sum) const;  // norm and dropout: [B,T,D] -> [B,T,D]
  Tensor operator()(const models::TextInputs& inputs) const { return Finish(Sum(inputs)); }  // -> [B,T,D]
  void Visit(Visitor& v);

  Embedding word_embeddings, position_embeddings, token_type_embeddings;
  LayerNorm norm;

 private:
  Tensor Positions(const Tensor& ids) const;

  BertOptions options_;
};

class BertTrunk {
 public:
  explicit BertTrunk(const BertOptions& options);

  // features: the pooler's output [B,D], undefined without one; tokens: the last hidden states [B,T,D].
  // Stages: "embeddings", "layers.<i>", "pooled", each after options.stage_prefix.
  models::TextOutputs operator()(const models::TextInputs& inputs) const;
  // The encoder alone: h [B,T,D] -> [B,T,D]; key_mask bool [B,T] or undefined.
  Tensor Encode(Tensor h, const Tensor& key_mask) const;
  // tanh(dense(first token)): tokens [B,T,D] -> [B,D]. Throws kUnimplemented without a pooler.
  Tensor Pool(const Tensor& tokens) const;
  void Visit(Visitor& v);

  const BertOptions& options() const { return options_; }

  BertEmbeddings embeddings;
  List<EncoderBlock> layers;
  Optional<Linear> pooler;

 private:
  BertOptions options_;
};

// Scores of all words at each place: decoder(norm(act(dense(tokens)))), where the weight of the decoder is the table of
// word vectors unless the configuration unties them. The owner visits the parts under the names of its family.
class MaskedWordHead {
 public:
  struct Options {
    int64_t dim, vocab;
    Act act;
    double eps;
    bool is_tied;
  };
  explicit MaskedWordHead(const Options& options);

  // tokens [B,T,D], words [V,D] -> [B,T,V].
  Tensor operator()(const Tensor& tokens, const Tensor& words) const;

  Linear dense;
  LayerNorm norm;
  Parameter bias;            // [V]
  Optional<Linear> decoder;  // [V,D] without bias; only when untied

 private:
  Act act_;
};

// Makes one of the copies under which checkpoints carry the parts of a masked-word head. `decoder` is the name of the
// decoder ("cls.predictions.decoder"), `bias` of the bias beside it, `words` of the table of word vectors. A bias of
// the decoder replaces `bias`, being the one that the reference adds; with `is_tied` the decoder's weight goes, or
// becomes the table when the checkpoint lacks that.
struct MaskedWordNames {
  std::string_view decoder, bias, words;
};
void AdaptMaskedWordHead(std::vector<NamedTensor>& tensors, const MaskedWordNames& names, bool is_tied);

// Entry::amend of models whose checkpoints may lack the pooler: add_pooling_layer as the weights show it.
base::Config PoolerAsInWeights(const base::Config& config, std::span<const NamedTensor> tensors);

// Looks up `ids` i64 [...] -> [...,D]; the row `padding` of the table gets no gradient (-1: every row does).
Tensor LookUp(const Embedding& table, const Tensor& ids, int64_t padding);

// architectures[0], or `fallback` when the configuration names none.
std::string ArchitectureOf(const base::Config& config, std::string_view fallback);

// pad_token_id: -1 when it is null, `fallback` when it is absent.
int64_t PadTokenId(const base::Config& config, int64_t fallback);

// The number of classes of a classifier: that of id2label, else num_labels, else 2.
int64_t NumLabels(const base::Config& config);

}  // namespace fovea::nn
