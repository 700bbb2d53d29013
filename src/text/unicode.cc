#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

namespace fovea::text {
namespace {

// Length of the valid character at the start of `bytes`, or 0; `bad` is then the length of the maximal invalid part.
size_t ValidLength(std::string_view bytes, size_t& bad) {
  const auto at = [&](size_t i) { return i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : uint8_t{0}; };
  const uint8_t lead = at(0);
  bad = 1;
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  uint8_t low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (at(1) < low || at(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    bad = i;
    if (at(i) < 0x80 || at(i) > 0xBF) return 0;
  }
  return length;
}

const tables::Mapping* Find(std::span<const tables::Mapping> mappings, char32_t c) {
  const auto found =
      std::partition_point(mappings.begin(), mappings.end(), [&](const tables::Mapping& m) { return m.last < c; });
  return found != mappings.end() && found->first <= c ? &*found : nullptr;
}

int CombiningClass(char32_t c) { return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class; }

// A character that utf8proc's graphemes treat as the reference's treat `c`.
utf8proc_int32_t ForGraphemes(char32_t c) {
  if (c < 0x800) return static_cast<utf8proc_int32_t>(c);
  if (Contains(tables::kJoinsPrevious, c)) return 0x301;
  if (c == 0x113D1) return 0x600;  // goes before the next character since Unicode 16
  if (c == 0x11A3A) return 'a';    // no longer does
  return static_cast<utf8proc_int32_t>(c);
}

// Decomposes, orders and composes text without opaque characters, and appends the result.
void NormalizePart(const std::vector<utf8proc_int32_t>& part, NormalForm form, std::string& out) {
  const bool is_compat = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (is_compat ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> points;
  points.reserve(part.size() + part.size() / 2);
  for (const utf8proc_int32_t c : part) {
    utf8proc_int32_t buffer[32];  // the longest decomposition has 18
    const utf8proc_ssize_t count = utf8proc_decompose_char(c, buffer, 32, options, nullptr);
    points.insert(points.end(), buffer, buffer + std::clamp<utf8proc_ssize_t>(count, 0, 32));
  }
  // Marks in the order of their classes. utf8proc would exchange neighbours, which takes for ever on a long run of
  // marks.
  for (size_t i = 0; i < points.size();) {
    size_t end = i;
    bool is_sorted = true;
    int last = 0;
    for (int ccc; end < points.size() && (ccc = CombiningClass(points[end])) != 0; ++end) {
      is_sorted &= ccc >= last;
      last = ccc;
    }
    if (!is_sorted)
      std::stable_sort(points.begin() + i, points.begin() + end,
                       [](auto a, auto b) { return CombiningClass(a) < CombiningClass(b); });
    i = end + 1;
  }
  if (form == NormalForm::kNfc || form == NormalForm::kNfkc) {
    const auto composed = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const utf8proc_ssize_t count =
        utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()), composed);
    points.resize(static_cast<size_t>(std::max<utf8proc_ssize_t>(count, 0)));
  }
  for (const utf8proc_int32_t c : points) AppendUtf8(out, static_cast<char32_t>(c));
}

}  // namespace

bool Contains(std::span<const tables::Range> ranges, char32_t c) {
  const auto found =
      std::partition_point(ranges.begin(), ranges.end(), [&](const tables::Range& range) { return range.last < c; });
  return found != ranges.end() && found->first <= c;
}

bool IsValidUtf8(std::string_view bytes) {
  for (size_t i = 0, bad; i < bytes.size();) {
    const size_t length = ValidLength(bytes.substr(i), bad);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t i = 0, bad; i < bytes.size();) {
    const size_t length = ValidLength(bytes.substr(i), bad);
    if (length > 0) {
      text.append(bytes.substr(i, length));
      i += length;
    } else {
      text.append("\xEF\xBF\xBD");
      i += bad;
    }
  }
  return text;
}

char32_t PreviousCodePoint(std::string_view text, size_t& at) {
  do {
    --at;
  } while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  size_t next = at;
  return NextCodePoint(text, next);
}

void AppendUtf8(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xC0 | c >> 6);
    text += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    text += static_cast<char>(0xE0 | c >> 12);
    text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    text += static_cast<char>(0xF0 | c >> 18);
    text += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (c & 0x3F));
  }
}

int64_t CountCodePoints(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

bool IsWhitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x9 && c <= 0xD);
  return Contains(tables::kWhitespace, c);
}
bool IsOther(char32_t c) {
  if (c < 0x80) return c < 0x20 || c == 0x7F;
  return c != 0xFFFD && Contains(tables::kOther, c);
}
bool IsPunctuation(char32_t c) {
  if (c < 0x80)
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  return Contains(tables::kPunctuation, c);
}
bool IsNonspacingMark(char32_t c) { return c >= 0x300 && Contains(tables::kNonspacingMark, c); }
bool IsCombiningMark(char32_t c) { return c >= 0x300 && Contains(tables::kCombiningMark, c); }
bool IsNumeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return Contains(tables::kNumeric, c);
}
bool IsWordCharacter(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  return Contains(tables::kWord, c);
}

bool IsCased(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT ||
         c == 0xAA || c == 0xBA || (c >= 0x2160 && c <= 0x217F) || (c >= 0x24B6 && c <= 0x24E9);
}
bool IsCaseIgnorable(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: break;
  }
  constexpr char32_t kWithinWords[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                       0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  return std::find(std::begin(kWithinWords), std::end(kWithinWords), c) != std::end(kWithinWords);
}

void AppendLower(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (c == 0x130) {  // the one letter whose lower case has two characters
    text += "i\xCC\x87";
  } else if (const tables::Mapping* mapping = Find(tables::kLower, c)) {
    AppendUtf8(text, mapping->to);
  } else {
    AppendUtf8(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

void AppendUpper(std::string& text, char32_t c) {
  if (c == 0xDF) {  // the one common letter whose upper case has two characters
    text += "SS";
  } else {
    AppendUtf8(text, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
  }
}

std::string Normalize(std::string_view text, NormalForm form) {
  // Text below the first character that a form changes: U+0300 for NFC, Latin-1 for the others.
  const uint8_t first_lead = form == NormalForm::kNfc ? 0xCC : 0xC2;
  if (std::none_of(text.begin(), text.end(), [&](char c) { return static_cast<uint8_t>(c) >= first_lead; }))
    return std::string(text);
  const bool is_compat = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const auto opaque = is_compat ? tables::kOpaqueCompat : tables::kOpaqueCanonical;
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  std::vector<utf8proc_int32_t> part;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCodePoint(text, i);
    if (c >= 0x7FD && Contains(opaque, c)) {  // nothing combines over a character that the reference does not know
      NormalizePart(part, form, out);
      part.clear();
      AppendUtf8(out, c);
    } else {
      part.push_back(static_cast<utf8proc_int32_t>(c));
    }
  }
  NormalizePart(part, form, out);
  return out;
}

size_t GraphemeEnd(std::string_view text, size_t begin) {
  size_t at = begin;
  utf8proc_int32_t state = 0;
  utf8proc_int32_t last = ForGraphemes(NextCodePoint(text, at));
  while (at < text.size()) {
    size_t next = at;
    const utf8proc_int32_t c = ForGraphemes(NextCodePoint(text, next));
    if (utf8proc_grapheme_break_stateful(last, c, &state)) break;
    last = c;
    at = next;
  }
  return at;
}

}  // namespace fovea::text
