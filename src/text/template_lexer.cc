// From text to tokens, with Jinja's rules for white space: a line break behind a block goes, white space before a block
// that starts its line goes, and "-" at a tag takes all white space on its side.
#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "text/template_parser.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using Token = TemplateToken;
using Type = TemplateToken::Type;

constexpr size_t kMaxTemplateBytes = 1 << 20;
constexpr size_t kMaxTokens = 1 << 18;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0; }

// Line breaks are \n, and the last one does not count.
std::string WithPlainLines(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      out += '\n';
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
    } else {
      out += text[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string text, const std::string& source) : text_(std::move(text)), source_(source) {}

  std::vector<Token> Run() {
    while (at_ < text_.size()) Root();
    Add(Type::kEnd);
    return std::move(tokens_);
  }

 private:
  std::string_view Rest() const { return std::string_view(text_).substr(at_); }
  bool Has(std::string_view what) const { return Rest().starts_with(what); }
  [[noreturn]] void Broken(const std::string& what) const { FailTemplate(source_, line_, what); }

  void Add(Type type, std::string text = {}) {
    if (tokens_.size() >= kMaxTokens)
      Fail(ErrorCode::kResourceExhausted, "[chat template] ", source_, " has more than ", kMaxTokens, " parts");
    tokens_.push_back({type, line_, std::move(text)});
  }
  void Skip(size_t count) {
    count = std::min(count, text_.size() - at_);
    line_ += static_cast<int>(std::count(text_.begin() + at_, text_.begin() + at_ + count, '\n'));
    at_ += count;
  }
  void SkipSpace() {
    for (size_t next = at_; at_ < text_.size() && IsWhitespace(NextCodePoint(text_, next));) Skip(next - at_);
  }

  // Text up to the next tag, then the tag.
  void Root() {
    size_t tag = at_;
    while (true) {
      tag = text_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= text_.size()) {
        tag = std::string::npos;
        break;
      }
      const char next = text_[tag + 1];
      if (next == '%' || next == '{' || next == '#') break;
      ++tag;
    }
    if (tag == std::string::npos) {
      AddData(text_.size());
      return;
    }
    const char kind = text_[tag + 1];
    const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
    const bool has_sign = sign == '-' || sign == '+';
    size_t end = tag;
    if (sign == '-') {
      for (size_t next = end; end > at_ && IsWhitespace(PreviousCodePoint(text_, next));) end = next;
    } else if (sign != '+' && kind != '{') {
      end = WithoutIndent(at_, tag);
    }
    AddData(end);
    Skip(tag + 2 + (has_sign ? 1 : 0) - at_);
    starts_line_ = false;
    if (kind == '#') return Comment();
    if (kind == '%' && IsRaw()) return Raw();
    Add(kind == '%' ? Type::kBlockBegin : Type::kVariableBegin);
    Inside(kind == '%');
  }

  // The end of the text [begin,tag) without white space that fills its last line.
  size_t WithoutIndent(size_t begin, size_t tag) const {
    const size_t line = text_.rfind('\n', tag);
    const bool has_break = line != std::string::npos && line >= begin && line < tag;
    if (!has_break && !starts_line_) return tag;
    const size_t start = has_break ? line + 1 : begin;
    for (size_t i = start; i < tag;) {
      if (!IsWhitespace(NextCodePoint(text_, i))) return tag;
    }
    return start;
  }

  void AddData(size_t end) {
    if (end > at_) Add(Type::kData, text_.substr(at_, end - at_));
    if (end > at_) starts_line_ = text_[end - 1] == '\n';
    Skip(end - at_);
  }

  // Behind the closing characters of a tag.
  void Close(bool is_block, char sign) {
    const size_t begin = at_;
    if (sign == '-') {
      SkipSpace();
    } else if (is_block && sign != '+' && Has("\n")) {
      Skip(1);
    }
    starts_line_ = at_ > begin && text_[at_ - 1] == '\n';
  }

  void Comment() {
    const size_t end = text_.find("#}", at_);
    if (end == std::string::npos) Broken("a comment without an end");
    const char sign = end > at_ && (text_[end - 1] == '-' || text_[end - 1] == '+') ? text_[end - 1] : '\0';
    Skip(end + 2 - at_);
    Close(true, sign);
  }

  bool IsRaw() const {
    size_t at = at_;
    while (at < text_.size() && IsWhitespace(static_cast<uint8_t>(text_[at]))) ++at;
    if (!std::string_view(text_).substr(at).starts_with("raw")) return false;
    at += 3;
    while (at < text_.size() && IsWhitespace(static_cast<uint8_t>(text_[at]))) ++at;
    const auto rest = std::string_view(text_).substr(at);
    return rest.starts_with("%}") || rest.starts_with("-%}");
  }
  void Raw() {
    const size_t open = text_.find("%}", at_);
    const bool strips = text_[open - 1] == '-';
    Skip(open + 2 - at_);
    if (strips) SkipSpace();
    for (size_t tag = at_; (tag = text_.find("{%", tag)) != std::string::npos; ++tag) {
      size_t at = tag + 2;
      const char sign = at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at++] : '\0';
      while (at < text_.size() && IsWhitespace(static_cast<uint8_t>(text_[at]))) ++at;
      if (!std::string_view(text_).substr(at).starts_with("endraw")) continue;
      at += 6;
      while (at < text_.size() && IsWhitespace(static_cast<uint8_t>(text_[at]))) ++at;
      const char end_sign = at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at++] : '\0';
      if (!std::string_view(text_).substr(at).starts_with("%}")) continue;
      size_t end = tag;
      if (sign == '-') {
        for (size_t next = end; end > at_ && IsWhitespace(PreviousCodePoint(text_, next));) end = next;
      } else if (sign != '+') {
        end = WithoutIndent(at_, tag);
      }
      AddData(end);
      Skip(at + 2 - at_);
      Close(true, end_sign);
      return;
    }
    Broken("raw without endraw");
  }

  void Inside(bool is_block) {
    const std::string_view close = is_block ? "%}" : "}}";
    std::vector<char> open;
    while (true) {
      SkipSpace();
      if (at_ >= text_.size()) Broken("a tag without an end");
      if (open.empty()) {
        const bool has_sign = Has("-") || (is_block && Has("+"));
        if (Rest().substr(has_sign ? 1 : 0).starts_with(close)) {
          const char sign = has_sign ? text_[at_] : '\0';
          Add(is_block ? Type::kBlockEnd : Type::kVariableEnd);
          Skip(has_sign ? 3 : 2);
          Close(is_block, sign);
          return;
        }
      }
      const char c = text_[at_];
      if (IsDigit(c)) {
        Number();
      } else if (IsNameStart(c)) {
        size_t end = at_;
        while (end < text_.size() && (IsNameStart(text_[end]) || IsDigit(text_[end]))) ++end;
        Add(Type::kName, text_.substr(at_, end - at_));
        Skip(end - at_);
      } else if (c == '\'' || c == '"') {
        String(c);
      } else {
        Operator(open);
      }
    }
  }

  void Operator(std::vector<char>& open) {
    constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                               "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ","};
    for (const std::string_view known : kOperators) {
      if (!Has(known)) continue;
      if (known == "{" || known == "(" || known == "[") open.push_back(known == "{" ? '}' : known == "(" ? ')' : ']');
      if (known == "}" || known == ")" || known == "]") {
        if (open.empty() || open.back() != known[0]) Broken("unexpected \"" + std::string(known) + "\"");
        open.pop_back();
      }
      Add(Type::kOperator, std::string(known));
      return Skip(known.size());
    }
    Broken("unexpected character \"" + base::PrintableUtf8(Rest().substr(0, Utf8Length(text_[at_]))) + "\"");
  }

  void Number() {
    size_t end = at_;
    std::string digits;
    const auto take_digits = [&] {
      while (end < text_.size() &&
             (IsDigit(text_[end]) || (text_[end] == '_' && end + 1 < text_.size() && IsDigit(text_[end + 1])))) {
        if (text_[end] != '_') digits += text_[end];
        ++end;
      }
    };
    take_digits();
    const bool is_behind_dot = at_ > 0 && text_[at_ - 1] == '.';
    bool is_float = false;
    if (!is_behind_dot && end + 1 < text_.size() && text_[end] == '.' && IsDigit(text_[end + 1])) {
      is_float = true;
      digits += text_[end++];
      take_digits();
    }
    if (!is_behind_dot && end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      size_t next = end + 1;
      if (next < text_.size() && (text_[next] == '+' || text_[next] == '-')) ++next;
      if (next < text_.size() && IsDigit(text_[next])) {
        is_float = true;
        digits += text_.substr(end, next - end);
        end = next;
        take_digits();
      }
    }
    Add(is_float ? Type::kFloat : Type::kInteger);
    std::errc problem;
    if (is_float) {
      problem = std::from_chars(digits.data(), digits.data() + digits.size(), tokens_.back().number).ec;
    } else {
      problem = std::from_chars(digits.data(), digits.data() + digits.size(), tokens_.back().integer).ec;
    }
    if (problem != std::errc()) Broken("the number " + digits + " is too large");
    Skip(end - at_);
  }

  // A string with Python's escapes.
  void String(char quote) {
    std::string value;
    size_t at = at_ + 1;
    while (true) {
      if (at >= text_.size()) Broken("a string without an end");
      const char c = text_[at++];
      if (c == quote) break;
      if (c != '\\') {
        value += c;
        continue;
      }
      if (at >= text_.size()) Broken("a string without an end");
      const char letter = text_[at++];
      constexpr std::string_view kPlain = "\\'\"abfnrtv";
      constexpr std::string_view kMeans = "\\'\"\a\b\f\n\r\t\v";
      if (const size_t found = kPlain.find(letter); found != std::string_view::npos) {
        value += kMeans[found];
      } else if (letter == 'x' || letter == 'u' || letter == 'U') {
        AppendUtf8(value, CodePoint(at, letter == 'x' ? 2 : letter == 'u' ? 4 : 8));
      } else if (letter >= '0' && letter <= '7') {
        char32_t c8 = static_cast<char32_t>(letter - '0');
        for (int i = 0; i < 2 && at < text_.size() && text_[at] >= '0' && text_[at] <= '7'; ++i)
          c8 = c8 * 8 + static_cast<char32_t>(text_[at++] - '0');
        AppendUtf8(value, c8);
      } else if (letter == 'N') {
        Broken("the escape \\N is not supported");
      } else if (letter != '\n') {  // a line break goes
        value += '\\';
        value += letter;
      }
    }
    Add(Type::kString, std::move(value));
    Skip(at - at_);
  }
  char32_t CodePoint(size_t& at, int digits) const {
    char32_t c = 0;
    const char* begin = text_.data() + at;
    if (at + static_cast<size_t>(digits) > text_.size()) Broken("an escape that is too short");
    uint32_t value = 0;
    const auto read = std::from_chars(begin, begin + digits, value, 16);
    c = value;
    if (read.ptr != begin + digits || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
      Broken("an escape that is no character");
    at += static_cast<size_t>(digits);
    return c;
  }

  std::string text_;
  const std::string& source_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int line_ = 1;
  bool starts_line_ = true;
};

}  // namespace

void FailTemplate(const std::string& source, int line, const std::string& what) {
  Fail(ErrorCode::kCorruptData, "[chat template] ", source, ", line ", line, ": ", what);
}

std::vector<TemplateToken> LexTemplate(std::string_view source_text, const std::string& source) {
  if (source_text.size() > kMaxTemplateBytes) {
    Fail(ErrorCode::kResourceExhausted, "[chat template] ", source, " has ", source_text.size(),
         " bytes, the limit is ", kMaxTemplateBytes);
  }
  RequireData(IsValidUtf8(source_text), "[chat template] ", source, " is not UTF-8");
  return Lexer(WithPlainLines(source_text), source).Run();
}

}  // namespace fovea::text
