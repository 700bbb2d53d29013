// From texts to a model's text features: tokenizer, padding, batches.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "nn/entry.h"
#include "text/tokenizer.h"

namespace fovea::runtime {

// The texts of one model. The tokenizer is read when the first text comes: most runs never see one. Thread-safe.
class TextEncoder {
 public:
  // `folder`: of the model; `model_type`: for folders that hold only vocabulary files.
  TextEncoder(std::string folder, std::string model_type);

  // Throws what Tokenizer::FromFolder throws.
  const text::Tokenizer& tokenizer() const;

  // Token ids as `network` wants them: cut to its longest text, padded to one length. At least one text.
  models::TextInputs Prepare(const models::Model& network, std::span<const std::string> texts) const;

  // One vector a text, [N,D], not normalised: the features of the network, or the mean of its tokens where it defines
  // none.
  Tensor Features(const models::Model& network, std::span<const std::string> texts) const;

 private:
  std::string folder_, model_type_;
  mutable std::once_flag once_;
  mutable std::shared_ptr<const text::Tokenizer> tokenizer_;
};

}  // namespace fovea::runtime
