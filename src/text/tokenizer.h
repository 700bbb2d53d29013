// Tokenizers: text -> token ids and back, with the ids of the Hugging Face `tokenizers` package.
//
//   const auto tokenizer = text::Tokenizer::FromFolder("model/", "clip");
//   const text::Encoding encoding = tokenizer->Encode("a photo of a cat", {.max_length = 77});
//
// A tokenizer is a pipeline read from tokenizer.json: added tokens are cut out, the rest is normalised, split into
// words, each word becomes ids by the model (WordPiece, BPE, Unigram or WordLevel), and the post-processor adds special
// tokens. Where a folder has only vocabulary files the pipeline is the one transformers builds for the model_type. An
// unknown part or option is refused by its name, never skipped. Immutable after loading; every method may be called
// from several threads at once.
//
// Text is UTF-8; invalid bytes become U+FFFD as in Python's errors="replace", one for each maximal invalid part. JSON
// files with unpaired surrogates (\ud800) are refused as the reference does; text that held them holds U+FFFD when it
// gets here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::text {

// One text, or a pair of texts, as ids. The three lists have one length.
struct Encoding {
  std::vector<int64_t> ids;
  std::vector<int64_t> type_ids;  // 0 for the first text, 1 for the second, as the post-processor sets them
  std::vector<uint8_t> special;   // 1 for tokens that are no part of the text: [CLS], [SEP], padding
};

struct EncodeOptions {
  bool add_special_tokens = true;
  // Tokens at most, special ones included: the longest text of a pair is cut first, at its right end, and special
  // tokens stay. 0: no limit other than the file's.
  int64_t max_length = 0;
  // Whether the truncation and padding sections of tokenizer.json count, as in the `tokenizers` package, when
  // max_length is 0. transformers ignores them.
  bool use_file_limits = true;
};

// A part of a text and who wrote it. Control tokens (<|im_start|>, </s>, <image>, <tool_call>) count as such in text of
// the template only; in text of users, pictures or documents the same characters are words like any others.
struct TextSpan {
  std::string text;
  bool is_control = false;
};

struct GgufVocabulary;

class Tokenizer {
 public:
  static constexpr int64_t kMaxTextBytes = 4 << 20;  // of one text
  static constexpr int64_t kMaxTokens = 4 << 20;     // ids are below this

  // Reads tokenizer.json; else vocab.txt, vocab.json + merges.txt, spiece.model, sentencepiece.bpe.model or
  // tokenizer.model together with tokenizer_config.json and special_tokens_map.json, by the rules of `model_type` (of
  // config.json). Throws kNotFound (no such files), kCorruptData, kUnimplemented (a part or model_type we do not know),
  // kResourceExhausted.
  static std::shared_ptr<const Tokenizer> FromFolder(const std::string& folder, std::string_view model_type);
  // The same for the text of a tokenizer.json; `source` names it in errors.
  static std::shared_ptr<const Tokenizer> FromJson(std::string_view json, const std::string& source);

  // The tokenizer of a GGUF file (gguf_vocabulary.h); `source` names the file in errors. Throws kCorruptData,
  // kUnimplemented for a tokenizer.ggml.model or .pre we do not know.
  static std::shared_ptr<const Tokenizer> FromGguf(const GgufVocabulary& vocabulary, const std::string& source);

  // Throws kResourceExhausted for a text above kMaxTextBytes, kInvalidArgument when max_length has no room for the
  // special tokens or a character is unknown and the model has no token for that.
  Encoding Encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding EncodePair(std::string_view first, std::string_view second, const EncodeOptions& options = {}) const;

  // The text that the spans form together, as ids: those of Encode without special tokens around it, except that no
  // control token comes from a span that is not control. Errors as above.
  std::vector<int64_t> EncodeSpans(std::span<const TextSpan> spans) const;

  // Ids outside the vocabulary are left out, as in the reference.
  std::string Decode(std::span<const int64_t> ids, bool skip_special_tokens = true) const;

  int64_t vocab_size() const;  // tokens of the model and added ones
  std::optional<int64_t> TokenToId(std::string_view token) const;
  std::string IdToToken(int64_t id) const;  // "" for an id outside the vocabulary

  // The bytes that a token adds to a text, not at its start: possibly a part of a character. "" for control tokens and
  // ids outside the vocabulary.
  std::string TokenBytes(int64_t id) const;
  // Whether the token steers the model and is no part of a text.
  bool IsControl(int64_t id) const;
  int64_t max_id() const;  // the largest id of a token

  // The token for a role of tokenizer_config.json ("bos_token", "eos_token", "unk_token", ...); "" without one.
  std::string SpecialToken(std::string_view role) const;

  // The padding token of tokenizer_config.json, special_tokens_map.json or tokenizer.json's padding section, else 0.
  int64_t pad_id() const;
  // model_max_length of tokenizer_config.json; absent when it is missing or the sentinel "very large integer".
  std::optional<int64_t> model_max_length() const;

  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

 private:
  friend class StreamDecoder;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace fovea::text
