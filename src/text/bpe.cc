// Byte-pair encoding: a word starts as its characters, and the neighbours with the earliest merge in the list are
// joined until no pair has one. A heap of candidate merges makes that O(n log n) for a word of n characters. Dropout, a
// training device, is refused.
#include <algorithm>
#include <array>
#include <queue>

#include "base/error.h"
#include "text/model.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

// (left id, right id) -> (rank, new id); open addressing.
class MergeTable {
 public:
  struct Merge {
    uint64_t pair = kEmpty;
    uint32_t rank = 0;
    int32_t id = 0;
  };

  explicit MergeTable(size_t count) {
    size_t size = 16;
    while (size < count * 2) size *= 2;
    slots_.resize(size);
  }
  void Set(int32_t left, int32_t right, uint32_t rank, int32_t id) {
    slots_[Slot(Pair(left, right))] = {Pair(left, right), rank, id};
  }
  const Merge* Find(int32_t left, int32_t right) const {
    const Merge& merge = slots_[Slot(Pair(left, right))];
    return merge.pair == kEmpty ? nullptr : &merge;
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static uint64_t Pair(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t Slot(uint64_t pair) const {
    const size_t mask = slots_.size() - 1;
    uint64_t hash = pair * 0x9E3779B97F4A7C15u;
    size_t slot = (hash ^ hash >> 32) & mask;
    while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair) slot = (slot + 1) & mask;
    return slot;
  }
  std::vector<Merge> slots_;
};

struct Symbol {
  int32_t id, previous, next;  // neighbours by position, -1 at the ends; id -1: joined to its left neighbour
};

struct Candidate {
  uint32_t rank, position;
  int32_t id;
  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

class Bpe : public Model {
 public:
  Bpe(TokenizerSpec& spec, const Fields& fields)
      : Model(spec),
        merges_(spec.merges.size()),
        prefix_(fields.String("continuing_subword_prefix", "")),
        suffix_(fields.String("end_of_word_suffix", "")),
        unknown_(fields.String("unk_token", "")),
        has_unknown_(fields.Has("unk_token")),
        fuses_unknown_(fields.Bool("fuse_unk", false)),
        falls_back_to_bytes_(fields.Bool("byte_fallback", false)),
        ignores_merges_(fields.Bool("ignore_merges", false)) {
    if (fields.Has("dropout")) {
      const nlohmann::json& dropout = fields.At("dropout");
      RequireData(dropout.is_number(), "[tokenizer] expected \"dropout\" of ", fields.where(), " to be a number");
      if (dropout.get<double>() != 0.0)
        Fail(ErrorCode::kUnimplemented, "[tokenizer] ", fields.where(),
             " uses dropout, which makes ids random; hint: set it to null");
    }
    ReadMerges(spec.merges);
    for (int byte = 0; byte < 256; ++byte) {
      constexpr char kHex[] = "0123456789ABCDEF";
      byte_ids_[byte] = vocabulary_.Lookup(std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">");
    }
    unknown_id_ = has_unknown_ ? vocabulary_.Lookup(unknown_) : -1;
  }

  void Tokenize(std::string_view word, const TokenSet* banned, std::vector<int64_t>& ids) const override {
    if (word.empty()) return;
    if (ignores_merges_) {
      if (const int32_t id = vocabulary_.Lookup(word); id >= 0 && (banned == nullptr || !banned->Has(id))) {
        ids.push_back(id);
        return;
      }
    }
    std::vector<Symbol> symbols;
    Characters(word, symbols);
    MergeAll(symbols, banned);
    for (const Symbol& symbol : symbols) {
      if (symbol.id >= 0) ids.push_back(symbol.id);
    }
  }

 private:
  void ReadMerges(const Merges& merges) {
    std::string joined;
    const auto require_id = [&](std::string_view token) {
      const int32_t id = vocabulary_.Lookup(token);
      if (id < 0) {
        Fail(ErrorCode::kCorruptData, "[tokenizer] ", source_, ": a merge names \"",
             base::PrintableUtf8(token.substr(0, 100)), "\", which is not in the vocabulary");
      }
      return id;
    };
    merges.ForEach([&](std::string_view left, std::string_view right, uint32_t rank) {
      const int32_t left_id = require_id(left), right_id = require_id(right);
      RequireData(right.size() >= prefix_.size(), "[tokenizer] ", source_,
                  ": the right part of a merge is shorter than the prefix \"", prefix_, "\"");
      joined.assign(left).append(right.substr(prefix_.size()));
      merges_.Set(left_id, right_id, rank, require_id(joined));
    });
  }

  static void Push(std::vector<Symbol>& symbols, int32_t id) {
    const auto at = static_cast<int32_t>(symbols.size());
    if (at > 0) symbols.back().next = at;
    symbols.push_back({id, at - 1, -1});
  }

  void Characters(std::string_view word, std::vector<Symbol>& symbols) const {
    symbols.reserve(word.size());
    bool has_pending_unknown = false;
    const auto flush = [&] {
      if (has_pending_unknown) Push(symbols, unknown_id_);
      has_pending_unknown = false;
    };
    std::string padded;
    for (size_t begin = 0, end; begin < word.size(); begin = end) {
      end = begin + Utf8Length(word[begin]);
      std::string_view character = word.substr(begin, end - begin);
      const bool is_first = begin == 0, is_last = end == word.size();
      if ((!is_first && !prefix_.empty()) || (is_last && !suffix_.empty())) {
        padded.assign(is_first ? "" : prefix_).append(character).append(is_last ? suffix_ : "");
        character = padded;
      }
      if (const int32_t id = vocabulary_.Lookup(character); id >= 0) {
        flush();
        Push(symbols, id);
        continue;
      }
      // An unknown token that waits stays behind the bytes, as in the reference.
      if (falls_back_to_bytes_ && std::all_of(character.begin(), character.end(),
                                              [&](char c) { return byte_ids_[static_cast<uint8_t>(c)] >= 0; })) {
        for (const char c : character) Push(symbols, byte_ids_[static_cast<uint8_t>(c)]);
        continue;
      }
      if (!has_unknown_) continue;
      if (unknown_id_ < 0) FailUnknown(unknown_);
      if (!fuses_unknown_) flush();
      has_pending_unknown = true;
    }
    flush();
  }

  void MergeAll(std::vector<Symbol>& symbols, const TokenSet* banned) const {
    std::vector<Candidate> storage;
    storage.reserve(symbols.size());
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>(), std::move(storage));
    const auto propose = [&](int32_t left, int32_t right) {
      if (left < 0 || right < 0) return;
      const auto* merge = merges_.Find(symbols[left].id, symbols[right].id);
      if (merge != nullptr && (banned == nullptr || !banned->Has(merge->id)))
        queue.push({merge->rank, static_cast<uint32_t>(left), merge->id});
    };
    for (size_t i = 0; i + 1 < symbols.size(); ++i) propose(static_cast<int32_t>(i), static_cast<int32_t>(i + 1));
    while (!queue.empty()) {
      const Candidate top = queue.top();
      queue.pop();
      Symbol& left = symbols[top.position];
      if (left.id < 0 || left.next < 0) continue;
      Symbol& right = symbols[left.next];
      const auto* merge = merges_.Find(left.id, right.id);
      if (merge == nullptr || merge->id != top.id) continue;  // out of date
      left.id = top.id;
      right.id = -1;
      left.next = right.next;
      if (right.next >= 0) symbols[right.next].previous = static_cast<int32_t>(top.position);
      propose(left.previous, static_cast<int32_t>(top.position));
      propose(static_cast<int32_t>(top.position), left.next);
    }
  }

  MergeTable merges_;
  std::string prefix_, suffix_, unknown_;
  bool has_unknown_, fuses_unknown_, falls_back_to_bytes_, ignores_merges_;
  int32_t unknown_id_ = -1;
  std::array<int32_t, 256> byte_ids_;
};

}  // namespace

std::unique_ptr<const Model> MakeBpe(TokenizerSpec& spec, const Fields& fields) {
  RequireData(spec.has_vocabulary, "[tokenizer] ", fields.where(), " lacks \"vocab\"");
  RequireData(spec.has_merges, "[tokenizer] ", fields.where(), " lacks \"merges\"");
  return std::make_unique<Bpe>(spec, fields);
}

}  // namespace fovea::text
