// From the hidden states of a text's tokens to one vector, by the rules that sentence-transformers stores beside a
// checkpoint:
//
//   modules.json                 the list of steps: Transformer, Pooling, then any of Dense and Normalize
//   1_Pooling/config.json        cls, mean, max, mean_sqrt_len_tokens, weightedmean, lasttoken; several are joined
//   2_Dense/                     a linear layer with an activation
//   sentence_bert_config.json    max_seq_length, do_lower_case
//   config_sentence_transformers.json   default_prompt_name, prompts
//
// A folder without modules.json gets the vector that its architecture defines (TextOutputs::features), else the mean of
// its tokens. Any other step, and every option that would change the numbers and is not implemented, is refused by
// name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/entry.h"
#include "nn/linear.h"

namespace fovea::runtime {

class SentencePooling {
 public:
  // The rule of folders without modules.json.
  SentencePooling() = default;
  // Reads `folder`. Throws kCorruptData (no JSON), kInvalidArgument (values of the wrong type, sizes that do not fit)
  // and kUnimplemented, naming the file.
  static SentencePooling FromFolder(const std::string& folder);

  // tokens [B,T,D] and mask bool [B,T] (undefined: all exist) -> [B,E], before L2 normalisation unless the folder asks
  // for that. Recorded when a tape is active. Throws kInvalidArgument when shapes do not fit each other or the folder.
  Tensor PoolSentences(const models::TextOutputs& outputs, const Tensor& mask) const;

  // E, when the network gives tokens or features of size `dim`.
  int64_t OutputSize(int64_t dim) const;

  // How texts are to be prepared.
  int64_t max_tokens() const { return max_tokens_; }     // 0: as many as the network and its tokenizer take
  bool lowercases() const { return lowercases_; }        // before the tokenizer, whatever that does itself
  const std::string& prompt() const { return prompt_; }  // goes before each text; mostly ""

 private:
  enum class Mode : uint8_t { kCls, kMax, kMean, kMeanSqrtLen, kWeightedMean, kLastToken };
  // act(linear(x)), plus x itself with a residual; or a normalisation.
  struct Step {
    std::vector<nn::Linear> dense;  // one, or none: normalise
    Act act = Act::kIdentity;
    bool has_residual = false;
  };

  void ReadPooling(const std::string& folder);
  void ReadDense(const std::string& folder);
  void ReadTransformer(const std::string& folder);
  void ReadPrompt(const std::string& folder);
  static Mode ModeFromName(const std::string& name, const std::string& source);
  static Tensor Pool(Mode mode, const Tensor& tokens, const Tensor& mask);

  std::vector<Mode> modes_;  // empty: features, else the mean
  std::vector<Step> steps_;
  int64_t token_size_ = 0;  // D as the folder states it, 0: it does not
  int64_t max_tokens_ = 0;
  bool lowercases_ = false, includes_prompt_ = true;
  std::string prompt_;
};

}  // namespace fovea::runtime
