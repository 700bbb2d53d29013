// The pipeline behind Tokenizer, and the two ways to fill it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/model.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/spec.h"
#include "text/tokenizer.h"

namespace fovea::text {

struct Tokenizer::Impl {
  std::string source;
  std::unique_ptr<const Normalizer> normalizer;       // null: none
  std::unique_ptr<const PreTokenizer> pre_tokenizer;  // null: none
  std::unique_ptr<const Model> model;
  std::unique_ptr<const PostProcessor> post_processor;  // null: none
  std::unique_ptr<const Decoder> decoder;
  AddedTokens added;

  enum class Strategy { kLongestFirst, kOnlyFirst, kOnlySecond };
  struct Truncation {
    int64_t max_length = 0;
    Strategy strategy = Strategy::kLongestFirst;
    bool is_left = false;
  };
  struct Padding {
    std::optional<int64_t> fixed_length;
    int64_t multiple = 0, id = 0, type_id = 0;
    bool is_left = false;
  };
  std::optional<Truncation> truncation;
  std::optional<Padding> padding;
  int64_t pad_id = 0;
  std::optional<int64_t> model_max_length;
  std::map<std::string, std::string, std::less<>> roles;  // "bos_token" -> "<s>"

  // Takes the model's lists out of `spec`.
  explicit Impl(TokenizerSpec& spec);
  Encoding EncodeParts(std::span<const std::string_view> texts, const EncodeOptions& options) const;
  // Ids of a text without special tokens around it; `control` as in AddedTokens::Extract.
  std::vector<int64_t> EncodeText(std::string_view text, std::optional<AddedTokens::Parts> control) const;
  // The token with this id as decoders take it; nullopt for an id outside the vocabulary, and for special tokens when
  // those are skipped.
  std::optional<std::string> TokenToDecode(int64_t id, bool skip_special_tokens) const;
};

// What transformers' class for a model does to a tokenizer.json, besides reading it.
struct FolderRules {
  bool drops_word_ends = false;  // CLIP: "</w>" in decoded text
  bool lowers = false;           // SigLIP 2
};
FolderRules RulesOfFolder(std::string_view model_type, const nlohmann::json& config);

// The specification that transformers would build from vocabulary files alone (vocabulary_files.cc). `config` and
// `special` are tokenizer_config.json and special_tokens_map.json, or empty objects.
TokenizerSpec SpecFromVocabularyFiles(const std::string& folder, std::string_view model_type,
                                      const nlohmann::json& config, const nlohmann::json& special);

}  // namespace fovea::text
