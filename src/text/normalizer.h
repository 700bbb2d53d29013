// Normalisers: change the text before it is split. Built from the "normalizer" of tokenizer.json.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace fovea::text {

// Text on its way through the pipeline. `origin_bytes`: how many bytes at its start came from the first character of
// the whole input. Metaspace with the scheme "first" asks for that; nothing else needs to know where a character came
// from.
struct NormalizedText {
  std::string text;
  size_t origin_bytes = 0;
  bool is_start = false;  // whether the text stands at the start of the whole input
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // `text` is valid UTF-8 and stays so. Throws kResourceExhausted when it grows beyond kMaxNormalizedBytes.
  virtual void Apply(NormalizedText& text) const = 0;
};

constexpr size_t kMaxNormalizedBytes = 64 << 20;
void CheckNormalizedSize(size_t bytes);

// Throws kCorruptData, kUnimplemented naming `source`.
std::unique_ptr<const Normalizer> MakeNormalizer(const nlohmann::json& json, const std::string& source);
// The compiled rules of SentencePiece (precompiled.cc); `charsmap` is the binary form. `takes_longest`: as
// SentencePiece itself applies them, not as the `tokenizers` package does.
std::unique_ptr<const Normalizer> MakePrecompiled(std::string charsmap, const std::string& source, bool takes_longest);
// Throws kCorruptData for text that is not base64.
std::string DecodeBase64(std::string_view text, const std::string& what);

}  // namespace fovea::text
