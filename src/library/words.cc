// Splitting of names and queries. Only ASCII capitals and digits make inner words: other scripts rarely write camel
// case.
#include "library/words.h"

#include <algorithm>
#include <cstdint>

#include "base/strings.h"

namespace fovea::library {
namespace {

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return IsLower(c) || IsUpper(c) || (static_cast<uint8_t>(c) & 0x80) != 0; }

// Whether a new word starts at text[i].
bool StartsWord(std::string_view text, size_t i) {
  const char before = text[i - 1], here = text[i];
  if (IsDigit(before) != IsDigit(here))
    return (IsLetter(before) && IsDigit(here)) || (IsDigit(before) && IsLetter(here));
  if (IsLower(before) && IsUpper(here)) return true;
  return IsUpper(before) && IsUpper(here) && i + 1 < text.size() && IsLower(text[i + 1]);  // "HTMLPage" -> "HTML Page"
}

// Punctuation and symbols of Unicode that FTS5 treats as separators; a query of these alone asks for nothing. A few
// rare ones are missing: they only make a query find nothing.
bool IsSeparatorCodePoint(uint32_t c) {
  if (c < 0x80) return !IsLetter(static_cast<char>(c)) && !IsDigit(static_cast<char>(c));
  if (c <= 0xBF)
    return c != 0xAA && c != 0xB2 && c != 0xB3 && c != 0xB5 && c != 0xB9 && c != 0xBA && !(c >= 0xBC && c <= 0xBE);
  return c == 0xD7 || c == 0xF7 || (c >= 0x2000 && c <= 0x206F) || (c >= 0x20A0 && c <= 0x20CF) ||
         (c >= 0x2190 && c <= 0x245F) || (c >= 0x2500 && c <= 0x2775) || (c >= 0x2794 && c <= 0x2BFF) ||
         (c >= 0x2E00 && c <= 0x2E7F) || (c >= 0x3001 && c <= 0x3004) || (c >= 0x3008 && c <= 0x3020) ||
         (c >= 0xFE00 && c <= 0xFE6F) || (c >= 0xFF01 && c <= 0xFF0F) || c == 0xFFFC || c == 0xFFFD ||
         (c >= 0x1F000 && c <= 0x1F0FF) || (c >= 0x1F10D && c <= 0x1FAFF) || c >= 0xE0000;
}

// Whether well-formed UTF-8 holds anything that can be searched.
bool HasWord(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint32_t code = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    for (size_t k = 1; k < length && i + k < text.size(); ++k)
      code = code << 6 | (static_cast<uint8_t>(text[i + k]) & 0x3Fu);
    if (!IsSeparatorCodePoint(code)) return true;
    i += length;
  }
  return false;
}

}  // namespace

std::string IndexedText(std::string_view name) {
  std::string text = base::PrintableUtf8(name);
  std::string split;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i > 0 && StartsWord(text, i)) split += ' ';
    split += text[i];
  }
  return split.size() == text.size() ? text : text + '\t' + split;
}

std::string_view FileName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string_view ParentFolder(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string IndexedFolders(std::string_view path, std::string_view root) {
  std::string_view folders = ParentFolder(path);
  const std::string_view above = ParentFolder(root);
  // A root that is the file itself has its folder as the only one.
  folders.remove_prefix(root == path ? ParentFolder(above).size() : folders.starts_with(above) ? above.size() : 0);
  std::string lines;
  for (const std::string& folder : base::Split(folders, '/')) {
    if (folder.empty()) continue;
    if (!lines.empty()) lines += '\n';
    lines += IndexedText(folder);
  }
  return lines;
}

std::string QueryTerm::Fts() const {
  const auto quoted = [](std::string_view word) {
    std::string result = "\"";
    for (const char c : word) result += c == '"' ? std::string("\"\"") : std::string(1, c);
    return result + "\"";
  };
  if (is_phrase) return quoted(text);
  if (!is_whole) return quoted(text) + "*";
  const bool is_plural = text.size() > 3 && (text.ends_with('s') || text.ends_with('S'));
  const std::string other = is_plural ? text.substr(0, text.size() - 1) : text + "s";
  return "(" + quoted(text) + " OR " + quoted(other) + ")";
}

std::vector<QueryTerm> ParseQuery(std::string_view query) {
  std::string spaced(query.substr(0, 4096));
  for (char& c : spaced) {
    if (c == '\t' || c == '\n' || c == '\r') c = ' ';
  }
  const std::string text = base::PrintableUtf8(spaced);
  std::vector<QueryTerm> terms;
  const auto add = [&](std::string piece, bool is_phrase, bool is_negative) {
    if (HasWord(piece) && terms.size() < kMaxQueryTerms)
      terms.push_back({.text = std::move(piece), .is_phrase = is_phrase, .is_negative = is_negative});
  };
  const std::vector<std::string> pieces = base::Split(text, '"');  // odd pieces stood in quotes
  bool is_negative = false;                                        // of the phrase that follows
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i % 2 == 1) {
      add(pieces[i], true, is_negative);
      continue;
    }
    is_negative = pieces[i] == "-" || pieces[i].ends_with(" -");
    for (std::string& word : base::Split(pieces[i], ' ')) {
      const bool is_minus = word.size() > 1 && word[0] == '-' && word[1] != '-';
      add(is_minus ? word.substr(1) : std::move(word), false, is_minus);
    }
  }
  return terms;
}

std::vector<QueryTerm> ContentTerms(std::vector<QueryTerm> terms) {
  constexpr std::string_view kJoining[] = {"a",  "an", "and", "are", "at", "by",  "for", "from", "in",
                                           "is", "it", "of",  "on",  "or", "the", "to",  "with"};
  const auto joins = [&](const QueryTerm& term) {
    return !term.is_phrase &&
           std::find(std::begin(kJoining), std::end(kJoining), base::AsciiLower(term.text)) != std::end(kJoining);
  };
  if (!std::all_of(terms.begin(), terms.end(), joins)) std::erase_if(terms, joins);
  return terms;
}

}  // namespace fovea::library
