// The models: a word (a piece of normalised, pre-tokenised text) becomes ids.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/spec.h"

namespace fovea::text {

// A set of ids.
class TokenSet {
 public:
  void Add(int64_t id) {
    if (static_cast<size_t>(id) >= has_.size()) has_.resize(static_cast<size_t>(id) + 1);
    has_[static_cast<size_t>(id)] = true;
  }
  bool Has(int64_t id) const {
    return id >= 0 && static_cast<size_t>(id) < has_.size() && has_[static_cast<size_t>(id)];
  }

 private:
  std::vector<bool> has_;
};

class Model {
 public:
  virtual ~Model() = default;
  // Appends the ids of `word`, which is valid UTF-8; those in `banned` (null: none) are not used. Throws
  // kInvalidArgument when a part is unknown and there is no unknown token.
  virtual void Tokenize(std::string_view word, const TokenSet* banned, std::vector<int64_t>& ids) const = 0;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Tokens of the model as the reference counts them; the next added token gets this id.
  int64_t vocab_size() const { return vocab_size_; }

 protected:
  explicit Model(TokenizerSpec& spec);
  [[noreturn]] void FailUnknown(std::string_view token) const;

  std::string source_;
  Vocabulary vocabulary_;
  int64_t vocab_size_;
};

// These take the vocabulary out of `spec`. Throw kCorruptData, kUnimplemented.
std::unique_ptr<const Model> MakeModel(TokenizerSpec& spec);
std::unique_ptr<const Model> MakeWordPiece(TokenizerSpec& spec, const Fields& fields);
std::unique_ptr<const Model> MakeWordLevel(TokenizerSpec& spec, const Fields& fields);
std::unique_ptr<const Model> MakeBpe(TokenizerSpec& spec, const Fields& fields);
std::unique_ptr<const Model> MakeUnigram(TokenizerSpec& spec, const Fields& fields);

}  // namespace fovea::text
