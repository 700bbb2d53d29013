// Reader of SentencePiece models (spiece.model, sentencepiece.bpe.model, tokenizer.model): the few fields of their
// protocol buffer that a tokenizer needs. See sentencepiece_model.proto of https://github.com/google/sentencepiece.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::text {

struct SentencePieceModel {
  enum class PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  enum class Algorithm { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };
  struct Piece {
    std::string text;
    float score = 0.0f;
    PieceType type = PieceType::kNormal;
  };
  std::vector<Piece> pieces;  // by id
  Algorithm algorithm = Algorithm::kUnigram;
  bool has_byte_fallback = false;
  int64_t unk_id = 0, bos_id = 1, eos_id = 2, pad_id = -1;
  std::string unk_piece = "<unk>";
  std::string charsmap;  // compiled normalisation rules; empty: none
  bool adds_dummy_prefix = true, removes_extra_whitespaces = true;
};

// Throws kCorruptData, kResourceExhausted naming `source`. Pieces are valid UTF-8, scores are finite.
SentencePieceModel ParseSentencePieceModel(std::string_view bytes, const std::string& source);

}  // namespace fovea::text
