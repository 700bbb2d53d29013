#include "text/pre_tokenizer.h"

#include <functional>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/normalizer.h"
#include "text/regex.h"
#include "text/spec.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using Piece = Pieces::Piece;

// What happens to the delimiters of a split.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior BehaviorFromJson(const Fields& fields) {
  const std::string& name = fields.String("behavior");
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  Fail(ErrorCode::kUnimplemented, "[tokenizer] ", fields.where(), " has the behavior ", base::PrintableUtf8(name),
       ", which is not supported");
}

struct Span {
  size_t begin, end;
  bool is_match;
};

// Applies the behaviour to spans that cover a text.
void MergeSpans(std::vector<Span>& spans, Behavior behavior) {
  if (behavior == Behavior::kRemoved) {
    std::erase_if(spans, [](const Span& span) { return span.is_match; });
    return;
  }
  if (behavior == Behavior::kIsolated) return;
  std::vector<Span> merged;
  bool previous = false;
  if (behavior == Behavior::kMergedWithNext) {
    for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
      if (span->is_match && !previous && !merged.empty()) {
        merged.back().begin = span->begin;
      } else {
        merged.push_back(*span);
      }
      previous = span->is_match;
    }
    spans.assign(merged.rbegin(), merged.rend());
    return;
  }
  for (const Span& span : spans) {
    const bool joins = behavior == Behavior::kContiguous ? span.is_match == previous : span.is_match && !previous;
    if (joins && !merged.empty()) {
      merged.back().end = span.end;
    } else {
      merged.push_back(span);
    }
    previous = span.is_match;
  }
  spans = std::move(merged);
}

void AppendSlice(std::vector<Piece>& out, const Piece& piece, size_t begin, size_t end) {
  if (begin == end) return;
  const size_t origin = piece.origin_bytes > begin ? piece.origin_bytes - begin : 0;
  out.push_back({static_cast<uint32_t>(piece.begin + begin), static_cast<uint32_t>(piece.begin + end),
                 static_cast<uint32_t>(std::min(origin, end - begin)), -1});
}

// Cuts every piece that is no token. `find(text, spans)` fills spans that cover the text.
template <typename Find>
void SplitPieces(Pieces& pieces, Behavior behavior, Find&& find) {
  std::vector<Piece> out;
  out.reserve(pieces.list.size() * 2);
  std::vector<Span> spans;
  for (const Piece& piece : pieces.list) {
    if (piece.token >= 0) {
      out.push_back(piece);
      continue;
    }
    spans.clear();
    find(pieces.TextOf(piece), spans);
    MergeSpans(spans, behavior);
    for (const Span& span : spans) AppendSlice(out, piece, span.begin, span.end);
  }
  pieces.list = std::move(out);
}

// Spans of single characters for which `is_match` holds and of the text between them.
template <typename IsMatch>
void FindCharacters(std::string_view text, std::vector<Span>& spans, IsMatch&& is_match) {
  size_t last = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (!is_match(NextCodePoint(text, at))) continue;
    if (last < begin) spans.push_back({last, begin, false});
    spans.push_back({begin, at, true});
    last = at;
  }
  if (last < text.size()) spans.push_back({last, text.size(), false});
}

void FindMatches(const Regex& regex, std::string_view text, std::vector<Span>& spans, bool is_inverted) {
  size_t last = 0;
  regex.ForEachMatch(text, [&](size_t begin, size_t end) {
    if (last < begin) spans.push_back({last, begin, is_inverted});
    spans.push_back({begin, end, !is_inverted});
    last = end;
  });
  if (last < text.size()) spans.push_back({last, text.size(), is_inverted});
}

// Rebuilds the text: `edit(piece, text, out)` appends what becomes of a piece and returns its new origin_bytes.
template <typename Edit>
void EditPieces(Pieces& pieces, Edit&& edit) {
  std::string text;
  text.reserve(pieces.text.size() + pieces.text.size() / 2);
  for (Piece& piece : pieces.list) {
    const auto begin = static_cast<uint32_t>(text.size());
    if (piece.token >= 0) {
      text.append(pieces.TextOf(piece));
    } else {
      piece.origin_bytes = static_cast<uint32_t>(edit(piece, pieces.TextOf(piece), text));
    }
    CheckNormalizedSize(text.size());
    piece.begin = begin;
    piece.end = static_cast<uint32_t>(text.size());
  }
  pieces.text = std::move(text);
}

// Splits at characters that a function picks.
class CharacterSplit : public PreTokenizer {
 public:
  CharacterSplit(std::function<bool(char32_t)> is_match, Behavior behavior)
      : is_match_(std::move(is_match)), behavior_(behavior) {}
  void Apply(Pieces& pieces) const override {
    SplitPieces(pieces, behavior_,
                [&](std::string_view text, std::vector<Span>& spans) { FindCharacters(text, spans, is_match_); });
  }

 private:
  std::function<bool(char32_t)> is_match_;
  Behavior behavior_;
};

class Bert : public PreTokenizer {
 public:
  void Apply(Pieces& pieces) const override {
    SplitPieces(pieces, Behavior::kRemoved,
                [](std::string_view text, std::vector<Span>& spans) { FindCharacters(text, spans, IsWhitespace); });
    SplitPieces(pieces, Behavior::kIsolated,
                [](std::string_view text, std::vector<Span>& spans) { FindCharacters(text, spans, IsPunctuation); });
  }
};

// Words (\w+) and runs of other characters ([^\w\s]+).
class Whitespace : public PreTokenizer {
 public:
  void Apply(Pieces& pieces) const override {
    SplitPieces(pieces, Behavior::kRemoved, [](std::string_view text, std::vector<Span>& spans) {
      const auto kind = [](char32_t c) { return IsWordCharacter(c) ? 1 : IsWhitespace(c) ? 0 : 2; };
      for (size_t at = 0; at < text.size();) {
        const size_t begin = at;
        const int first = kind(NextCodePoint(text, at));
        for (size_t next = at; next < text.size() && kind(NextCodePoint(text, next)) == first;) at = next;
        spans.push_back({begin, at, first == 0});
      }
    });
  }
};

class Split : public PreTokenizer {
 public:
  Split(Regex regex, Behavior behavior, bool is_inverted)
      : regex_(std::move(regex)), behavior_(behavior), is_inverted_(is_inverted) {}
  void Apply(Pieces& pieces) const override {
    SplitPieces(pieces, behavior_, [&](std::string_view text, std::vector<Span>& spans) {
      FindMatches(regex_, text, spans, is_inverted_);
    });
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool is_inverted_;
};

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool adds_space, bool uses_regex, const std::string& source) : adds_space_(adds_space) {
    // GPT-2's words; see
    // https://github.com/openai/gpt-2/blob/9b63575ef42771a015060c964af2c3da4cf7c8ab/src/encoder.py#L53
    if (uses_regex)
      words_ = std::make_unique<Regex>(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                                       source);
  }
  void Apply(Pieces& pieces) const override {
    if (adds_space_) {
      EditPieces(pieces, [](const Piece& piece, std::string_view text, std::string& out) -> size_t {
        const bool adds = !text.starts_with(' ');
        if (adds) out += ' ';
        out.append(text);
        return piece.origin_bytes > 0 && adds ? piece.origin_bytes + 1 : piece.origin_bytes;
      });
    }
    if (words_ != nullptr) {
      SplitPieces(pieces, Behavior::kIsolated,
                  [&](std::string_view text, std::vector<Span>& spans) { FindMatches(*words_, text, spans, false); });
    }
    EditPieces(pieces, [](const Piece& piece, std::string_view text, std::string& out) -> size_t {
      AppendEncodedBytes(out, text);
      return piece.origin_bytes > 0 ? EncodeBytes(text.substr(0, piece.origin_bytes)).size() : 0;
    });
  }

 private:
  bool adds_space_;
  std::unique_ptr<const Regex> words_;
};

class Metaspace : public PreTokenizer {
 public:
  enum class Scheme { kFirst, kNever, kAlways };
  Metaspace(std::string replacement, Scheme scheme, bool splits)
      : replacement_(std::move(replacement)), scheme_(scheme), splits_(splits) {
    size_t at = 0;
    delimiter_ = NextCodePoint(replacement_, at);
  }
  void Apply(Pieces& pieces) const override {
    EditPieces(pieces, [&](const Piece& piece, std::string_view text, std::string& out) -> size_t {
      const size_t begin = out.size();
      const bool starts = text.starts_with(' ') || text.starts_with(replacement_);
      size_t origin = 0;
      if (!starts && (scheme_ == Scheme::kAlways || (scheme_ == Scheme::kFirst && piece.origin_bytes > 0)))
        out.append(replacement_);
      for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == ' ') {
          out.append(replacement_);
        } else {
          out += text[i];
        }
        if (i + 1 == piece.origin_bytes) origin = out.size() - begin;
      }
      return origin;
    });
    if (!splits_) return;
    SplitPieces(pieces, Behavior::kMergedWithNext, [&](std::string_view text, std::vector<Span>& spans) {
      FindCharacters(text, spans, [&](char32_t c) { return c == delimiter_; });
    });
  }

 private:
  std::string replacement_;
  char32_t delimiter_;
  Scheme scheme_;
  bool splits_;
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void Apply(Pieces& pieces) const override {
    for (const auto& part : parts_) part->Apply(pieces);
  }

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> parts_;
};

std::unique_ptr<const PreTokenizer> MakeMetaspace(const Fields& fields) {
  const std::string scheme = fields.String("prepend_scheme", "always");
  Metaspace::Scheme parsed;
  if (scheme == "always") {
    parsed = Metaspace::Scheme::kAlways;
  } else if (scheme == "first") {
    parsed = Metaspace::Scheme::kFirst;
  } else if (scheme == "never") {
    parsed = Metaspace::Scheme::kNever;
  } else {
    Fail(ErrorCode::kUnimplemented, "[tokenizer] ", fields.where(), " has the prepend_scheme ",
         base::PrintableUtf8(scheme), ", which is not supported");
  }
  if (!fields.Bool("add_prefix_space", true)) {
    RequireData(!fields.Has("prepend_scheme") || parsed == Metaspace::Scheme::kNever, "[tokenizer] ", fields.where(),
                ": add_prefix_space and prepend_scheme contradict each other");
    parsed = Metaspace::Scheme::kNever;
  }
  return std::make_unique<Metaspace>(fields.Character("replacement"), parsed, fields.Bool("split", true));
}

}  // namespace

void Pieces::Append(std::string_view piece, size_t origin_bytes, int32_t token) {
  const auto begin = static_cast<uint32_t>(text.size());
  text.append(piece);
  CheckNormalizedSize(text.size());
  list.push_back({begin, static_cast<uint32_t>(text.size()), static_cast<uint32_t>(origin_bytes), token});
}

std::unique_ptr<const PreTokenizer> MakePreTokenizer(const nlohmann::json& json, const std::string& source) {
  const Fields fields(json, "the pre_tokenizer of " + source);
  const std::string& type = fields.Type();
  if (type == "BertPreTokenizer") return std::make_unique<Bert>();
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<CharacterSplit>(IsWhitespace, Behavior::kRemoved);
  if (type == "ByteLevel") {
    return std::make_unique<ByteLevel>(fields.Bool("add_prefix_space"), fields.Bool("use_regex", true), source);
  }
  if (type == "Metaspace") return MakeMetaspace(fields);
  if (type == "Punctuation") {
    return std::make_unique<CharacterSplit>(IsPunctuation,
                                            fields.Has("behavior") ? BehaviorFromJson(fields) : Behavior::kIsolated);
  }
  if (type == "Digits") {
    return std::make_unique<CharacterSplit>(
        IsNumeric, fields.Bool("individual_digits") ? Behavior::kIsolated : Behavior::kContiguous);
  }
  if (type == "CharDelimiterSplit") {
    size_t at = 0;
    const char32_t delimiter = NextCodePoint(fields.Character("delimiter"), at);
    return std::make_unique<CharacterSplit>([delimiter](char32_t c) { return c == delimiter; }, Behavior::kRemoved);
  }
  if (type == "Split") {
    return std::make_unique<Split>(PatternFromJson(fields.At("pattern"), source), BehaviorFromJson(fields),
                                   fields.Bool("invert"));
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<const PreTokenizer>> parts;
    for (const auto& part : fields.List("pretokenizers")) parts.push_back(MakePreTokenizer(part, source));
    return std::make_unique<Sequence>(std::move(parts));
  }
  fields.RefuseType();
}

}  // namespace fovea::text
