// A vocabulary: token text <-> id. All text lies in one block and the index is one array, so that 30,000 tokens load in
// a millisecond. It is filled while loading and only read afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::text {

class Vocabulary {
 public:
  // A token that is there already gets the new id. Throws kCorruptData for an id outside [0, Tokenizer::kMaxTokens),
  // kResourceExhausted for too many or too long tokens.
  void Add(std::string_view token, int64_t id, const std::string& source);

  std::optional<int32_t> Find(std::string_view token) const {
    const int32_t id = Lookup(token);
    return id < 0 ? std::nullopt : std::optional<int32_t>(id);
  }
  int32_t Lookup(std::string_view token) const;  // -1 when it is not there
  // The token with this id, the last one added when several have it; nullopt when there is none.
  std::optional<std::string_view> Token(int64_t id) const;

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }  // distinct tokens
  int64_t max_id() const { return static_cast<int64_t>(id_entry_.size()) - 1; }
  size_t longest_bytes() const { return longest_bytes_; }

 private:
  struct Entry {
    uint32_t begin, length;
    int32_t id;
    uint32_t hash;
  };
  static uint32_t Hash(std::string_view token);
  std::string_view TextOf(const Entry& entry) const {
    return std::string_view(text_).substr(entry.begin, entry.length);
  }
  size_t Slot(std::string_view token, uint32_t hash) const;
  void Grow();

  std::string text_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;     // entry + 1, 0 for empty; a power of two
  std::vector<uint32_t> id_entry_;  // entry + 1 by id
  size_t longest_bytes_ = 0;
};

}  // namespace fovea::text
