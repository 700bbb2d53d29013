#include "text/vocabulary.h"

#include <cstring>

#include "base/error.h"
#include "text/tokenizer.h"

namespace fovea::text {
namespace {

constexpr size_t kMaxVocabularyBytes = 256 << 20;

}  // namespace

uint32_t Vocabulary::Hash(std::string_view token) {
  // Eight bytes at a time, mixed by multiplication; the vocabulary decides the order of nothing, so any good hash will
  // do.
  uint64_t hash = 0x9E3779B97F4A7C15u ^ token.size();
  size_t at = 0;
  for (; at + 8 <= token.size(); at += 8) {
    uint64_t part;
    std::memcpy(&part, token.data() + at, 8);
    hash = (hash ^ part) * 0xFF51AFD7ED558CCDu;
    hash ^= hash >> 32;
  }
  uint64_t rest = 0;
  std::memcpy(&rest, token.data() + at, token.size() - at);
  hash = (hash ^ rest) * 0xC4CEB9FE1A85EC53u;
  return static_cast<uint32_t>(hash ^ hash >> 29);
}

size_t Vocabulary::Slot(std::string_view token, uint32_t hash) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  while (slots_[slot] != 0) {
    const Entry& entry = entries_[slots_[slot] - 1];
    if (entry.hash == hash && TextOf(entry) == token) break;
    slot = (slot + 1) & mask;
  }
  return slot;
}

void Vocabulary::Grow() {
  slots_.assign(std::max<size_t>(1024, slots_.size() * 4), 0);
  const size_t mask = slots_.size() - 1;
  for (size_t i = 0; i < entries_.size(); ++i) {
    size_t slot = entries_[i].hash & mask;
    while (slots_[slot] != 0) slot = (slot + 1) & mask;
    slots_[slot] = static_cast<uint32_t>(i + 1);
  }
}

void Vocabulary::Add(std::string_view token, int64_t id, const std::string& source) {
  RequireData(id >= 0 && id < Tokenizer::kMaxTokens, "[tokenizer] ", source, ": expected the id of a token in [0,",
              Tokenizer::kMaxTokens, "), got ", id);
  if (entries_.size() >= static_cast<size_t>(Tokenizer::kMaxTokens) ||
      text_.size() + token.size() > kMaxVocabularyBytes) {
    Fail(ErrorCode::kResourceExhausted, "[tokenizer] ", source, " has more than ", Tokenizer::kMaxTokens, " tokens or ",
         kMaxVocabularyBytes, " bytes of them");
  }
  if (entries_.size() * 2 >= slots_.size()) Grow();
  const uint32_t hash = Hash(token);
  const size_t slot = Slot(token, hash);
  if (slots_[slot] == 0) {
    entries_.push_back(
        {static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(token.size()), static_cast<int32_t>(id), hash});
    text_.append(token);
    slots_[slot] = static_cast<uint32_t>(entries_.size());
    longest_bytes_ = std::max(longest_bytes_, token.size());
  } else {
    entries_[slots_[slot] - 1].id = static_cast<int32_t>(id);
  }
  if (id_entry_.size() <= static_cast<size_t>(id)) id_entry_.resize(static_cast<size_t>(id) + 1, 0);
  id_entry_[static_cast<size_t>(id)] = slots_[slot];
}

int32_t Vocabulary::Lookup(std::string_view token) const {
  if (slots_.empty()) return -1;
  const uint32_t entry = slots_[Slot(token, Hash(token))];
  return entry == 0 ? -1 : entries_[entry - 1].id;
}

std::optional<std::string_view> Vocabulary::Token(int64_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= id_entry_.size() || id_entry_[static_cast<size_t>(id)] == 0)
    return std::nullopt;
  return TextOf(entries_[id_entry_[static_cast<size_t>(id)] - 1]);
}

}  // namespace fovea::text
