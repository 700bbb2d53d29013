#include "text/normalizer.h"

#include <vector>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/regex.h"
#include "text/spec.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

// Rewrites the text character by character: `write(c, out)` appends what becomes of c.
template <typename Write>
void Rewrite(NormalizedText& text, Write&& write) {
  std::string out;
  out.reserve(text.text.size() + 16);
  size_t origin = text.origin_bytes == 0 ? 0 : std::string::npos;
  for (size_t at = 0; at < text.text.size();) {
    if (origin == std::string::npos && at >= text.origin_bytes) origin = out.size();
    write(NextCodePoint(text.text, at), out);
  }
  CheckNormalizedSize(out.size());
  text.text = std::move(out);
  text.origin_bytes = std::min(origin, text.text.size());
}

class Bert : public Normalizer {
 public:
  explicit Bert(const Fields& fields)
      : cleans_(fields.Bool("clean_text")),
        spaces_chinese_(fields.Bool("handle_chinese_chars")),
        lowers_(fields.Bool("lowercase")),
        strips_accents_(fields.Bool("strip_accents", lowers_)) {}

  void Apply(NormalizedText& text) const override {
    if (IsPlainAscii(text.text)) {
      for (char& c : text.text) {
        if (lowers_ && c >= 'A' && c <= 'Z') c += 32;
      }
      return;
    }
    if (cleans_ || spaces_chinese_) {
      Rewrite(text, [&](char32_t c, std::string& out) {
        if (cleans_) {
          if (c == 0 || c == 0xFFFD || (IsOther(c) && c != '\t' && c != '\n' && c != '\r')) return;
          if (IsWhitespace(c)) c = ' ';
        }
        const bool is_chinese = spaces_chinese_ && IsChinese(c);
        if (is_chinese) out += ' ';
        AppendUtf8(out, c);
        if (is_chinese) out += ' ';
      });
    }
    if (strips_accents_) {
      const bool has_origin = text.origin_bytes > 0;
      text.text = Normalize(text.text, NormalForm::kNfd);
      text.origin_bytes = has_origin && !text.text.empty() ? Utf8Length(text.text[0]) : 0;
      Rewrite(text, [&](char32_t c, std::string& out) {
        if (!IsNonspacingMark(c)) AppendUtf8(out, c);
      });
    }
    if (lowers_) Rewrite(text, [](char32_t c, std::string& out) { AppendLower(out, c); });
  }

 private:
  static bool IsPlainAscii(std::string_view text) {
    for (const char c : text) {
      if (static_cast<uint8_t>(c) < 0x20 || static_cast<uint8_t>(c) >= 0x7F) return false;
    }
    return true;
  }
  static bool IsChinese(char32_t c) {
    if (c < 0x3400) return false;
    return (c >= 0x4E00 && c <= 0x9FFF) || c <= 0x4DBF || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
  }
  bool cleans_, spaces_chinese_, lowers_, strips_accents_;
};

class Unicode : public Normalizer {
 public:
  explicit Unicode(NormalForm form) : form_(form) {}
  void Apply(NormalizedText& text) const override {
    const bool has_origin = text.origin_bytes > 0;
    text.text = Normalize(text.text, form_);
    CheckNormalizedSize(text.text.size());
    text.origin_bytes = has_origin && !text.text.empty() ? Utf8Length(text.text[0]) : 0;
  }

 private:
  NormalForm form_;
};

// `knows_sigma`: a capital sigma at the end of a word becomes the final one, as Python's str.lower() does.
class Lowercase : public Normalizer {
 public:
  explicit Lowercase(bool knows_sigma) : knows_sigma_(knows_sigma) {}
  void Apply(NormalizedText& text) const override {
    const std::string before = knows_sigma_ ? text.text : std::string();
    size_t at = 0;
    Rewrite(text, [&](char32_t c, std::string& out) {
      if (knows_sigma_) {
        const size_t begin = at;
        NextCodePoint(before, at);
        if (c == kSigma && IsFinal(before, begin, at)) return AppendUtf8(out, kFinalSigma);
      }
      AppendLower(out, c);
    });
  }

 private:
  static constexpr char32_t kSigma = 0x3A3, kFinalSigma = 0x3C2;
  // A letter stands before, none behind; marks and punctuation within words do not count.
  static bool IsFinal(std::string_view text, size_t begin, size_t end) {
    bool follows = false;
    while (begin > 0 && !follows) {
      const char32_t c = PreviousCodePoint(text, begin);
      if (IsCaseIgnorable(c)) continue;
      follows = IsCased(c);
      break;
    }
    if (!follows) return false;
    while (end < text.size()) {
      const char32_t c = NextCodePoint(text, end);
      if (!IsCaseIgnorable(c)) return !IsCased(c);
    }
    return true;
  }
  bool knows_sigma_;
};

class StripAccents : public Normalizer {
 public:
  void Apply(NormalizedText& text) const override {
    Rewrite(text, [](char32_t c, std::string& out) {
      if (!IsCombiningMark(c)) AppendUtf8(out, c);
    });
  }
};

class Nmt : public Normalizer {
 public:
  void Apply(NormalizedText& text) const override {
    Rewrite(text, [](char32_t c, std::string& out) {
      if ((c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F) return;
      const bool is_space = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                            (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
                            c == 0xFFFD;
      AppendUtf8(out, is_space ? U' ' : c);
    });
  }
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void Apply(NormalizedText& text) const override {
    size_t begin = 0, end = text.text.size();
    for (size_t next = 0; left_ && begin < end && IsWhitespace(NextCodePoint(text.text, next));) begin = next;
    for (size_t next = end; right_ && end > begin && IsWhitespace(PreviousCodePoint(text.text, next));) end = next;
    text.text = text.text.substr(begin, end - begin);
    text.origin_bytes = std::min(text.origin_bytes > begin ? text.origin_bytes - begin : 0, text.text.size());
  }

 private:
  bool left_, right_;
};

// `at_start_only`: not to the text behind an added token.
class Prepend : public Normalizer {
 public:
  Prepend(std::string prefix, bool at_start_only) : prefix_(std::move(prefix)), at_start_only_(at_start_only) {}
  void Apply(NormalizedText& text) const override {
    if (text.text.empty() || (at_start_only_ && !text.is_start)) return;
    CheckNormalizedSize(text.text.size() + prefix_.size());
    text.text.insert(0, prefix_);
    if (text.origin_bytes > 0) text.origin_bytes += prefix_.size();
  }

 private:
  std::string prefix_;
  bool at_start_only_;
};

class Replace : public Normalizer {
 public:
  Replace(Regex regex, std::string content) : regex_(std::move(regex)), content_(std::move(content)) {}
  void Apply(NormalizedText& text) const override {
    std::string out;
    size_t last = 0;
    size_t origin = text.origin_bytes;
    bool has_match = false;
    regex_.ForEachMatch(text.text, [&](size_t begin, size_t end) {
      CheckNormalizedSize(out.size() + text.text.size() + content_.size());
      out.append(text.text, last, begin - last);
      // New text belongs to the last byte of what it replaces.
      if (text.origin_bytes > 0 && end <= text.origin_bytes)
        origin = out.size() + content_.size() + (text.origin_bytes - end);
      out.append(content_);
      if (text.origin_bytes > 0 && begin < text.origin_bytes && end > text.origin_bytes) origin = begin;
      last = end;
      has_match = true;
    });
    if (!has_match) return;
    out.append(text.text, last);
    text.text = std::move(out);
    text.origin_bytes = std::min(origin, text.text.size());
  }

 private:
  Regex regex_;
  std::string content_;
};

class ByteLevel : public Normalizer {
 public:
  void Apply(NormalizedText& text) const override {
    const size_t origin = EncodeBytes(std::string_view(text.text).substr(0, text.origin_bytes)).size();
    text.text = EncodeBytes(text.text);
    CheckNormalizedSize(text.text.size());
    text.origin_bytes = origin;
  }
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const Normalizer>> parts) : parts_(std::move(parts)) {}
  void Apply(NormalizedText& text) const override {
    for (const auto& part : parts_) part->Apply(text);
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> parts_;
};

}  // namespace

void CheckNormalizedSize(size_t bytes) {
  if (bytes > kMaxNormalizedBytes) {
    Fail(ErrorCode::kResourceExhausted, "[tokenizer] normalised text has ", bytes, " bytes, the limit is ",
         kMaxNormalizedBytes);
  }
}

Regex PatternFromJson(const nlohmann::json& json, const std::string& source) {
  const Fields fields(json, "\"pattern\" of " + source);
  if (fields.Has("String")) return Regex::Literal(fields.String("String"), source);
  return Regex(fields.String("Regex"), source);
}

std::unique_ptr<const Normalizer> MakeNormalizer(const nlohmann::json& json, const std::string& source) {
  const Fields fields(json, "the normalizer of " + source);
  const std::string& type = fields.Type();
  if (type == "BertNormalizer") return std::make_unique<Bert>(fields);
  if (type == "NFC") return std::make_unique<Unicode>(NormalForm::kNfc);
  if (type == "NFD") return std::make_unique<Unicode>(NormalForm::kNfd);
  if (type == "NFKC") return std::make_unique<Unicode>(NormalForm::kNfkc);
  if (type == "NFKD") return std::make_unique<Unicode>(NormalForm::kNfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>(fields.Bool("knows_sigma", false));
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "Strip") return std::make_unique<Strip>(fields.Bool("strip_left"), fields.Bool("strip_right"));
  if (type == "Prepend")
    return std::make_unique<Prepend>(fields.String("prepend"), fields.Bool("at_start_only", false));
  if (type == "Replace")
    return std::make_unique<Replace>(PatternFromJson(fields.At("pattern"), source), fields.String("content"));
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Precompiled") {
    if (fields.Has("charsmap") && fields.At("charsmap").is_binary()) {  // from a SentencePiece model, not from JSON
      const auto& bytes = fields.At("charsmap").get_binary();
      return MakePrecompiled(std::string(bytes.begin(), bytes.end()), source, fields.Bool("takes_longest"));
    }
    return MakePrecompiled(DecodeBase64(fields.String("precompiled_charsmap"), fields.where()), source, false);
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<const Normalizer>> parts;
    for (const auto& part : fields.List("normalizers")) parts.push_back(MakeNormalizer(part, source));
    return std::make_unique<Sequence>(std::move(parts));
  }
  fields.RefuseType();
}

}  // namespace fovea::text
