// Pre-tokenisers: cut normalised text into the words that the model sees. Built from the "pre_tokenizer" of
// tokenizer.json.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::text {

// Pieces of one text in order. A piece with a token is an added token, which nothing changes any more.
struct Pieces {
  struct Piece {
    uint32_t begin, end;    // in `text`
    uint32_t origin_bytes;  // see NormalizedText
    int32_t token = -1;
  };
  std::string text;
  std::vector<Piece> list;

  std::string_view TextOf(const Piece& piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
  void Append(std::string_view piece, size_t origin_bytes, int32_t token);
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void Apply(Pieces& pieces) const = 0;
};

// Throws kCorruptData, kUnimplemented naming `source`.
std::unique_ptr<const PreTokenizer> MakePreTokenizer(const nlohmann::json& json, const std::string& source);

}  // namespace fovea::text
