#include "text/spec.h"

#include <algorithm>

#include "text/tokenizer.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

constexpr size_t kMaxJsonBytes = 64 << 20;
constexpr size_t kMaxDepth = 100;
constexpr size_t kMaxMergeBytes = 256 << 20;

// Events of the parser: model.vocab and model.merges are taken out, everything else becomes a document.
class Reader {
 public:
  explicit Reader(TokenizerSpec& spec) : spec_(spec) {}

  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  bool null() { return Scalar(nullptr); }
  bool boolean(bool value) { return Scalar(value); }
  bool number_integer(number_integer_t value) { return Number(value, static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) {
    const bool fits = value <= static_cast<number_unsigned_t>(INT64_MAX);
    return Number(fits ? static_cast<int64_t>(value) : INT64_MAX, static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t&) {
    if (mode_ == Mode::kDocument) return Scalar(value);
    Require(mode_ == Mode::kScores && depth_ == mode_depth_ + 1, "a number in the wrong place of the vocabulary");
    score_ = value;
    return true;
  }
  bool string(string_t& value) {
    switch (mode_) {
      case Mode::kDocument: return Scalar(std::move(value));
      case Mode::kTokens: Fail("expected the ids of model.vocab to be integers"); return false;
      case Mode::kScores:
        Require(depth_ == mode_depth_ + 1 && strings_.empty(), "expected model.vocab to hold pairs of token and score");
        strings_.push_back(std::move(value));
        return true;
      case Mode::kMerges:
        if (depth_ == mode_depth_) return Merge(value);
        strings_.push_back(std::move(value));
        return true;
    }
    return false;
  }
  bool binary(binary_t&) { return false; }
  bool start_object(size_t) {
    if (mode_ != Mode::kDocument) Fail("an object in the wrong place of the model");
    if (IsModelKey("vocab")) {
      mode_ = Mode::kTokens;
      spec_.has_vocabulary = true;
      return Descend(nullptr, true);
    }
    return Descend(nlohmann::json::object(), false);
  }
  bool key(string_t& value) {
    key_ = std::move(value);
    return true;
  }
  bool end_object() { return Ascend(); }
  bool start_array(size_t) {
    if (mode_ == Mode::kDocument) {
      if (IsModelKey("vocab")) {
        mode_ = Mode::kScores;
        spec_.has_scores = true;
        return Descend(nullptr, true);
      }
      if (IsModelKey("merges")) {
        mode_ = Mode::kMerges;
        spec_.has_merges = true;
        return Descend(nullptr, true);
      }
      return Descend(nlohmann::json::array(), false);
    }
    if (mode_ == Mode::kTokens || depth_ != mode_depth_) Fail("a list in the wrong place of the model");
    strings_.clear();
    score_.reset();
    ++depth_;
    return true;
  }
  bool end_array() {
    if (mode_ == Mode::kDocument || depth_ == mode_depth_) return Ascend();
    --depth_;
    if (mode_ == Mode::kScores) {
      Require(strings_.size() == 1 && score_.has_value(), "expected model.vocab to hold pairs of token and score");
      spec_.vocabulary.Add(strings_[0], static_cast<int64_t>(spec_.scores.size()), spec_.source);
      spec_.scores.push_back(*score_);
    } else {
      Require(strings_.size() == 2, "expected model.merges to hold pairs of tokens");
      spec_.merges.Add(strings_[0], strings_[1]);
    }
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) {
    Fail(base::PrintableUtf8(error.what()));
    return false;
  }

 private:
  enum class Mode { kDocument, kTokens, kScores, kMerges };

  void Fail(const std::string& what) const {
    ::fovea::Fail(ErrorCode::kCorruptData, "[tokenizer] ", spec_.source, ": ", what);
  }
  void Require(bool condition, const char* what) const {
    if (!condition) Fail(what);
  }

  bool IsModelKey(const char* name) const { return depth_ == 2 && model_is_open_ && key_ == name; }

  bool Number(int64_t integer, double value) {
    switch (mode_) {
      case Mode::kDocument: return Scalar(integer);
      case Mode::kTokens: spec_.vocabulary.Add(key_, integer, spec_.source); return true;
      case Mode::kScores: return number_float(value, {});
      case Mode::kMerges: Fail("a number among model.merges");
    }
    return false;
  }

  bool Merge(const std::string& line) {
    if (line.starts_with("#version")) return true;
    const size_t space = line.find(' ');
    Require(space != std::string::npos && line.find(' ', space + 1) == std::string::npos,
            "expected model.merges to hold pairs of tokens with a space between");
    spec_.merges.Add(std::string_view(line).substr(0, space), std::string_view(line).substr(space + 1));
    return true;
  }

  nlohmann::json* Place(nlohmann::json value) {
    if (stack_.empty()) return &(spec_.parts = std::move(value));
    nlohmann::json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }
  bool Scalar(nlohmann::json value) {
    if (mode_ != Mode::kDocument) Fail("a value of the wrong type in the model's vocabulary or merges");
    Place(std::move(value));
    return true;
  }
  bool Descend(nlohmann::json value, bool is_special) {
    if (depth_ >= kMaxDepth)
      ::fovea::Fail(ErrorCode::kResourceExhausted, "[tokenizer] ", spec_.source, " is nested deeper than ", kMaxDepth);
    if (is_special) {
      mode_depth_ = depth_ + 1;
    } else {
      if (depth_ == 1) model_is_open_ = key_ == "model" && value.is_object();
      stack_.push_back(Place(std::move(value)));
    }
    ++depth_;
    return true;
  }
  bool Ascend() {
    --depth_;
    if (mode_ != Mode::kDocument) {
      mode_ = Mode::kDocument;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  TokenizerSpec& spec_;
  std::vector<nlohmann::json*> stack_;
  size_t depth_ = 0, mode_depth_ = 0;
  Mode mode_ = Mode::kDocument;
  bool model_is_open_ = false;
  std::string key_;
  std::vector<std::string> strings_;
  std::optional<double> score_;
};

}  // namespace

void Merges::Add(std::string_view left, std::string_view right, uint32_t rank) {
  if (text_.size() + left.size() + right.size() > kMaxMergeBytes || lengths_.size() > (16u << 20))
    Fail(ErrorCode::kResourceExhausted, "[tokenizer] too many merges");
  text_.append(left).append(right);
  lengths_.push_back(static_cast<uint32_t>(left.size()));
  lengths_.push_back(static_cast<uint32_t>(right.size()));
  ranks_.push_back(rank);
}

namespace {

// Calls `visit(left, right)` for the ways to cut `token` in two tokens, the shortest left part first.
template <typename Visit>
void ForEachCut(const Vocabulary& vocabulary, std::string_view token, Visit&& visit) {
  if (token.empty()) return;
  for (size_t cut = Utf8Length(token[0]); cut < token.size(); cut += Utf8Length(token[cut])) {
    const std::string_view left = token.substr(0, cut), right = token.substr(cut);
    if (vocabulary.Lookup(left) >= 0 && vocabulary.Lookup(right) >= 0) visit(left, right);
  }
}

}  // namespace

Merges MergesById(const Vocabulary& vocabulary, int64_t count) {
  Merges merges;
  for (int64_t id = 0; id < count; ++id) {
    const auto token = vocabulary.Token(id);
    if (!token.has_value() || vocabulary.Lookup(*token) != id) continue;
    ForEachCut(vocabulary, *token, [&](std::string_view left, std::string_view right) { merges.Add(left, right); });
  }
  return merges;
}

Merges MergesByScore(const Vocabulary& vocabulary, std::span<const float> scores,
                     const std::function<bool(int64_t)>& joins) {
  std::vector<int32_t> order(scores.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
  Merges merges;
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && scores[order[i]] != scores[order[i - 1]]) ++rank;
    const auto token = vocabulary.Token(order[i]);
    if (!token.has_value() || vocabulary.Lookup(*token) != order[i] || !joins(order[i])) continue;
    ForEachCut(vocabulary, *token,
               [&](std::string_view left, std::string_view right) { merges.Add(left, right, rank); });
  }
  return merges;
}

std::string Fields::Character(const char* key) const {
  const std::string& value = String(key);
  RequireData(!value.empty() && Utf8Length(value[0]) == value.size(), "[tokenizer] expected \"", key, "\" of ", where_,
              " to be one character");
  return value;
}

TokenizerSpec ParseTokenizerJson(std::string_view json, const std::string& source) {
  if (json.size() > kMaxJsonBytes) {
    Fail(ErrorCode::kResourceExhausted, "[tokenizer] ", source, " has ", json.size(), " bytes, the limit is ",
         kMaxJsonBytes);
  }
  TokenizerSpec spec;
  spec.source = source;
  Reader reader(spec);
  const bool is_read = nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  RequireData(is_read && spec.parts.is_object(), "[tokenizer] expected ", source, " to hold a JSON object");
  return spec;
}

}  // namespace fovea::text
