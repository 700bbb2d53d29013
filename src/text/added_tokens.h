// Added tokens: strings that are one token wherever they stand in the text, found before anything else looks at it.
// Those that are not "normalized" are searched in the raw text, the others in the normalised text between them.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/model.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace fovea::text {

struct AddedToken {
  std::string content;
  bool single_word = false, lstrip = false, rstrip = false, normalized = true, special = false;
  std::string pattern;  // what is searched: the content, normalised where that is asked for
};

class AddedTokens {
 public:
  // Adds the list "added_tokens" in order. A token that the model knows has its id there, a new one gets the next free
  // id, whatever the file says (as in the reference). Throws kCorruptData.
  void Add(const nlohmann::json& list, const Model& model, const Normalizer* normalizer, const std::string& source);

  // Parts [begin,end) of a text, in order and apart from each other.
  using Parts = std::span<const std::pair<size_t, size_t>>;
  // Cuts `text` (valid UTF-8) into added tokens and normalised pieces. Control tokens are found within the parts
  // `control` only; without it in the whole text.
  Pieces Extract(std::string_view text, const Normalizer* normalizer, std::optional<Parts> control = {}) const;
  // Tokens that steer the model: all special ones, and others that look like markup for programs (<tool_call>, <think>)
  // and not like white space, words or HTML.
  const TokenSet& control_tokens() const { return control_; }

  std::optional<int64_t> Find(std::string_view token) const;
  const AddedToken* ById(int64_t id) const;
  bool IsSpecial(std::string_view token) const { return special_.contains(token); }
  int64_t max_id() const { return by_id_.empty() ? -1 : by_id_.rbegin()->first; }
  int64_t CountBeyond(const Model& model) const;  // tokens that the model does not have

 private:
  // Finds the longest token that starts at the earliest place.
  class Matcher {
   public:
    void Add(std::string_view pattern, int32_t id);
    // The longest pattern at `begin`, with its end; -1 when none starts there. Patterns for which `allows(id, end)`
    // does not hold are passed over.
    template <typename Allows>
    int32_t MatchAt(std::string_view text, size_t begin, size_t& end, Allows&& allows) const;
    bool is_empty() const { return nodes_.size() == 1; }

   private:
    struct Node {
      std::vector<std::pair<uint8_t, uint32_t>> children;  // sorted by byte
      int32_t id = -1;
    };
    std::vector<Node> nodes_ = std::vector<Node>(1);
    std::vector<uint32_t> first_ = std::vector<uint32_t>(256, 0);  // children of the root by byte
  };
  // Calls `token(begin, end, id)` and `between(begin, end)` in order, covering the text. `allows(id, begin, end)`.
  template <typename Allows, typename OnToken, typename OnText>
  void Scan(const Matcher& matcher, std::string_view text, Allows&& allows, OnToken&& token, OnText&& between) const;

  // Normalises `text` and cuts the tokens out that are searched there.
  void AppendNormalized(std::string_view text, bool is_start, bool may_control, const Normalizer* normalizer,
                        Pieces& pieces) const;
  // Control tokens in the normalised form of `text`.
  int64_t CountControl(std::string_view text, const Normalizer* normalizer) const;

  std::map<int64_t, AddedToken> by_id_;
  std::map<std::string, int64_t, std::less<>> ids_;
  std::set<std::string, std::less<>> special_;
  TokenSet control_;
  Matcher raw_, normalized_;
};

}  // namespace fovea::text
