#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/error.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

constexpr size_t kMaxPatternBytes = 16 << 10;
constexpr uint32_t kMatchLimit = 2'000'000;

// Oniguruma's \w: letters, marks, decimal and letter numbers, connectors, and letters in circles and squares.
constexpr std::string_view kWordClass =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}\x{200C}\x{200D})";

// Rewrites one pattern from Ruby's syntax to PCRE2's.
class Translator {
 public:
  Translator(std::string_view pattern, const std::string& source) : pattern_(pattern), source_(source) {}

  std::string Run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        Escape();
      } else if (in_class_) {
        ClassCharacter(c);
      } else {
        Character(c);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void Refuse(std::string_view what) const {
    Fail(ErrorCode::kUnimplemented, "[tokenizer] ", source_, ": the regular expression ",
         base::PrintableUtf8(pattern_.substr(0, 200)), " uses ", what, ", which is not supported");
  }

  bool StartsWith(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  void Copy(size_t count) {
    out_.append(pattern_.substr(at_, count));
    at_ = std::min(at_ + count, pattern_.size());
  }

  void Escape() {
    const char next = at_ + 1 < pattern_.size() ? pattern_[at_ + 1] : '\0';
    if (next == 'w') {
      if (!in_class_) out_ += '[';
      out_ += kWordClass;
      if (!in_class_) out_ += ']';
      at_ += 2;
    } else if (next == 'W' && !in_class_) {
      out_.append("[^").append(kWordClass).append("]");
      at_ += 2;
    } else if (next == 'p' || next == 'P') {
      Property();
    } else if (std::string_view("WbBhHRXGKCNgkoOQEyYAZzMcu").find(next) != std::string_view::npos &&
               std::string_view("AZz").find(next) == std::string_view::npos) {
      Refuse(std::string("\\") + next);
    } else {
      Copy(next != '\0' ? 1 + Utf8Length(next) : 1);
    }
  }

  // \p{Han} means the script in both, but PCRE2 reads it as "used with the script" unless told otherwise.
  void Property() {
    const size_t end = pattern_.find('}', at_);
    if (at_ + 2 >= pattern_.size() || pattern_[at_ + 2] != '{' || end == std::string_view::npos)
      Refuse("a property without braces");
    std::string_view name = pattern_.substr(at_ + 3, end - at_ - 3);
    const bool is_negated = name.starts_with('^');
    if (is_negated) name.remove_prefix(1);
    if (name.find_first_of("=:") != std::string_view::npos) Refuse("a named property");
    out_.append(pattern_.substr(at_, 3));
    if (is_negated) out_ += '^';
    if (name.size() > 2) out_ += "sc:";
    out_.append(name);
    out_ += '}';
    at_ = end + 1;
  }

  void ClassCharacter(char c) {
    if (c == '[') Refuse("a class inside a class");
    if (StartsWith("&&")) Refuse("an intersection of classes");
    if (c == ']' && at_ != class_start_) in_class_ = false;
    Copy(1);
  }

  void Character(char c) {
    if (c == '[') {
      in_class_ = true;
      Copy(StartsWith("[^") ? 2 : 1);
      class_start_ = at_;
    } else if (StartsWith("(?")) {
      Group();
    } else if (StartsWith("(*")) {
      Refuse("(*");
    } else if (c == '}' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] == '+') {
      Refuse("{n,m}+");  // possessive here, a repeated repetition there
    } else {
      Copy(1);
    }
  }

  void Group() {
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)", "(?-i:"}) {
      if (StartsWith(known)) return Copy(known.size());
    }
    Refuse("a group of this kind");
  }

  std::string_view pattern_;
  const std::string& source_;
  std::string out_;
  size_t at_ = 0;
  size_t class_start_ = 0;
  bool in_class_ = false;
};

const tables::Mapping* StandInFor(char32_t c) {
  const auto found = std::partition_point(tables::kStandIn.begin(), tables::kStandIn.end(),
                                          [&](const tables::Mapping& m) { return m.last < c; });
  return found != tables::kStandIn.end() && found->first <= c ? &*found : nullptr;
}

// `text` with stand-ins of the same length for the characters PCRE2 does not know; `copy` holds it when there are any.
std::string_view WithStandIns(std::string_view text, std::string& copy) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0xE0) {
      ++at;  // nothing below U+0800 has a stand-in
      continue;
    }
    const size_t begin = at;
    const char32_t c = NextCodePoint(text, at);
    const tables::Mapping* mapping = StandInFor(c);
    if (mapping == nullptr) continue;
    if (copy.empty()) copy = text;
    std::string replaced;
    AppendUtf8(replaced, mapping->to);
    copy.replace(begin, at - begin, replaced);
  }
  return copy.empty() ? text : std::string_view(copy);
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  std::string source;

  Code() = default;
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() {
    pcre2_code_free(code);
    pcre2_match_context_free(context);
  }
};

Regex::Regex(std::string_view pattern, const std::string& source) {
  if (pattern.size() > kMaxPatternBytes) {
    Fail(ErrorCode::kResourceExhausted, "[tokenizer] ", source, ": a regular expression has ", pattern.size(),
         " bytes, the limit is ", kMaxPatternBytes);
  }
  const std::string translated = Translator(pattern, source).Run();
  auto code = std::make_shared<Code>();
  code->source = source;
  int error = 0;
  PCRE2_SIZE error_at = 0;
  code->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &error_at, nullptr);
  if (code->code == nullptr) {
    PCRE2_UCHAR message[128] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    Fail(ErrorCode::kCorruptData, "[tokenizer] ", source, ": cannot compile the regular expression ",
         base::PrintableUtf8(pattern.substr(0, 200)), ": ", reinterpret_cast<const char*>(message));
  }
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);  // without it matching is slower, not different
  code->context = pcre2_match_context_create(nullptr);
  if (code->context != nullptr) {
    pcre2_set_match_limit(code->context, kMatchLimit);
    pcre2_set_heap_limit(code->context, 64 << 10);  // KiB
  }
  code_ = std::move(code);
}

Regex Regex::Literal(std::string_view text, const std::string& source) {
  std::string pattern;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}-#&~ ").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return Regex(pattern, source);
}

void Regex::ForEachMatch(std::string_view text, const std::function<void(size_t, size_t)>& found) const {
  std::string copy;
  const std::string_view subject = WithStandIns(text, copy);
  const auto* bytes = reinterpret_cast<PCRE2_SPTR>(subject.data());
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create(1, nullptr),
                                                                                 pcre2_match_data_free);
  if (data == nullptr) Fail(ErrorCode::kResourceExhausted, "[tokenizer] no memory for matching");
  size_t at = 0;
  size_t last_end = std::string_view::npos;
  while (at <= subject.size()) {
    int result = pcre2_match(code_->code, bytes, subject.size(), at, PCRE2_NO_UTF_CHECK, data.get(), code_->context);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
      result = pcre2_match(code_->code, bytes, subject.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(),
                           code_->context);
    if (result == PCRE2_ERROR_NOMATCH) return;
    if (result < 0) {
      Fail(ErrorCode::kResourceExhausted, "[tokenizer] ", code_->source, ": a regular expression gave up on a text of ",
           text.size(), " bytes (PCRE2 error ", result, ")");
    }
    const PCRE2_SIZE* where = pcre2_get_ovector_pointer(data.get());
    const size_t begin = where[0], end = where[1];
    if (begin == end && end == last_end) {
      at += end < subject.size() ? Utf8Length(subject[end]) : 1;
      continue;
    }
    found(begin, end);
    at = last_end = end;
  }
}

}  // namespace fovea::text
