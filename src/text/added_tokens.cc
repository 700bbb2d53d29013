#include "text/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "text/spec.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

constexpr size_t kMaxAddedTokens = 1 << 18;
constexpr size_t kMaxTokenBytes = 16 << 10;

// Whether a token that is not special still steers the model: markup in brackets, but no HTML.
bool LooksLikeControl(std::string_view token) {
  if (token.size() < 3 || !((token[0] == '<' && token.back() == '>') || (token[0] == '[' && token.back() == ']')))
    return false;
  std::string_view name = token.substr(1, token.size() - 2);
  if (token[0] == '<' && name.starts_with('/')) name.remove_prefix(1);
  constexpr std::string_view kPrograms[] = {"think", "image", "video", "audio", "img", "tool",
                                            "bos",   "eos",   "pad",   "unk",   "s"};
  const bool is_word =
      std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
  return token[0] == '[' || !is_word ||
         std::find(std::begin(kPrograms), std::end(kPrograms), name) != std::end(kPrograms);
}

}  // namespace

void AddedTokens::Matcher::Add(std::string_view pattern, int32_t id) {
  if (pattern.empty()) return;
  uint32_t node = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<uint8_t>(c);
    auto& children = nodes_[node].children;
    const auto place = std::lower_bound(children.begin(), children.end(), std::pair<uint8_t, uint32_t>(byte, 0));
    if (place != children.end() && place->first == byte) {
      node = place->second;
    } else {
      const auto child = static_cast<uint32_t>(nodes_.size());
      children.insert(place, {byte, child});
      if (node == 0) first_[byte] = child;
      nodes_.emplace_back();
      node = child;
    }
  }
  nodes_[node].id = id;
}

template <typename Allows>
int32_t AddedTokens::Matcher::MatchAt(std::string_view text, size_t begin, size_t& end, Allows&& allows) const {
  uint32_t node = first_[static_cast<uint8_t>(text[begin])];
  int32_t found = -1;
  for (size_t at = begin + 1; node != 0; ++at) {
    if (nodes_[node].id >= 0 && allows(nodes_[node].id, at)) {
      found = nodes_[node].id;
      end = at;
    }
    if (at >= text.size()) break;
    const auto byte = static_cast<uint8_t>(text[at]);
    const auto& children = nodes_[node].children;
    const auto place = std::lower_bound(children.begin(), children.end(), std::pair<uint8_t, uint32_t>(byte, 0));
    node = place != children.end() && place->first == byte ? place->second : 0;
  }
  return found;
}

template <typename Allows, typename OnToken, typename OnText>
void AddedTokens::Scan(const Matcher& matcher, std::string_view text, Allows&& allows, OnToken&& token,
                       OnText&& between) const {
  size_t done = 0;  // everything before is handed out
  if (!matcher.is_empty()) {
    for (size_t at = 0; at < text.size();) {
      size_t end = 0;
      const int32_t id =
          matcher.MatchAt(text, at, end, [&](int32_t found, size_t to) { return allows(found, at, to); });
      if (id < 0) {
        ++at;
        continue;
      }
      size_t begin = at;
      at = end;
      const AddedToken& added = by_id_.at(id);
      if (added.single_word) {
        size_t before = begin, behind = end;
        if (begin > 0 && IsWordCharacter(PreviousCodePoint(text, before))) continue;
        if (end < text.size() && IsWordCharacter(NextCodePoint(text, behind))) continue;
      }
      if (added.lstrip) {
        for (size_t next = begin; begin > done && IsWhitespace(PreviousCodePoint(text, next));) begin = next;
        begin = std::max(begin, done);
      }
      if (added.rstrip) {
        for (size_t next = end; end < text.size() && IsWhitespace(NextCodePoint(text, next));) end = next;
      }
      if (done < begin) between(done, begin);
      token(begin, end, id);
      done = end;
    }
  }
  if (done < text.size()) between(done, text.size());
}

void AddedTokens::Add(const nlohmann::json& list, const Model& model, const Normalizer* normalizer,
                      const std::string& source) {
  RequireData(list.is_array(), "[tokenizer] expected \"added_tokens\" of ", source, " to be a list");
  if (list.size() > kMaxAddedTokens) {
    Fail(ErrorCode::kResourceExhausted, "[tokenizer] ", source, " has ", list.size(), " added tokens, the limit is ",
         kMaxAddedTokens);
  }
  int64_t next_id = model.vocab_size();
  if (!by_id_.empty() && by_id_.rbegin()->first >= next_id) next_id = by_id_.rbegin()->first + 1;
  for (const auto& item : list) {
    const Fields fields(item, "an added token of " + source);
    AddedToken token{.content = fields.String("content"),
                     .single_word = fields.Bool("single_word"),
                     .lstrip = fields.Bool("lstrip"),
                     .rstrip = fields.Bool("rstrip"),
                     .normalized = fields.Bool("normalized"),
                     .special = fields.Bool("special")};
    if (token.content.empty()) continue;
    RequireData(token.content.size() <= kMaxTokenBytes, "[tokenizer] ", source, ": an added token has ",
                token.content.size(), " bytes, the limit is ", kMaxTokenBytes);
    int64_t id = Find(token.content).value_or(model.vocabulary().Lookup(token.content));
    if (id < 0) id = next_id++;
    RequireData(id < Tokenizer::kMaxTokens, "[tokenizer] ", source, ": expected ids below ", Tokenizer::kMaxTokens);
    token.pattern = token.content;
    if (token.normalized && normalizer != nullptr) {
      NormalizedText text{token.content, 0};
      normalizer->Apply(text);
      token.pattern = std::move(text.text);
    }
    ids_[token.content] = id;
    if (token.special) special_.insert(token.content);
    if (token.special || LooksLikeControl(token.content)) control_.Add(id);
    by_id_[id] = std::move(token);
  }
  raw_ = Matcher();
  normalized_ = Matcher();
  for (const auto& [id, token] : by_id_)
    (token.normalized ? normalized_ : raw_).Add(token.pattern, static_cast<int32_t>(id));
}

namespace {

// The part of `control` that holds `at`, or the next one behind it.
AddedTokens::Parts::iterator PartAt(AddedTokens::Parts control, size_t at) {
  return std::partition_point(control.begin(), control.end(), [&](const auto& part) { return part.second <= at; });
}

bool IsWithin(AddedTokens::Parts control, size_t begin, size_t end) {
  const auto part = PartAt(control, begin);
  return part != control.end() && part->first <= begin && end <= part->second;
}

}  // namespace

void AddedTokens::AppendNormalized(std::string_view text, bool is_start, bool may_control, const Normalizer* normalizer,
                                   Pieces& pieces) const {
  NormalizedText part{std::string(text), is_start && !text.empty() ? Utf8Length(text[0]) : 0, is_start};
  if (normalizer != nullptr) normalizer->Apply(part);
  const auto origin = [&](size_t from, size_t to) {
    return std::min(part.origin_bytes > from ? part.origin_bytes - from : 0, to - from);
  };
  Scan(
      normalized_, part.text, [&](int32_t id, size_t, size_t) { return may_control || !control_.Has(id); },
      [&](size_t from, size_t to, int32_t id) {
        pieces.Append(std::string_view(part.text).substr(from, to - from), 0, id);
      },
      [&](size_t from, size_t to) {
        pieces.Append(std::string_view(part.text).substr(from, to - from), origin(from, to), -1);
      });
}

int64_t AddedTokens::CountControl(std::string_view text, const Normalizer* normalizer) const {
  Pieces pieces;
  AppendNormalized(text, false, true, normalizer, pieces);
  return std::count_if(pieces.list.begin(), pieces.list.end(),
                       [&](const Pieces::Piece& piece) { return control_.Has(piece.token); });
}

Pieces AddedTokens::Extract(std::string_view text, const Normalizer* normalizer, std::optional<Parts> control) const {
  Pieces pieces;
  pieces.text.reserve(text.size() + 16);
  // Tokens that are searched in normalised text, where places are lost: text that mixes both kinds is normalised as one
  // only when that finds the control tokens of its control parts and no others.
  const auto add_text = [&](size_t begin, size_t end) {
    const auto whole = text.substr(begin, end - begin);
    const bool is_mixed = control.has_value() && !normalized_.is_empty() && !IsWithin(*control, begin, end);
    if (!is_mixed) return AppendNormalized(whole, begin == 0, true, normalizer, pieces);
    int64_t expected = 0, foreign = 0;
    const auto for_each_part = [&](auto&& visit) {
      for (size_t at = begin, stop; at < end; at = stop) {
        const auto part = PartAt(*control, at);
        const bool is_inside = part != control->end() && part->first <= at;
        stop = std::min(end, part == control->end() ? end : is_inside ? part->second : part->first);
        visit(at, text.substr(at, stop - at), is_inside);
      }
    };
    for_each_part([&](size_t, std::string_view part, bool is_inside) {
      (is_inside ? expected : foreign) += CountControl(part, normalizer);
    });
    if (foreign == 0 && CountControl(whole, normalizer) == expected)
      return AppendNormalized(whole, begin == 0, true, normalizer, pieces);
    for_each_part([&](size_t at, std::string_view part, bool is_inside) {
      AppendNormalized(part, at == 0, is_inside, normalizer, pieces);
    });
  };
  Scan(
      raw_, text,
      [&](int32_t id, size_t begin, size_t end) {
        return !control.has_value() || !control_.Has(id) || IsWithin(*control, begin, end);
      },
      [&](size_t begin, size_t end, int32_t id) { pieces.Append(text.substr(begin, end - begin), 0, id); }, add_text);
  return pieces;
}

std::optional<int64_t> AddedTokens::Find(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional<int64_t>(found->second);
}

const AddedToken* AddedTokens::ById(int64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

int64_t AddedTokens::CountBeyond(const Model& model) const {
  return std::count_if(ids_.begin(), ids_.end(),
                       [&](const auto& item) { return model.vocabulary().Lookup(item.first) < 0; });
}

}  // namespace fovea::text
