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

int32_t AddedTokens::Matcher::MatchAt(std::string_view text, size_t begin, size_t& end) const {
  uint32_t node = first_[static_cast<uint8_t>(text[begin])];
  int32_t found = -1;
  for (size_t at = begin + 1; node != 0; ++at) {
    if (nodes_[node].id >= 0) {
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

template <typename OnToken, typename OnText>
void AddedTokens::Scan(const Matcher& matcher, std::string_view text, OnToken&& token, OnText&& between) const {
  size_t done = 0;  // everything before is handed out
  if (!matcher.is_empty()) {
    for (size_t at = 0; at < text.size();) {
      size_t end = 0;
      const int32_t id = matcher.MatchAt(text, at, end);
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
    by_id_[id] = std::move(token);
  }
  raw_ = Matcher();
  normalized_ = Matcher();
  for (const auto& [id, token] : by_id_)
    (token.normalized ? normalized_ : raw_).Add(token.pattern, static_cast<int32_t>(id));
}

Pieces AddedTokens::Extract(std::string_view text, const Normalizer* normalizer) const {
  Pieces pieces;
  pieces.text.reserve(text.size() + 16);
  const auto add_text = [&](size_t begin, size_t end) {
    NormalizedText part{std::string(text.substr(begin, end - begin)), begin == 0 && end > 0 ? Utf8Length(text[0]) : 0};
    if (normalizer != nullptr) normalizer->Apply(part);
    const auto origin = [&](size_t from, size_t to) {
      return std::min(part.origin_bytes > from ? part.origin_bytes - from : 0, to - from);
    };
    Scan(
        normalized_, part.text,
        [&](size_t from, size_t to, int32_t id) {
          pieces.Append(std::string_view(part.text).substr(from, to - from), 0, id);
        },
        [&](size_t from, size_t to) {
          pieces.Append(std::string_view(part.text).substr(from, to - from), origin(from, to), -1);
        });
  };
  Scan(
      raw_, text, [&](size_t begin, size_t end, int32_t id) { pieces.Append(text.substr(begin, end - begin), 0, id); },
      add_text);
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
