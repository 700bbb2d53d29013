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
using StagePtr = std::unique_ptr<DecoderStage>;

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty() || text.find(from) == std::string::npos) return;
  std::string out;
  size_t last = 0;
  for (size_t at; (at = text.find(from, last)) != std::string::npos; last = at + from.size())
    out.append(text, last, at - last).append(to);
  text = out.append(text, last);
}

// A stage for decoders that change each token by itself: `edit(token, is_first)`.
template <typename Edit>
class EachToken : public DecoderStage {
 public:
  explicit EachToken(Edit edit) : edit_(std::move(edit)) {}
  void Push(std::string text, bool, const Sink& out) override {
    edit_(text, is_first_);
    is_first_ = false;
    out(std::move(text), false);
  }

 private:
  Edit edit_;
  bool is_first_ = true;
};
template <typename Edit>
StagePtr MakeEachToken(bool takes_parts, Edit edit) {
  return takes_parts ? nullptr : std::make_unique<EachToken<Edit>>(std::move(edit));
}

class WordPiece : public Decoder {
 public:
  WordPiece(std::string prefix, bool cleans) : prefix_(std::move(prefix)), cleans_(cleans) {}
  Tokens Apply(Tokens tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) Edit(tokens[i], i == 0);
    return tokens;
  }
  StagePtr Stream(bool takes_parts) const override {
    return MakeEachToken(takes_parts, [this](std::string& token, bool is_first) { Edit(token, is_first); });
  }
  void ToBytes(std::string& token) const override { Edit(token, false); }

 private:
  void Edit(std::string& token, bool is_first) const {
    if (!is_first) {
      if (token.starts_with(prefix_)) {
        token.erase(0, prefix_.size());
      } else {
        token.insert(0, " ");
      }
    }
    if (cleans_) Clean(token);
  }
  static void Clean(std::string& token) {
    constexpr std::pair<std::string_view, std::string_view> kRules[] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [from, to] : kRules) ReplaceAll(token, from, to);
  }
  std::string prefix_;
  bool cleans_;
};

// Bytes at the end of `bytes` that may be the start of a character whose rest is still to come.
size_t OpenBytes(std::string_view bytes) {
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    const auto byte = static_cast<uint8_t>(bytes[bytes.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

class ByteLevel : public Decoder {
 public:
  Tokens Apply(Tokens tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) Append(token, bytes);
    return {ReplaceInvalidUtf8(bytes)};
  }
  StagePtr Stream(bool takes_parts) const override { return takes_parts ? nullptr : std::make_unique<Stage>(); }
  bool GivesParts() const override { return true; }
  void ToBytes(std::string& token) const override {
    std::string bytes;
    Append(token, bytes);
    token = std::move(bytes);
  }

 private:
  static void Append(std::string_view token, std::string& bytes) {
    const size_t begin = bytes.size();
    for (size_t at = 0; at < token.size();) {
      const int byte = ByteOf(NextCodePoint(token, at));
      if (byte < 0) {  // not of this alphabet: the token stands for itself
        bytes.resize(begin);
        bytes.append(token);
        return;
      }
      bytes += static_cast<char>(byte);
    }
  }
  class Stage : public DecoderStage {
   public:
    void Push(std::string text, bool, const Sink& out) override {
      Append(text, bytes_);
      const size_t ready = bytes_.size() - OpenBytes(bytes_);
      if (ready > 0) out(ReplaceInvalidUtf8(std::string_view(bytes_).substr(0, ready)), has_begun_);
      has_begun_ |= ready > 0;
      bytes_.erase(0, ready);
    }
    void Finish(const Sink& out) override {
      if (!bytes_.empty()) out(ReplaceInvalidUtf8(bytes_), has_begun_);
      bytes_.clear();
    }

   private:
    std::string bytes_;
    bool has_begun_ = false;
  };
};

class Metaspace : public Decoder {
 public:
  Metaspace(std::string replacement, bool drops_first)
      : replacement_(std::move(replacement)), drops_first_(drops_first) {}
  Tokens Apply(Tokens tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) Edit(tokens[i], i == 0);
    return tokens;
  }
  StagePtr Stream(bool takes_parts) const override {
    return MakeEachToken(takes_parts, [this](std::string& token, bool is_first) { Edit(token, is_first); });
  }
  void ToBytes(std::string& token) const override { Edit(token, false); }

 private:
  void Edit(std::string& token, bool is_first) const {
    ReplaceAll(token, replacement_, is_first && drops_first_ ? "" : " ");
  }
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
  StagePtr Stream(bool takes_parts) const override { return takes_parts ? nullptr : std::make_unique<Stage>(suffix_); }
  void ToBytes(std::string& token) const override { ReplaceAll(token, suffix_, " "); }

 private:
  // Holds one token back: the last one is treated otherwise.
  class Stage : public DecoderStage {
   public:
    explicit Stage(const std::string& suffix) : suffix_(suffix) {}
    void Push(std::string text, bool, const Sink& out) override {
      if (has_last_) Give(" ", out);
      last_ = std::move(text);
      has_last_ = true;
    }
    void Finish(const Sink& out) override {
      if (has_last_) Give("", out);
      has_last_ = false;
    }

   private:
    void Give(std::string_view end, const Sink& out) {
      ReplaceAll(last_, suffix_, end);
      out(std::move(last_), false);
    }
    const std::string& suffix_;
    std::string last_;
    bool has_last_ = false;
  };
  std::string suffix_;
};

class Replace : public Decoder {
 public:
  Replace(Regex regex, std::string content) : regex_(std::move(regex)), content_(std::move(content)) {}
  Tokens Apply(Tokens tokens) const override {
    for (std::string& token : tokens) ToBytes(token);
    return tokens;
  }
  StagePtr Stream(bool takes_parts) const override {
    return MakeEachToken(takes_parts, [this](std::string& token, bool) { ToBytes(token); });
  }
  void ToBytes(std::string& token) const override {
    if (token.empty()) return;
    std::string out;
    size_t last = 0;
    regex_.ForEachMatch(token, [&](size_t begin, size_t end) {
      CheckNormalizedSize(out.size() + content_.size() + token.size());
      out.append(token, last, begin - last).append(content_);
      last = end;
    });
    token = out.append(token, last);
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
  StagePtr Stream(bool) const override { return std::make_unique<Stage>(); }
  bool GivesParts() const override { return true; }

 private:
  class Stage : public DecoderStage {
   public:
    void Push(std::string text, bool, const Sink& out) override {
      out(std::move(text), has_begun_);
      has_begun_ = true;
    }

   private:
    bool has_begun_ = false;
  };
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
  StagePtr Stream(bool takes_parts) const override {
    if (takes_parts && stop_ > 0) return nullptr;
    return std::make_unique<Stage>(*this);
  }

 private:
  class Stage : public DecoderStage {
   public:
    explicit Stage(const Strip& strip) : strip_(strip) {}
    void Push(std::string text, bool continues, const Sink& out) override {
      if (!continues) left_ = strip_.start_;
      std::string_view rest = text;
      while (left_ > 0 && !rest.empty()) {
        if (!rest.starts_with(strip_.content_)) left_ = 0;
        if (left_ == 0) break;
        rest.remove_prefix(strip_.content_.size());
        --left_;
      }
      for (int64_t i = 0; i < strip_.stop_ && rest.ends_with(strip_.content_); ++i)
        rest.remove_suffix(strip_.content_.size());
      out(std::string(rest), continues);
    }

   private:
    const Strip& strip_;
    int64_t left_ = 0;
  };
  std::string content_;
  int64_t start_, stop_;
};

// <0x41> tokens become bytes; a run that is not UTF-8 becomes one U+FFFD for each byte.
class ByteFallback : public Decoder {
 public:
  Tokens Apply(Tokens tokens) const override {
    Tokens out;
    Stage stage;
    const auto add = [&](std::string text, bool) { out.push_back(std::move(text)); };
    for (std::string& token : tokens) stage.Push(std::move(token), false, add);
    stage.Finish(add);
    return out;
  }
  StagePtr Stream(bool takes_parts) const override { return takes_parts ? nullptr : std::make_unique<Stage>(); }
  void ToBytes(std::string& token) const override {
    if (const int byte = ByteIn(token); byte >= 0) token = std::string(1, static_cast<char>(byte));
  }

 private:
  class Stage : public DecoderStage {
   public:
    void Push(std::string text, bool, const Sink& out) override {
      if (const int byte = ByteIn(text); byte >= 0) {
        bytes_ += static_cast<char>(byte);
        return;
      }
      Finish(out);
      out(std::move(text), false);
    }
    void Finish(const Sink& out) override {
      const std::string bytes = std::move(bytes_);
      bytes_.clear();
      if (bytes.empty()) return;
      if (IsValidUtf8(bytes)) return out(bytes, false);
      for (size_t i = 0; i < bytes.size(); ++i) out("\xEF\xBF\xBD", false);
    }

   private:
    std::string bytes_;
  };
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

class Space : public Decoder {
 public:
  Tokens Apply(Tokens tokens) const override {
    for (size_t i = 1; i < tokens.size(); ++i) tokens[i].insert(0, " ");
    return tokens;
  }
  StagePtr Stream(bool takes_parts) const override {
    return MakeEachToken(takes_parts, [](std::string& token, bool is_first) {
      if (!is_first) token.insert(0, " ");
    });
  }
  void ToBytes(std::string& token) const override { token.insert(0, " "); }
};

// What transformers does behind the decoder of some models: a suffix of words becomes a space (CLIP), and white space
// goes at both ends of the text.
class TrimText : public Decoder {
 public:
  explicit TrimText(std::string suffix) : suffix_(std::move(suffix)) {}
  Tokens Apply(Tokens tokens) const override {
    std::string text;
    for (const std::string& token : tokens) text += token;
    ReplaceAll(text, suffix_, " ");
    size_t begin = 0, end = text.size();
    for (size_t next = 0; begin < end && IsWhitespace(NextCodePoint(text, next));) begin = next;
    for (size_t next = end; end > begin && IsWhitespace(PreviousCodePoint(text, next));) end = next;
    return {text.substr(begin, end - begin)};
  }
  StagePtr Stream(bool) const override { return std::make_unique<Stage>(suffix_); }
  bool GivesParts() const override { return true; }
  void ToBytes(std::string& token) const override { ReplaceAll(token, suffix_, " "); }

 private:
  // Holds back what may be the start of a suffix or white space at the end of the text.
  class Stage : public DecoderStage {
   public:
    explicit Stage(const std::string& suffix) : suffix_(suffix) {}
    void Push(std::string text, bool, const Sink& out) override {
      held_ += text;
      size_t open = std::min(std::max<size_t>(suffix_.size(), 1) - 1, held_.size());
      while (open > 0 && !std::string_view(held_).ends_with(std::string_view(suffix_).substr(0, open))) --open;
      std::string ready = held_.substr(0, held_.size() - open);
      ReplaceAll(ready, suffix_, " ");
      size_t end = ready.size(), begin = 0;
      for (size_t next = end; end > 0 && IsWhitespace(PreviousCodePoint(ready, next));) end = next;
      for (size_t next = 0; !has_begun_ && begin < end && IsWhitespace(NextCodePoint(ready, next));) begin = next;
      held_ = (has_begun_ || end > begin ? ready.substr(end) : "") + held_.substr(held_.size() - open);
      if (begin == end) return;
      out(ready.substr(begin, end - begin), has_begun_);
      has_begun_ = true;
    }
    void Finish(const Sink& out) override {
      size_t end = held_.size(), begin = 0;
      for (size_t next = end; end > 0 && IsWhitespace(PreviousCodePoint(held_, next));) end = next;
      for (size_t next = 0; !has_begun_ && begin < end && IsWhitespace(NextCodePoint(held_, next));) begin = next;
      if (begin < end) out(held_.substr(begin, end - begin), has_begun_);
      held_.clear();
    }

   private:
    const std::string& suffix_;
    std::string held_;
    bool has_begun_ = false;
  };
  std::string suffix_;
};

class Sequence : public Decoder {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const Decoder>> parts) : parts_(std::move(parts)) {}
  Tokens Apply(Tokens tokens) const override {
    for (const auto& part : parts_) tokens = part->Apply(std::move(tokens));
    return tokens;
  }
  StagePtr Stream(bool takes_parts) const override {
    std::vector<StagePtr> stages;
    for (const auto& part : parts_) {
      stages.push_back(part->Stream(takes_parts));
      if (stages.back() == nullptr) return nullptr;
      takes_parts |= part->GivesParts();
    }
    return std::make_unique<Stage>(std::move(stages));
  }
  bool GivesParts() const override {
    for (const auto& part : parts_) {
      if (part->GivesParts()) return true;
    }
    return false;
  }
  void ToBytes(std::string& token) const override {
    for (const auto& part : parts_) part->ToBytes(token);
  }

 private:
  class Stage : public DecoderStage {
   public:
    explicit Stage(std::vector<StagePtr> stages) : stages_(std::move(stages)) {}
    void Push(std::string text, bool continues, const Sink& out) override {
      PushFrom(0, std::move(text), continues, out);
    }
    void Finish(const Sink& out) override {
      for (size_t i = 0; i < stages_.size(); ++i) {
        stages_[i]->Finish([&](std::string text, bool continues) { PushFrom(i + 1, std::move(text), continues, out); });
      }
    }

   private:
    void PushFrom(size_t i, std::string text, bool continues, const Sink& out) {
      if (i == stages_.size()) return out(std::move(text), continues);
      stages_[i]->Push(std::move(text), continues,
                       [&](std::string next, bool more) { PushFrom(i + 1, std::move(next), more, out); });
    }
    std::vector<StagePtr> stages_;
  };
  std::vector<std::unique_ptr<const Decoder>> parts_;
};

}  // namespace

std::unique_ptr<const Decoder> MakeSpaceDecoder() { return std::make_unique<Space>(); }

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
  if (type == "TrimText") return std::make_unique<TrimText>(fields.String("suffix", ""));  // of folders only
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Sequence") {
    std::vector<std::unique_ptr<const Decoder>> parts;
    for (const auto& part : fields.List("decoders")) parts.push_back(MakeDecoder(part, source));
    return std::make_unique<Sequence>(std::move(parts));
  }
  fields.RefuseType();
}

}  // namespace fovea::text
