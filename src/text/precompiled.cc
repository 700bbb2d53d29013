// SentencePiece's compiled normalisation rules ("precompiled_charsmap"): a double-array trie (darts-clone) from byte
// strings to places in a block of zero-ended replacements. The reference looks up a whole grapheme of less than six
// bytes first and takes the shortest rule that starts it; other graphemes go character by character. So do we.
#include <cstring>
#include <vector>

#include "base/error.h"
#include "text/normalizer.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

class Precompiled : public Normalizer {
 public:
  Precompiled(std::string charsmap, const std::string& source, bool takes_longest) : takes_longest_(takes_longest) {
    const auto read = [&](size_t at) {
      uint32_t value;
      std::memcpy(&value, charsmap.data() + at, 4);
      return value;
    };
    if (charsmap.empty()) return;  // no rules
    RequireData(charsmap.size() >= 4, "[tokenizer] ", source, ": the precompiled charsmap has ", charsmap.size(),
                " bytes");
    const uint32_t trie_bytes = read(0);
    RequireData(trie_bytes % 4 == 0 && trie_bytes <= charsmap.size() - 4, "[tokenizer] ", source,
                ": the trie of the precompiled charsmap has ", trie_bytes, " bytes, the file only ",
                charsmap.size() - 4);
    trie_.resize(trie_bytes / 4);
    for (size_t i = 0; i < trie_.size(); ++i) trie_[i] = read(4 + 4 * i);
    replacements_ = charsmap.substr(4 + trie_bytes);
    RequireData(IsValidUtf8(replacements_), "[tokenizer] ", source, ": the precompiled charsmap is not UTF-8");
    // A rule may end inside a character in a broken file; Find checks that.
  }

  void Apply(NormalizedText& text) const override {
    if (takes_longest_) return ApplyLongest(text);
    std::string out;
    out.reserve(text.text.size() + 16);
    size_t origin = text.origin_bytes == 0 ? 0 : std::string::npos;
    for (size_t begin = 0; begin < text.text.size();) {
      if (origin == std::string::npos && begin >= text.origin_bytes) origin = out.size();
      const size_t end = GraphemeEnd(text.text, begin);
      const std::string_view grapheme = std::string_view(text.text).substr(begin, end - begin);
      std::string_view replacement;
      if (grapheme.size() < 6 && Find(grapheme, replacement)) {
        out.append(replacement);
      } else {
        for (size_t at = 0, length; at < grapheme.size(); at += length) {
          length = Utf8Length(grapheme[at]);
          const std::string_view character = grapheme.substr(at, length);
          out.append(Find(character, replacement) ? replacement : character);
          if (at == 0 && origin == std::string::npos && begin + length >= text.origin_bytes) origin = out.size();
        }
      }
      CheckNormalizedSize(out.size());
      begin = end;
    }
    text.text = std::move(out);
    text.origin_bytes = std::min(origin, text.text.size());
  }

 private:
  static size_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

  // As SentencePiece itself does it: the longest rule at each place.
  void ApplyLongest(NormalizedText& text) const {
    std::string out;
    for (size_t at = 0; at < text.text.size();) {
      std::string_view replacement;
      size_t length = Find(std::string_view(text.text).substr(at), replacement);
      if (length == 0) {
        length = Utf8Length(text.text[at]);
        replacement = std::string_view(text.text).substr(at, length);
      }
      // A broken rule may end inside a character.
      while (at + length < text.text.size() && (static_cast<uint8_t>(text.text[at + length]) & 0xC0) == 0x80) ++length;
      out.append(replacement);
      CheckNormalizedSize(out.size());
      at += length;
    }
    text.text = std::move(out);
    text.origin_bytes = 0;  // no pipeline with this form asks
  }

  // The replacement of the shortest rule that starts `text`, or of the longest; returns the rule's bytes, 0 without
  // one.
  size_t Find(std::string_view text, std::string_view& replacement) const {
    if (trie_.empty()) return 0;
    size_t found = 0, done = 0;
    size_t node = Offset(trie_[0]);
    for (const char c : text) {
      const auto byte = static_cast<uint8_t>(c);
      ++done;
      if (byte == 0) break;
      node ^= byte;
      if (node >= trie_.size()) break;
      const uint32_t unit = trie_[node];
      if ((unit & (1u << 31 | 0xFF)) != byte) break;
      node ^= Offset(unit);
      if ((unit >> 8 & 1) == 0) continue;
      if (node >= trie_.size()) break;
      replacement = ReplacementAt(trie_[node] & ~(1u << 31));
      found = done;
      if (!takes_longest_) break;
    }
    return found;
  }

  std::string_view ReplacementAt(size_t begin) const {
    if (begin >= replacements_.size()) return {};
    RequireData((static_cast<uint8_t>(replacements_[begin]) & 0xC0) != 0x80,
                "[tokenizer] a rule of the precompiled charsmap starts inside a character");
    const size_t end = std::min(replacements_.find('\0', begin), replacements_.size());
    return std::string_view(replacements_).substr(begin, end - begin);
  }

  std::vector<uint32_t> trie_;
  std::string replacements_;
  bool takes_longest_;
};

}  // namespace

std::unique_ptr<const Normalizer> MakePrecompiled(std::string charsmap, const std::string& source, bool takes_longest) {
  return std::make_unique<Precompiled>(std::move(charsmap), source, takes_longest);
}

std::string DecodeBase64(std::string_view text, const std::string& what) {
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    uint32_t value;
    if (c >= 'A' && c <= 'Z')
      value = c - 'A';
    else if (c >= 'a' && c <= 'z')
      value = c - 'a' + 26;
    else if (c >= '0' && c <= '9')
      value = c - '0' + 52;
    else if (c == '+')
      value = 62;
    else if (c == '/')
      value = 63;
    else
      Fail(ErrorCode::kCorruptData, "[tokenizer] ", what, ": the precompiled charsmap is not base64");
    bits = bits << 6 | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return bytes;
}

}  // namespace fovea::text
