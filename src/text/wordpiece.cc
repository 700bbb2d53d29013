// WordPiece: the longest token that starts the word, then the longest that continues it, or [UNK] for the whole word.
// And WordLevel, which knows whole words only. What every model shares is here too.
#include "base/error.h"
#include "text/model.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

class WordPiece : public Model {
 public:
  WordPiece(TokenizerSpec& spec, const Fields& fields)
      : Model(spec),
        unknown_(fields.String("unk_token")),
        prefix_(fields.String("continuing_subword_prefix")),
        max_characters_(fields.Integer("max_input_chars_per_word")),
        unknown_id_(vocabulary_.Lookup(unknown_)) {}

  void Tokenize(std::string_view word, const TokenSet* banned, std::vector<int64_t>& ids) const override {
    const size_t count = ids.size();
    if (CountCodePoints(word) <= max_characters_ && Split(word, banned, ids)) return;
    ids.resize(count);
    if (unknown_id_ < 0) FailUnknown(unknown_);
    ids.push_back(unknown_id_);
  }

 private:
  bool Split(std::string_view word, const TokenSet* banned, std::vector<int64_t>& ids) const {
    std::string candidate;
    for (size_t begin = 0; begin < word.size();) {
      candidate.assign(begin > 0 ? prefix_ : std::string());
      const size_t head = candidate.size();
      if (vocabulary_.longest_bytes() <= head) return false;
      size_t end = std::min(word.size(), begin + vocabulary_.longest_bytes() - head);
      while (end < word.size() && (static_cast<uint8_t>(word[end]) & 0xC0) == 0x80) --end;
      candidate.append(word.substr(begin, end - begin));
      int32_t id = -1;
      const auto is_missing = [&] {
        return (id = vocabulary_.Lookup(candidate)) < 0 || (banned != nullptr && banned->Has(id));
      };
      while (end > begin && is_missing()) {
        id = -1;
        PreviousCodePoint(word, end);
        candidate.resize(head + end - begin);
      }
      if (id < 0) return false;
      ids.push_back(id);
      begin = end;
    }
    return true;
  }

  std::string unknown_, prefix_;
  int64_t max_characters_;
  int32_t unknown_id_;
};

class WordLevel : public Model {
 public:
  WordLevel(TokenizerSpec& spec, const Fields& fields)
      : Model(spec), unknown_(fields.String("unk_token")), unknown_id_(vocabulary_.Lookup(unknown_)) {}

  void Tokenize(std::string_view word, const TokenSet* banned, std::vector<int64_t>& ids) const override {
    int32_t id = vocabulary_.Lookup(word);
    if (banned != nullptr && banned->Has(id)) id = -1;
    if (id < 0 && unknown_id_ < 0) FailUnknown(unknown_);
    ids.push_back(id < 0 ? unknown_id_ : id);
  }

 private:
  std::string unknown_;
  int32_t unknown_id_;
};

}  // namespace

Model::Model(TokenizerSpec& spec)
    : source_(spec.source), vocabulary_(std::move(spec.vocabulary)), vocab_size_(vocabulary_.size()) {}

void Model::FailUnknown(std::string_view token) const {
  Fail(ErrorCode::kInvalidArgument, "[tokenizer] ", source_, " has no token for unknown text (\"",
       base::PrintableUtf8(token), "\" is not in the vocabulary)");
}

std::unique_ptr<const Model> MakeWordPiece(TokenizerSpec& spec, const Fields& fields) {
  RequireData(spec.has_vocabulary, "[tokenizer] ", fields.where(), " lacks \"vocab\"");
  return std::make_unique<WordPiece>(spec, fields);
}

std::unique_ptr<const Model> MakeWordLevel(TokenizerSpec& spec, const Fields& fields) {
  RequireData(spec.has_vocabulary, "[tokenizer] ", fields.where(), " lacks \"vocab\"");
  return std::make_unique<WordLevel>(spec, fields);
}

std::unique_ptr<const Model> MakeModel(TokenizerSpec& spec) {
  RequireData(HasPart(spec.parts, "model"), "[tokenizer] ", spec.source, " lacks \"model\"");
  const Fields fields(spec.parts["model"], "the model of " + spec.source);
  std::string type = fields.String("type", "");
  if (type.empty()) {  // files from before the type was written
    type = spec.has_merges                          ? "BPE"
           : spec.has_scores                        ? "Unigram"
           : fields.Has("max_input_chars_per_word") ? "WordPiece"
                                                    : "WordLevel";
  }
  if (type == "WordPiece") return MakeWordPiece(spec, fields);
  if (type == "BPE") return MakeBpe(spec, fields);
  if (type == "Unigram") return MakeUnigram(spec, fields);
  if (type == "WordLevel") return MakeWordLevel(spec, fields);
  fields.RefuseType();
}

}  // namespace fovea::text
