// The tokenizer in the metadata of a GGUF file: a plain struct that the reader of the file fills, and the tokenizer
// that it stands for. Keys and defaults are those of llama.cpp (src/llama-vocab.cpp of
// https://github.com/ggml-org/llama.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "text/spec.h"

namespace fovea::text {

// Fields are named after the keys tokenizer.ggml.*; lists have one entry a token, in order of ids.
struct GgufVocabulary {
  enum Type : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

  std::string model;                 // "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), "gemma4", "t5" (Unigram)
  std::string pre;                   // how gpt2 cuts words: "llama-bpe", "qwen2", "smollm", ...
  std::vector<std::string> tokens;   // bytes as in the file
  std::vector<float> scores;         // of llama and t5
  std::vector<int32_t> token_type;   // empty: all normal
  std::vector<std::string> merges;   // of gpt2 and gemma4: "left right"
  std::string precompiled_charsmap;  // of t5
  std::optional<int64_t> bos_id, eos_id, unk_id, pad_id;  // bos_token_id, ..., padding_token_id
  // Absent: llama.cpp's default for the model.
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
};

// The same as a tokenizer.json says it. Throws kCorruptData (lists of different lengths, ids outside the list, text
// that is not UTF-8), kUnimplemented naming the model or pre that is not supported.
TokenizerSpec SpecFromGguf(const GgufVocabulary& vocabulary, const std::string& source);

}  // namespace fovea::text
