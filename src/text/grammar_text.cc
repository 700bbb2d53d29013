// Grammars as text: regular expressions, and rules as llama.cpp writes them (GBNF):
//
//   root  ::= item ("," space item)*     # a comment
//   item  ::= "a" | [^x-z\n] | "é"{2,3} | (space "b")?
//   space ::= " "?
#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "text/grammar.h"
#include "text/grammar_builder.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using Id = GrammarBuilder::Id;

constexpr size_t kMaxTextBytes = 256 << 10;
constexpr int kMaxNesting = 100;

const CodePointRanges kDigits = {{'0', '9'}};
const CodePointRanges kWords = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodePointRanges kSpaces = {{0x9, 0xD},       {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                                 {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                 {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};

CodePointRanges Complement(const CodePointRanges& ranges) {
  CodePointRanges rest;
  char32_t next = 0;
  for (const auto& [low, high] : ranges) {
    if (low > next) rest.emplace_back(next, low - 1);
    next = high + 1;
  }
  rest.emplace_back(next, 0x10FFFF);
  return rest;
}

// What both languages share: a place in the text, and errors that name it.
class Reader {
 public:
  Reader(GrammarBuilder& builder, std::string_view text, std::string what)
      : builder_(builder), text_(text), what_(std::move(what)) {
    if (text.size() > kMaxTextBytes)
      Fail(ErrorCode::kResourceExhausted, "[grammar] ", what_, " has ", text.size(), " bytes, the limit is ",
           kMaxTextBytes);
    RequireData(IsValidUtf8(text), "[grammar] ", what_, " is not UTF-8");
  }

 protected:
  bool IsAtEnd() const { return at_ >= text_.size(); }
  bool Has(std::string_view what) const { return text_.substr(std::min(at_, text_.size())).starts_with(what); }
  bool Take(std::string_view what) {
    if (!Has(what)) return false;
    at_ += what.size();
    return true;
  }
  char32_t Character() {
    if (IsAtEnd()) Broken("it ends too early");
    return NextCodePoint(text_, at_);
  }
  [[noreturn]] void Broken(const std::string& what) const {
    Fail(ErrorCode::kCorruptData, "[grammar] ", what_, ", byte ", at_, ": ", what);
  }
  [[noreturn]] void Refuse(const std::string& what) const {
    Fail(ErrorCode::kUnimplemented, "[grammar] ", what_, ", byte ", at_, ": ", what, " is not supported");
  }
  int64_t Number() {
    int64_t value = 0;
    const auto read = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (read.ec != std::errc()) Broken("expected a number");
    at_ = static_cast<size_t>(read.ptr - text_.data());
    return value;
  }
  char32_t Hex(int digits) {
    uint32_t value = 0;
    const size_t end = at_ + static_cast<size_t>(digits);
    if (end > text_.size() ||
        std::from_chars(text_.data() + at_, text_.data() + end, value, 16).ptr != text_.data() + end ||
        value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
      Broken("expected a character as " + std::to_string(digits) + " hexadecimal digits");
    at_ = end;
    return value;
  }
  // {2}, {2,}, {2,3}, and if `takes_most_alone` {,3}; false when this is no repetition.
  bool TakeBounds(int64_t& least, int64_t& most, bool takes_most_alone) {
    if (Take("*")) return least = 0, most = -1, true;
    if (Take("+")) return least = 1, most = -1, true;
    if (Take("?")) return least = 0, most = 1, true;
    const size_t begin = at_;
    if (!Take("{")) return false;
    const auto is_digit = [&] { return !IsAtEnd() && text_[at_] >= '0' && text_[at_] <= '9'; };
    if (!is_digit() && !Has(",")) return at_ = begin, false;
    if (!is_digit() && !takes_most_alone) Refuse("a repetition without a lower bound");
    least = Has(",") ? 0 : Number();
    most = least;
    if (Take(",")) {
      if (!is_digit() && !Has("}")) Broken("expected a number or \"}\"");
      most = Has("}") ? -1 : Number();
    }
    if (!Take("}")) Broken("expected \"}\"");
    if (least < 0 || (most >= 0 && most < least)) Broken("a repetition with wrong bounds");
    return true;
  }
  struct Nesting {
    explicit Nesting(Reader& reader) : reader(reader) {
      if (++reader.nesting_ > kMaxNesting)
        Fail(ErrorCode::kResourceExhausted, "[grammar] ", reader.what_, " is nested deeper than ", kMaxNesting);
    }
    ~Nesting() { --reader.nesting_; }
    Reader& reader;
  };

  GrammarBuilder& builder_;
  std::string_view text_;
  std::string what_;
  size_t at_ = 0;
  int nesting_ = 0;
};

class RegexReader : public Reader {
 public:
  RegexReader(GrammarBuilder& builder, std::string_view text, bool in_json, std::string what)
      : Reader(builder, text, std::move(what)), in_json_(in_json) {}

  // `is_search`: the pattern may match anywhere, as in JSON Schema; else it matches the whole text.
  Id Run(bool is_search) {
    const bool starts = Take("^");
    Id body = Alternatives();
    if (!IsAtEnd()) Broken("unexpected \")\"");
    if (has_inner_alternatives_ && is_search && (starts || ends_)) Refuse("^ or $ beside alternatives without a group");
    if (!is_search) return body;
    const Id any = builder_.Repeat(builder_.Character({}, true, in_json_), 0, -1);
    return builder_.Sequence({starts ? builder_.Empty() : any, body, ends_ ? builder_.Empty() : any});
  }

 private:
  Id Alternatives() {
    const Nesting nesting(*this);
    std::vector<Id> alternatives = {Sequence()};
    while (Take("|")) alternatives.push_back(Sequence());
    if (nesting_ == 1) has_inner_alternatives_ = alternatives.size() > 1;
    return builder_.Choice(std::move(alternatives));
  }
  Id Sequence() {
    std::vector<Id> parts;
    while (!IsAtEnd() && !Has("|") && !Has(")")) {
      if (Has("$")) {
        ++at_;
        if (!IsAtEnd() || nesting_ > 1) Refuse("$ before the end");
        ends_ = true;
        break;
      }
      Id part = Atom();
      int64_t least = 0, most = 0;
      // Engines differ on {,3}: it is refused.
      while (TakeBounds(least, most, false)) {
        if (Has("+")) Refuse("a possessive repetition");
        Take("?");  // takes as little as possible: the same texts match
        part = builder_.Repeat(part, least, most);
      }
      parts.push_back(part);
    }
    return builder_.Sequence(std::move(parts));
  }
  Id Atom() {
    if (Take("(")) {
      if (Take("?")) {
        if (!Take(":")) {
          if (Has("<") && !Has("<=") && !Has("<!")) {
            const size_t end = text_.find('>', at_);
            if (end == std::string_view::npos) Broken("a group without a name");
            at_ = end + 1;
          } else {
            Refuse("look-around or a flag");
          }
        }
      }
      const Id group = Alternatives();
      if (!Take(")")) Broken("a group without an end");
      return group;
    }
    if (Take("[")) return Class();
    if (Take(".")) return builder_.Character({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}, true, in_json_);
    if (Has("*") || Has("+") || Has("?")) Broken("nothing to repeat");
    if (Has("^")) Refuse("^ behind the start");
    CodePointRanges ranges;
    if (Take("\\")) {
      Escape(ranges);
    } else {
      const char32_t c = Character();
      ranges = {{c, c}};
    }
    return builder_.Character(std::move(ranges), false, in_json_);
  }
  // Behind a backslash; true for a single character.
  bool Escape(CodePointRanges& ranges) {
    const auto add = [&](const CodePointRanges& more) {
      ranges.insert(ranges.end(), more.begin(), more.end());
      return false;
    };
    const char32_t c = Character();
    switch (c) {
      case 'd': return add(kDigits);
      case 'D': return add(Complement(kDigits));
      case 'w': return add(kWords);
      case 'W': return add(Complement(kWords));
      case 's': return add(kSpaces);
      case 'S': return add(Complement(kSpaces));
      default: break;
    }
    char32_t value = c;
    switch (c) {
      case 'n': value = '\n'; break;
      case 'r': value = '\r'; break;
      case 't': value = '\t'; break;
      case 'f': value = '\f'; break;
      case 'v': value = '\v'; break;
      case '0': value = 0; break;
      case 'x': value = Hex(2); break;
      case 'u': value = Hex(4); break;
      default:
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9'))
          Refuse(std::string("\\") + static_cast<char>(c));
    }
    ranges.emplace_back(value, value);
    return true;
  }
  Id Class() {
    const bool is_negated = Take("^");
    CodePointRanges ranges;
    while (!Take("]")) {
      if (IsAtEnd()) Broken("a class without an end");
      bool is_single = true;
      if (Take("\\")) {
        if (Take("b")) {
          ranges.emplace_back('\b', '\b');
        } else {
          is_single = Escape(ranges);
        }
      } else {
        const char32_t c = Character();
        ranges.emplace_back(c, c);
      }
      if (!is_single || !Has("-") || Has("-]")) continue;
      ++at_;
      CodePointRanges last;
      if (Take("\\") ? !Escape(last) : (last = {{Character(), 0}}, false)) Broken("a range that ends with a class");
      if (last[0].first < ranges.back().first) Broken("a range that ends before it starts");
      ranges.back().second = last[0].first;
    }
    return builder_.Character(std::move(ranges), is_negated, in_json_);
  }

  bool in_json_, ends_ = false, has_inner_alternatives_ = false;
};

class RulesReader : public Reader {
 public:
  RulesReader(GrammarBuilder& builder, std::string_view text) : Reader(builder, text, "the grammar") {}

  Id Run() {
    for (Space(true); !IsAtEnd(); Space(true)) {
      const std::string name = Name();
      Space(true);
      if (!Take("::=")) Broken("expected \"::=\" behind the name " + name);
      const Id rule = Rule(name);
      if (builder_.IsDefined(rule)) Broken("the rule " + name + " is there twice");
      Space(true);
      builder_.Define(rule, Alternatives(false));
      Space(false);
      if (!IsAtEnd() && !Has("\n") && !Has("\r")) Broken("expected the end of the rule " + name);
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) Fail(ErrorCode::kCorruptData, "[grammar] the grammar has no rule named root");
    for (const auto& [name, rule] : rules_) {
      if (!builder_.IsDefined(rule))
        Fail(ErrorCode::kCorruptData, "[grammar] the rule \"", base::PrintableUtf8(name), "\" is used but not defined");
    }
    return root->second;
  }

 private:
  void Space(bool takes_lines) {
    while (!IsAtEnd()) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ' ' || c == '\t' || (takes_lines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }
  static bool IsNameCharacter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  }
  std::string Name() {
    const size_t begin = at_;
    while (!IsAtEnd() && IsNameCharacter(text_[at_])) ++at_;
    if (at_ == begin) Broken("expected a name");
    return std::string(text_.substr(begin, at_ - begin));
  }
  Id Rule(const std::string& name) {
    const auto [found, is_new] = rules_.try_emplace(name, 0);
    if (is_new) found->second = builder_.Declare(name);
    return found->second;
  }
  Id Alternatives(bool is_group) {
    const Nesting nesting(*this);
    std::vector<Id> alternatives = {Sequence(is_group)};
    while (Take("|")) {
      Space(true);
      alternatives.push_back(Sequence(is_group));
    }
    return builder_.Choice(std::move(alternatives));
  }
  Id Sequence(bool is_group) {
    std::vector<Id> parts;
    while (true) {
      std::optional<Id> part = Atom();
      if (!part.has_value()) return builder_.Sequence(std::move(parts));
      int64_t least = 0, most = 0;
      while (TakeBounds(least, most, true)) part = builder_.Repeat(*part, least, most);
      parts.push_back(*part);
      Space(is_group);
      // An alternative may go on in the next line.
      if (!is_group) {
        const size_t here = at_;
        Space(true);
        if (!Has("|")) at_ = here;
      }
    }
  }
  std::optional<Id> Atom() {
    if (IsAtEnd()) return std::nullopt;
    if (Take("\"")) {
      std::string literal;
      while (!Take("\"")) AppendUtf8(literal, Escaped());
      return builder_.Literal(literal);
    }
    if (Take("[")) {
      const bool is_negated = Take("^");
      CodePointRanges ranges;
      while (!Take("]")) {
        const char32_t first = Escaped();
        char32_t last = first;
        if (Has("-") && !Has("-]")) {
          ++at_;
          last = Escaped();
        }
        if (last < first) Broken("a range that ends before it starts");
        ranges.emplace_back(first, last);
      }
      return builder_.Character(std::move(ranges), is_negated, false);
    }
    if (Take("(")) {
      Space(true);
      const Id group = Alternatives(true);
      if (!Take(")")) Broken("expected \")\"");
      return group;
    }
    if (Take(".")) return builder_.Character({}, true, false);
    if (IsNameCharacter(text_[at_])) return Rule(Name());
    return std::nullopt;
  }
  char32_t Escaped() {
    if (Has("\n")) Broken("a string or class without an end");
    if (!Take("\\")) return Character();
    const char32_t c = Character();
    switch (c) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'x': return Hex(2);
      case 'u': return Hex(4);
      case 'U': return Hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^': return c;
      default: Broken("an unknown escape");
    }
  }

  std::map<std::string, Id> rules_;
};

}  // namespace

GrammarBuilder::Id RegexExpression(GrammarBuilder& builder, std::string_view pattern, bool in_json, bool is_search,
                                   const std::string& what) {
  return RegexReader(builder, pattern, in_json, what).Run(is_search);
}

std::shared_ptr<const Grammar> Grammar::FromText(std::string_view rules) {
  GrammarBuilder builder;
  const Id root = RulesReader(builder, rules).Run();
  return std::make_shared<const Grammar>(builder.Finish(root));
}

}  // namespace fovea::text
