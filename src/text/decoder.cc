#include "text/decoder.h"

#include "base/error.h"
#include "text/byte_level.h"
#include "text/normalizer.h"
#include "text/regex.h"
#include "text/spec.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using Tokens = std::vector<std::string>;

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty() || text.find(from) == std::string::npos) return;
  std::string out;
  size_t last = 0;
  for (size_t at; (at = text.find(from, last)) != std::string::npos; last = at + from.size())
    out.append(text, last, at - last).append(to);
  text = out.append(text, last);
}

class WordPiece : public Decoder {
 public:
  WordPiece(std::string prefix, bool cleans) : prefix_(std::move(prefix)), cleans_(cleans) {}
  Tokens Apply(Tokens tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) {
        if (tokens[i].starts_with(prefix_)) {
          tokens[i].erase(0, prefix_.size());
        } else {
          tokens[i].insert(0, " ");
        }
      }
      if (cleans_) Clean(tokens[i]);
    }
    return tokens;
  }

 private:
  static void Clean(std::string& token) {
    constexpr std::pair<std::string_view, std::string_view> kRules[] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [from, to] : kRules) ReplaceAll(token, from, to);
  }
  std::string prefix_;
  bool cleans_;
};

class ByteLevel : public Decoder {
 public:
  Tokens Apply(Tokens tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) {
      const size_t begin = bytes.size();
      for (size_t at = 0; at < token.size();) {
        const int byte = ByteOf(NextCodePoint(token, at));
        if (byte < 0) {  // not of this alphabet: the token stands for itself
          bytes.resize(begin);
          bytes.append(token);
          break;
        }
        bytes += static_cast<char>(byte);
      }
    }
    return {ReplaceInvalidUtf8(bytes)};
  }
};

class Metaspace : public Decoder {
 public:
  Metaspace(std::string replacement, bool drops_first)
      : replacement_(std::move(replacement)), drops_first_(drops_first) {}
  Tokens Apply(Tokens tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) ReplaceAll(tokens[i], replacement_, i == 0 && drops_first_ ? "" : " ");
    return tokens;
  }

 private:
  std::string replacement_;
  bool drops_first_;
};

class BpeSuffix : public Decoder {
 public:
  explicit BpeSuffix(std::string suffix) : suffix_(std::move(suffix)) {}
  Tokens Apply(Tokens tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) ReplaceAll(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
    return tokens;
  }

 private:
  std::string suffix_;
};

class Replace : public Decoder {
 public:
  Replace(Regex regex, std::string content) : regex_(std::move(regex)), content_(std::move(content)) {}
  Tokens Apply(Tokens tokens) const override {
    for (std::string& token : tokens) {
      if (token.empty()) continue;
      std::string out;
      size_t last = 0;
      regex_.ForEachMatch(token, [&](size_t begin, size_t end) {
        CheckNormalizedSize(out.size() + content_.size() + token.size());
        out.append(token, last, begin - last).append(content_);
        last = end;
      });
      token = out.append(token, last);
    }
    return tokens;
  }

 private:
  Regex regex_;
  std::string content_;
};

class Fuse : public Decoder {
 public:
  Tokens Apply(Tokens tokens) const override {
    std::string text;
    for (const std::string& token : tokens) text += token;
    return {text};
  }
};

class Strip : public Decoder {
 public:
  Strip(std::string content, int64_t start, int64_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  Tokens Apply(Tokens tokens) const override {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start_ && rest.starts_with(content_); ++i) rest.remove_prefix(content_.size());
      for (int64_t i = 0; i < stop_ && rest.ends_with(content_); ++i) rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
    return tokens;
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

// <0x41> tokens become bytes; a run that is not UTF-8 becomes one U+FFFD for each byte.
class ByteFallback : public Decoder {
 public:
  Tokens Apply(Tokens tokens) const override {
    Tokens out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (IsValidUtf8(bytes)) {
        out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const int byte = ByteIn(token); byte >= 0) {
        bytes += static_cast<char>(byte);
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    return out;
  }

 private:
  static int ByteIn(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
    int byte = 0;
    for (const char c : token.substr(3, 2)) {
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return -1;
      byte = byte * 16 + digit;
    }
    return byte;
  }
};

class Sequence : public Decoder {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const Decoder>> parts) : parts_(std::move(parts)) {}
  Tokens Apply(Tokens tokens) const override {
    for (const auto& part : parts_) tokens = part->Apply(std::move(tokens));
    return tokens;
  }

 private:
  std::vector<std::unique_ptr<const Decoder>> parts_;
};

}  // namespace

std::unique_ptr<const Decoder> MakeDecoder(const nlohmann::json& json, const std::string& source) {
  const Fields fields(json, "the decoder of " + source);
  const std::string& type = fields.Type();
  if (type == "WordPiece") return std::make_unique<WordPiece>(fields.String("prefix"), fields.Bool("cleanup"));
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Metaspace") {
    const bool drops_first =
        fields.String("prepend_scheme", "always") != "never" && fields.Bool("add_prefix_space", true);
    return std::make_unique<Metaspace>(fields.Character("replacement"), drops_first);
  }
  if (type == "BPEDecoder") return std::make_unique<BpeSuffix>(fields.String("suffix"));
  if (type == "Replace")
    return std::make_unique<Replace>(PatternFromJson(fields.At("pattern"), source), fields.String("content"));
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Strip")
    return std::make_unique<Strip>(fields.Character("content"), fields.Integer("start"), fields.Integer("stop"));
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Sequence") {
    std::vector<std::unique_ptr<const Decoder>> parts;
    for (const auto& part : fields.List("decoders")) parts.push_back(MakeDecoder(part, source));
    return std::make_unique<Sequence>(std::move(parts));
  }
  fields.RefuseType();
}

}  // namespace fovea::text
