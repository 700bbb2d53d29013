// What tokenizer.json says, before parts are built from it: the large lists (vocabulary, scores, merges) go straight
// into compact structures while the file is read, the rest is kept as a small JSON document. Folders without a
// tokenizer.json are turned into the same thing (vocabulary_files.cc, sentencepiece_model.cc).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/vocabulary.h"

namespace fovea::text {

// Pairs of strings in one block.
class Merges {
 public:
  // Behind all others in rank.
  void Add(std::string_view left, std::string_view right) { Add(left, right, static_cast<uint32_t>(size())); }
  // Merges of one rank apply from left to right. All merges have a rank of their own, or none has.
  void Add(std::string_view left, std::string_view right, uint32_t rank);
  size_t size() const { return ranks_.size(); }
  // Calls `visit(left, right, rank)` in order.
  template <typename Visit>
  void ForEach(Visit&& visit) const {
    const std::string_view text = text_;
    size_t at = 0;
    for (size_t i = 0; i < ranks_.size(); ++i) {
      const uint32_t left = lengths_[2 * i], right = lengths_[2 * i + 1];
      visit(text.substr(at, left), text.substr(at + left, right), ranks_[i]);
      at += left + right;
    }
  }

 private:
  std::string text_;
  std::vector<uint32_t> lengths_;
  std::vector<uint32_t> ranks_;
};

struct TokenizerSpec {
  std::string source;          // names the file in errors
  nlohmann::json parts;        // tokenizer.json without model.vocab and model.merges
  Vocabulary vocabulary;       // of the model
  std::vector<double> scores;  // of Unigram, by id
  bool has_vocabulary = false, has_scores = false, has_merges = false;
  Merges merges;
  std::map<std::string, std::string> roles;  // "bos_token" -> "<s>", where the class of a folder has defaults
};

// The merges of a vocabulary that comes without: every way to cut a token in two tokens. Ranks follow the id of the
// joined token, then the length of its left part, as in transformers.
Merges MergesById(const Vocabulary& vocabulary, int64_t count);
// The same with ranks by score, the largest first; equal scores share a rank, as in SentencePiece and llama.cpp. Only
// tokens for which `joins(id)` holds are results.
Merges MergesByScore(const Vocabulary& vocabulary, std::span<const float> scores,
                     const std::function<bool(int64_t)>& joins);

// Throws kCorruptData, kResourceExhausted.
TokenizerSpec ParseTokenizerJson(std::string_view json, const std::string& source);

// One JSON object of the specification with typed reads; errors name the file, the part and the key.
class Fields {
 public:
  Fields(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {
    RequireData(object.is_object(), "[tokenizer] expected ", where_, " to be a JSON object, got ", object.type_name());
  }

  bool Has(const char* key) const {
    const auto found = object_.find(key);
    return found != object_.end() && !found->is_null();
  }
  const nlohmann::json& At(const char* key) const {
    const auto found = object_.find(key);
    RequireData(found != object_.end() && !found->is_null(), "[tokenizer] ", where_, " lacks \"", key, "\"");
    return *found;
  }
  bool Bool(const char* key) const {
    RequireData(At(key).is_boolean(), "[tokenizer] expected \"", key, "\" of ", where_, " to be true or false");
    return At(key).get<bool>();
  }
  bool Bool(const char* key, bool fallback) const { return Has(key) ? Bool(key) : fallback; }
  const std::string& String(const char* key) const {
    RequireData(At(key).is_string(), "[tokenizer] expected \"", key, "\" of ", where_, " to be a string");
    return At(key).get_ref<const std::string&>();
  }
  std::string String(const char* key, const char* fallback) const { return Has(key) ? String(key) : fallback; }
  int64_t Integer(const char* key) const {
    const nlohmann::json& value = At(key);
    RequireData(value.is_number_integer() && value >= 0 && value <= INT32_MAX, "[tokenizer] expected \"", key, "\" of ",
                where_, " to be an integer in [0,2^31)");
    return value.get<int64_t>();
  }
  int64_t Integer(const char* key, int64_t fallback) const { return Has(key) ? Integer(key) : fallback; }
  const nlohmann::json& List(const char* key) const {
    RequireData(At(key).is_array(), "[tokenizer] expected \"", key, "\" of ", where_, " to be a list");
    return At(key);
  }
  // A string of exactly one character.
  std::string Character(const char* key) const;
  const std::string& where() const { return where_; }
  // "type", which every part has.
  const std::string& Type() const { return String("type"); }
  [[noreturn]] void RefuseType() const {
    Fail(ErrorCode::kUnimplemented, "[tokenizer] ", where_, " of type ", base::PrintableUtf8(Type()),
         " is not supported");
  }

 private:
  const nlohmann::json& object_;
  std::string where_;
};

// Whether a part is given: absent and null mean the same.
inline bool HasPart(const nlohmann::json& parts, const char* key) {
  const auto found = parts.find(key);
  return found != parts.end() && !found->is_null();
}

}  // namespace fovea::text
