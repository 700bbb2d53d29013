// From texts to a model's text features: tokenizer, padding, batches, and what a sentence encoder makes of its tokens.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "nn/entry.h"
#include "runtime/sentence_pooling.h"
#include "text/tokenizer.h"

namespace fovea::runtime {

// The texts of one model. The tokenizer is read when the first text comes: most runs never see one. Thread-safe.
class TextEncoder {
 public:
  // `folder`: of the model; `model_type`: for folders that hold only vocabulary files. Throws what
  // SentencePooling::FromFolder throws.
  TextEncoder(std::string folder, std::string model_type);

  // Throws what Tokenizer::FromFolder throws.
  const text::Tokenizer& tokenizer() const { return *shared_tokenizer(); }
  const std::shared_ptr<const text::Tokenizer>& shared_tokenizer() const;

  // Token ids as `network` wants them: cut to its longest text, padded to one length. At least one text.
  models::TextInputs Prepare(const models::Model& network, std::span<const std::string> texts) const;

  // One vector a text, [N,E]: what the folder of a sentence encoder asks for, else the features of the network, else
  // the mean of its tokens. Not normalised, unless the folder asks for that.
  Tensor Features(const models::Model& network, std::span<const std::string> texts) const;

  // The most tokens a text may have, 0 for no limit: what the network takes and what the folder of a sentence encoder
  // asks for. The tokenizer, which is not read here, may set a lower limit for folders that ask for none.
  int64_t MaxTokens(const models::Model& network) const;

  // E of Features.
  int64_t FeatureSize(const models::Model& network) const { return pooling_.OutputSize(network.FeatureSize()); }

 private:
  std::string folder_, model_type_;
  SentencePooling pooling_;
  mutable std::once_flag once_;
  mutable std::shared_ptr<const text::Tokenizer> tokenizer_;
};

}  // namespace fovea::runtime
