#include "text/post_processor.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "text/spec.h"

namespace fovea::text {
namespace {

Encoding Special(const std::vector<int64_t>& ids, int64_t type_id) {
  return {ids, std::vector<int64_t>(ids.size(), type_id), std::vector<uint8_t>(ids.size(), 1)};
}

// ["[SEP]", 102]: the id counts.
int64_t TokenPair(const Fields& fields, const char* key) {
  const nlohmann::json& pair = fields.List(key);
  RequireData(pair.size() == 2 && pair[1].is_number_integer() && pair[1] >= 0 && pair[1] < Tokenizer::kMaxTokens,
              "[tokenizer] expected \"", key, "\" of ", fields.where(), " to be a pair of token and id");
  return pair[1].get<int64_t>();
}

// [CLS] A [SEP] B [SEP]; RoBERTa: <s> A </s> </s> B </s>, all of type 0.
class ClsSep : public PostProcessor {
 public:
  ClsSep(const Fields& fields, bool is_roberta)
      : cls_(TokenPair(fields, "cls")), sep_(TokenPair(fields, "sep")), is_roberta_(is_roberta) {}
  int64_t AddedTokens(bool is_pair) const override { return !is_pair ? 2 : is_roberta_ ? 4 : 3; }
  std::vector<Encoding> Apply(std::vector<Encoding> parts, bool add_special_tokens) const override {
    if (is_roberta_) {
      for (Encoding& part : parts) std::fill(part.type_ids.begin(), part.type_ids.end(), 0);
    }
    if (!add_special_tokens) return parts;
    std::vector<Encoding> out;
    for (size_t i = 0; i < parts.size(); ++i) {
      const int64_t type = i == 0 || is_roberta_ ? 0 : 1;
      if (i == 0) out.push_back(Special({cls_}, 0));
      if (i > 0 && is_roberta_) out.push_back(Special({sep_}, 0));
      out.push_back(std::move(parts[i]));
      out.push_back(Special({sep_}, type));
    }
    return out;
  }

 private:
  int64_t cls_, sep_;
  bool is_roberta_;
};

class Template : public PostProcessor {
 public:
  Template(const Fields& fields) {
    for (const auto& [name, token] : fields.At("special_tokens").items()) {
      const Fields special(token, "a special token of " + fields.where());
      std::vector<int64_t>& ids = special_[name];
      for (const auto& id : special.List("ids")) {
        RequireData(id.is_number_integer() && id >= 0 && id < Tokenizer::kMaxTokens, "[tokenizer] expected the ids of ",
                    special.where(), " to be ids");
        ids.push_back(id.get<int64_t>());
      }
    }
    single_ = ReadPieces(fields, "single");
    pair_ = ReadPieces(fields, "pair");
    for (const Piece& piece : single_)
      RequireData(piece.sequence != 1, "[tokenizer] \"single\" of ", fields.where(), " names the second text");
  }
  int64_t AddedTokens(bool is_pair) const override {
    int64_t count = 0;
    for (const Piece& piece : is_pair ? pair_ : single_)
      count += piece.sequence < 0 ? static_cast<int64_t>(piece.ids.size()) : 0;
    return count;
  }
  std::vector<Encoding> Apply(std::vector<Encoding> parts, bool add_special_tokens) const override {
    if (parts.size() > 2)
      Fail(ErrorCode::kUnimplemented, "[tokenizer] two post-processors that add tokens one after the other");
    std::vector<Encoding> out;
    for (const Piece& piece : parts.size() == 2 ? pair_ : single_) {
      if (piece.sequence >= 0) {
        out.push_back(parts[piece.sequence]);
        std::fill(out.back().type_ids.begin(), out.back().type_ids.end(), piece.type_id);
      } else if (add_special_tokens && !(piece.once && EndsWith(out, piece.ids))) {
        out.push_back(Special(piece.ids, piece.type_id));
      }
    }
    return out;
  }

 private:
  struct Piece {
    int sequence = -1;  // 0: the first text, 1: the second, -1: special tokens
    std::vector<int64_t> ids;
    int64_t type_id = 0;
    bool once = false;  // not behind a text that ends with it (SigLIP)
  };
  static bool EndsWith(const std::vector<Encoding>& parts, const std::vector<int64_t>& ids) {
    return !parts.empty() && !parts.back().ids.empty() && ids.size() == 1 && parts.back().ids.back() == ids[0];
  }
  std::vector<Piece> ReadPieces(const Fields& fields, const char* key) const {
    constexpr size_t kMaxPieces = 256;
    const nlohmann::json& list = fields.List(key);
    RequireData(list.size() <= kMaxPieces, "[tokenizer] \"", key, "\" of ", fields.where(), " has ", list.size(),
                " pieces, the limit is ", kMaxPieces);
    std::vector<Piece> pieces;
    for (const auto& item : list) {
      RequireData(item.is_object() && item.size() == 1, "[tokenizer] expected a piece of ", fields.where(),
                  " to have one key");
      const std::string& kind = item.begin().key();
      const Fields piece(item.begin().value(), "a piece of " + fields.where());
      const std::string& id = piece.String("id");
      Piece read{.type_id = piece.Integer("type_id"), .once = piece.Bool("once", false)};
      if (kind == "Sequence") {
        RequireData(id == "A" || id == "B", "[tokenizer] expected a sequence of ", fields.where(), " to be A or B");
        read.sequence = id == "A" ? 0 : 1;
      } else {
        RequireData(kind == "SpecialToken", "[tokenizer] expected a piece of ", fields.where(),
                    " to be Sequence or SpecialToken");
        const auto found = special_.find(id);
        RequireData(found != special_.end(), "[tokenizer] ", fields.where(), " names the special token ",
                    base::PrintableUtf8(id), " but does not list it");
        read.ids = found->second;
      }
      pieces.push_back(std::move(read));
    }
    return pieces;
  }

  std::map<std::string, std::vector<int64_t>> special_;
  std::vector<Piece> single_, pair_;
};

// Changes offsets only, which we do not report.
class Nothing : public PostProcessor {
 public:
  int64_t AddedTokens(bool) const override { return 0; }
  std::vector<Encoding> Apply(std::vector<Encoding> parts, bool) const override { return parts; }
};

class Sequence : public PostProcessor {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const PostProcessor>> parts) : parts_(std::move(parts)) {}
  int64_t AddedTokens(bool is_pair) const override {
    int64_t count = 0;
    for (const auto& part : parts_) count += part->AddedTokens(is_pair);
    return count;
  }
  std::vector<Encoding> Apply(std::vector<Encoding> parts, bool add_special_tokens) const override {
    for (const auto& part : parts_) parts = part->Apply(std::move(parts), add_special_tokens);
    return parts;
  }

 private:
  std::vector<std::unique_ptr<const PostProcessor>> parts_;
};

}  // namespace

std::unique_ptr<const PostProcessor> MakePostProcessor(const nlohmann::json& json, const std::string& source) {
  const Fields fields(json, "the post_processor of " + source);
  const std::string& type = fields.Type();
  if (type == "BertProcessing") return std::make_unique<ClsSep>(fields, false);
  if (type == "RobertaProcessing") return std::make_unique<ClsSep>(fields, true);
  if (type == "ByteLevel") return std::make_unique<Nothing>();
  if (type == "TemplateProcessing") return std::make_unique<Template>(fields);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<const PostProcessor>> parts;
    int adding = 0;
    for (const auto& part : fields.List("processors")) {
      parts.push_back(MakePostProcessor(part, source));
      adding += parts.back()->AddedTokens(true) > 0;
    }
    if (adding > 1)
      Fail(ErrorCode::kUnimplemented, "[tokenizer] ", fields.where(),
           " has two parts that add tokens, which is not supported");
    return std::make_unique<Sequence>(std::move(parts));
  }
  fields.RefuseType();
}

}  // namespace fovea::text
