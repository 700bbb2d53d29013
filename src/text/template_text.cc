#include "text/template_text.h"

#include <algorithm>

#include "text/unicode.h"

namespace fovea::text {
namespace {

bool IsLetter(char32_t c) { return IsWordCharacter(c) && !IsNumeric(c) && c != '_'; }

// Python's white space: Unicode's, and the separators of ASCII.
bool IsPythonSpace(char32_t c) { return IsWhitespace(c) || (c >= 0x1C && c <= 0x1F); }

bool IsOneOf(std::string_view characters, char32_t c) {
  for (size_t at = 0; at < characters.size();) {
    if (NextCodePoint(characters, at) == c) return true;
  }
  return false;
}

}  // namespace

MarkedText Strip(const MarkedText& text, std::optional<std::string_view> characters, bool at_left, bool at_right) {
  const auto goes = [&](char32_t c) { return characters.has_value() ? IsOneOf(*characters, c) : IsPythonSpace(c); };
  size_t begin = 0, end = text.size();
  for (size_t next = 0; at_left && begin < end && goes(NextCodePoint(text.text(), next));) begin = next;
  for (size_t next = end; at_right && end > begin && goes(PreviousCodePoint(text.text(), next));) end = next;
  return text.Slice(begin, end);
}

MarkedText MapCharacters(const MarkedText& text, const std::function<void(char32_t, bool, std::string&)>& write) {
  MarkedText out;
  bool is_within = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = NextCodePoint(text.text(), at);
    std::string piece;
    write(c, !is_within, piece);
    out.Append(piece, text.IsForeign(begin));
    is_within = IsLetter(c);
  }
  return out;
}

MarkedText Lower(const MarkedText& text) {
  return MapCharacters(text, [](char32_t c, bool, std::string& out) { AppendLower(out, c); });
}
MarkedText Upper(const MarkedText& text) {
  return MapCharacters(text, [](char32_t c, bool, std::string& out) { AppendUpper(out, c); });
}
MarkedText Capitalize(const MarkedText& text) {
  bool is_first = true;
  return MapCharacters(text, [&](char32_t c, bool, std::string& out) {
    is_first ? AppendUpper(out, c) : AppendLower(out, c);
    is_first = false;
  });
}

MarkedText Replace(const MarkedText& text, const MarkedText& from, const MarkedText& to, int64_t count) {
  MarkedText out;
  const std::string& bytes = text.text();
  size_t last = 0;
  if (from.empty()) {  // between all characters
    for (size_t at = 0; at <= bytes.size() && count != 0; --count) {
      out.Append(to);
      last = at < bytes.size() ? at + Utf8Length(bytes[at]) : bytes.size() + 1;
      if (at < bytes.size()) out.Append(text.Slice(at, last));
      at = last;
    }
    if (last < bytes.size()) out.Append(text.Slice(last, bytes.size()));
    return out;
  }
  for (size_t at; count != 0 && (at = bytes.find(from.text(), last)) != std::string::npos; --count) {
    out.Append(text.Slice(last, at));
    out.Append(to);
    last = at + from.size();
  }
  out.Append(text.Slice(last, bytes.size()));
  return out;
}

std::vector<MarkedText> Split(const MarkedText& text, std::optional<std::string_view> separator, int64_t count,
                              bool from_right) {
  const std::string& bytes = text.text();
  std::vector<std::pair<size_t, size_t>> parts;
  const auto is_space = [&](size_t at) { return IsPythonSpace(NextCodePoint(bytes, at)); };
  if (separator.has_value() && !from_right) {
    size_t begin = 0;
    for (size_t at; count != 0 && (at = bytes.find(*separator, begin)) != std::string::npos; --count) {
      parts.emplace_back(begin, at);
      begin = at + separator->size();
    }
    parts.emplace_back(begin, bytes.size());
  } else if (separator.has_value()) {
    size_t end = bytes.size();
    while (count != 0 && end >= separator->size()) {
      const size_t at = bytes.rfind(*separator, end - separator->size());
      if (at == std::string::npos) break;
      parts.emplace_back(at + separator->size(), end);
      end = at;
      --count;
    }
    parts.emplace_back(0, end);
    std::reverse(parts.begin(), parts.end());
  } else if (!from_right) {
    for (size_t at = 0; at < bytes.size();) {
      const size_t begin = at;
      if (is_space(at)) {
        NextCodePoint(bytes, at);
        continue;
      }
      if (count-- == 0) {
        parts.emplace_back(begin, bytes.size() - (text.size() - Strip(text, std::nullopt, false, true).size()));
        break;
      }
      while (at < bytes.size() && !is_space(at)) NextCodePoint(bytes, at);
      parts.emplace_back(begin, at);
    }
  } else {
    for (size_t end = bytes.size(); end > 0;) {
      size_t before = end;
      if (IsPythonSpace(PreviousCodePoint(bytes, before))) {
        end = before;
        continue;
      }
      size_t begin = end;
      if (count-- == 0) {
        begin = text.size() - Strip(text, std::nullopt, true, false).size();
        parts.emplace_back(begin, end);
        break;
      }
      for (size_t next = begin; begin > 0 && !IsPythonSpace(PreviousCodePoint(bytes, next));) begin = next;
      parts.emplace_back(begin, end);
      end = begin;
    }
    std::reverse(parts.begin(), parts.end());
  }
  std::vector<MarkedText> out;
  for (const auto& [begin, end] : parts) out.push_back(text.Slice(begin, end));
  return out;
}

std::vector<MarkedText> SplitLines(const MarkedText& text) {
  std::vector<MarkedText> lines;
  const std::string& bytes = text.text();
  for (size_t begin = 0; begin < bytes.size();) {
    size_t end = begin, next = begin;
    while (end < bytes.size()) {
      const char32_t c = NextCodePoint(bytes, next);
      const bool is_break =
          (c >= 0xA && c <= 0xD) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
      if (is_break) {
        if (c == '\r' && next < bytes.size() && bytes[next] == '\n') ++next;
        break;
      }
      end = next;
    }
    lines.push_back(text.Slice(begin, end));
    begin = next;
  }
  return lines;
}

}  // namespace fovea::text
