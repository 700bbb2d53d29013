// Unigram (SentencePiece): of all ways to cut a word into tokens the one with the largest sum of scores, found from
// left to right with a trie (Viterbi). Stretches without a token become one unknown token, or their bytes.
#include <array>
#include <limits>

#include "base/error.h"
#include "text/model.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

// Tokens by their bytes. Nodes are found by hash of (parent, byte): compact, and built in one pass over the vocabulary.
class Trie {
 public:
  explicit Trie(size_t expected_nodes) {
    size_t size = 1024;
    while (size < expected_nodes * 2) size *= 2;
    slots_.assign(size, 0);
    nodes_.push_back({0, -1, 0});
  }

  void Add(std::string_view token, int32_t id) {
    uint32_t node = 0;
    for (const char c : token) {
      const size_t slot = Slot(node, static_cast<uint8_t>(c));
      if (slots_[slot] == 0) {
        nodes_.push_back({node, -1, static_cast<uint8_t>(c)});
        slots_[slot] = static_cast<uint32_t>(nodes_.size() - 1);
        node = slots_[slot];
        if (nodes_.size() * 2 > slots_.size()) Grow();
      } else {
        node = slots_[slot];
      }
    }
    nodes_[node].id = id;
  }
  // The child of `node` (0: the root), or 0 when there is none.
  uint32_t Child(uint32_t node, uint8_t byte) const { return slots_[Slot(node, byte)]; }
  int32_t IdOf(uint32_t node) const { return nodes_[node].id; }

 private:
  struct Node {
    uint32_t parent;
    int32_t id;
    uint8_t byte;
  };
  size_t Slot(uint32_t parent, uint8_t byte) const {
    const size_t mask = slots_.size() - 1;
    const uint64_t hash = (static_cast<uint64_t>(parent) << 8 | byte) * 0x9E3779B97F4A7C15u;
    size_t slot = (hash >> 32) & mask;
    while (slots_[slot] != 0 && (nodes_[slots_[slot]].parent != parent || nodes_[slots_[slot]].byte != byte))
      slot = (slot + 1) & mask;
    return slot;
  }
  void Grow() {
    slots_.assign(slots_.size() * 2, 0);
    for (size_t i = 1; i < nodes_.size(); ++i)
      slots_[Slot(nodes_[i].parent, nodes_[i].byte)] = static_cast<uint32_t>(i);
  }

  std::vector<uint32_t> slots_;
  std::vector<Node> nodes_;
};

constexpr double kUnknownPenalty = 10.0;

class Unigram : public Model {
 public:
  Unigram(TokenizerSpec& spec, const Fields& fields)
      : Model(spec),
        scores_(std::move(spec.scores)),
        trie_(scores_.size() * 3),
        unknown_id_(static_cast<int32_t>(fields.Integer("unk_id", -1))),
        falls_back_to_bytes_(fields.Bool("byte_fallback", false)) {
    vocab_size_ = static_cast<int64_t>(scores_.size());
    RequireData(unknown_id_ < vocab_size_, "[tokenizer] \"unk_id\" of ", fields.where(), " is ", unknown_id_,
                ", the vocabulary has ", vocab_size_, " tokens");
    double least = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < vocab_size_; ++i) {
      const std::string_view token = *vocabulary_.Token(i);
      trie_.Add(token, vocabulary_.Lookup(token));
      least = std::min(least, scores_[i]);
    }
    unknown_score_ = least - kUnknownPenalty;
    for (int byte = 0; byte < 256; ++byte) {
      constexpr char kHex[] = "0123456789ABCDEF";
      byte_ids_[byte] = vocabulary_.Lookup(std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">");
    }
  }

  void Tokenize(std::string_view word, const TokenSet* banned, std::vector<int64_t>& ids) const override {
    const std::vector<Best> best = FindBest(word, banned);
    std::vector<std::pair<size_t, size_t>> parts;  // from the last to the first
    for (size_t end = word.size(); end > 0;) {
      const size_t begin = static_cast<size_t>(best[end].begin);
      // Neighbours that are unknown are one part.
      const bool is_unknown = best[end].id == unknown_id_;
      if (is_unknown && last_was_unknown(parts, end, best)) {
        parts.back().first = begin;
      } else {
        parts.emplace_back(begin, end);
      }
      end = begin;
    }
    for (auto part = parts.rbegin(); part != parts.rend(); ++part)
      Emit(word.substr(part->first, part->second - part->first), banned, ids);
  }

 private:
  struct Best {
    double score = 0.0;
    int32_t begin = -1, id = 0;
  };

  // Whether the part found last starts at `end` with an unknown token.
  bool last_was_unknown(const std::vector<std::pair<size_t, size_t>>& parts, size_t end,
                        const std::vector<Best>& best) const {
    return !parts.empty() && parts.back().first == end && best[parts.back().second].id == unknown_id_;
  }

  std::vector<Best> FindBest(std::string_view word, const TokenSet* banned) const {
    std::vector<Best> best(word.size() + 1);
    const auto improve = [&](size_t begin, size_t end, double score, int32_t id) {
      const double total = score + best[begin].score;
      if (best[end].begin < 0 || total > best[end].score) best[end] = {total, static_cast<int32_t>(begin), id};
    };
    for (size_t begin = 0; begin < word.size();) {
      const size_t length = Utf8Length(word[begin]);
      bool has_single = false;
      uint32_t node = 0;
      for (size_t at = begin; at < word.size(); ++at) {
        node = trie_.Child(node, static_cast<uint8_t>(word[at]));
        if (node == 0) break;
        const int32_t id = trie_.IdOf(node);
        if (id < 0 || (banned != nullptr && banned->Has(id))) continue;
        improve(begin, at + 1, scores_[id], id);
        has_single |= at + 1 - begin == length;
      }
      if (!has_single) {
        if (unknown_id_ < 0) FailUnknown("unk_id");
        improve(begin, begin + length, unknown_score_, unknown_id_);
      }
      begin += length;
    }
    return best;
  }

  void Emit(std::string_view part, const TokenSet* banned, std::vector<int64_t>& ids) const {
    if (const int32_t id = vocabulary_.Lookup(part); id >= 0 && (banned == nullptr || !banned->Has(id))) {
      ids.push_back(id);
      return;
    }
    if (falls_back_to_bytes_) {
      bool has_all = true;
      for (const char c : part) has_all &= byte_ids_[static_cast<uint8_t>(c)] >= 0;
      if (has_all) {
        for (const char c : part) ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
        return;
      }
    }
    if (unknown_id_ < 0) FailUnknown("unk_id");
    ids.push_back(unknown_id_);
  }

  std::vector<double> scores_;
  Trie trie_;
  double unknown_score_ = 0.0;
  int32_t unknown_id_;
  bool falls_back_to_bytes_;
  std::array<int32_t, 256> byte_ids_;
};

}  // namespace

std::unique_ptr<const Model> MakeUnigram(TokenizerSpec& spec, const Fields& fields) {
  RequireData(spec.has_scores, "[tokenizer] ", fields.where(), " lacks \"vocab\", a list of pairs of token and score");
  return std::make_unique<Unigram>(spec, fields);
}

}  // namespace fovea::text
