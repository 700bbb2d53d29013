// UTF-8 and classes of characters, as the reference tokenizer knows them. The classes and the exceptions of
// normalisation are measured tables (unicode_tables.cc, written by tools/dump_unicode_tables.py); decomposition,
// composition, lower case and graphemes come from utf8proc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace fovea::text {

namespace tables {
struct Range {
  char32_t first, last;
};
struct Mapping {
  char32_t first, last, to;
};
extern const std::span<const Range> kWhitespace, kOther, kPunctuation, kNonspacingMark, kCombiningMark, kNumeric, kWord,
    kJoinsPrevious, kOpaqueCanonical, kOpaqueCompat;
extern const std::span<const Mapping> kLower, kStandIn;
}  // namespace tables

bool Contains(std::span<const tables::Range> ranges, char32_t c);

// Valid UTF-8: each maximal invalid part becomes U+FFFD, as in Python's errors="replace".
std::string ReplaceInvalidUtf8(std::string_view bytes);
bool IsValidUtf8(std::string_view bytes);

// Bytes of the character that starts with `lead`, in valid UTF-8.
inline size_t Utf8Length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}
// The character at `at` of valid UTF-8; moves `at` behind it.
inline char32_t NextCodePoint(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<uint8_t>(text[at + i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return ++at, lead;
  char32_t c;
  if (lead < 0xE0) {
    c = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    at += 2;
  } else if (lead < 0xF0) {
    c = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    at += 3;
  } else {
    c = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    at += 4;
  }
  return c;
}
// The character before `at` (> 0) of valid UTF-8; moves `at` before it.
char32_t PreviousCodePoint(std::string_view text, size_t& at);
void AppendUtf8(std::string& text, char32_t c);
int64_t CountCodePoints(std::string_view text);

bool IsWhitespace(char32_t c);      // Unicode White_Space
bool IsOther(char32_t c);           // control, format and private use
bool IsPunctuation(char32_t c);     // ASCII punctuation and general category P
bool IsNonspacingMark(char32_t c);  // category Mn
bool IsCombiningMark(char32_t c);   // category M
bool IsNumeric(char32_t c);         // category N
bool IsWordCharacter(char32_t c);   // \w of Rust's regex
bool IsCased(char32_t c);           // a letter that has an upper, lower or title form, or is one
bool IsCaseIgnorable(char32_t c);   // marks, format characters, modifiers, and some punctuation such as ' and .
void AppendLower(std::string& text, char32_t c);
void AppendUpper(std::string& text, char32_t c);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
std::string Normalize(std::string_view text, NormalForm form);

// End of the extended grapheme cluster that starts at `begin`.
size_t GraphemeEnd(std::string_view text, size_t begin);

}  // namespace fovea::text
