#include "text/sentencepiece_model.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

// Walks over the fields of one protocol buffer message.
class Message {
 public:
  Message(std::string_view bytes, const std::string& source) : rest_(bytes), source_(source) {}

  // Moves to the next field; false at the end.
  bool Next() {
    if (rest_.empty()) return false;
    const uint64_t key = Varint();
    field_ = key >> 3;
    wire_ = static_cast<int>(key & 7);
    switch (wire_) {
      case 0: number_ = Varint(); break;
      case 1: bytes_ = Take(8); break;
      case 2: bytes_ = Take(Varint()); break;
      case 5: bytes_ = Take(4); break;
      default: Broken("a field of an unknown kind");
    }
    return true;
  }
  uint64_t field() const { return field_; }
  uint64_t Number() const {
    if (wire_ != 0) Broken("bytes where a number belongs");
    return number_;
  }
  // Numbers of 32 bits with a sign are written with 64.
  int64_t Signed() const { return static_cast<int32_t>(Number()); }
  std::string_view Bytes() const {
    if (wire_ != 2) Broken("a number where bytes belong");
    return bytes_;
  }
  float Float() const {
    if (wire_ != 5) Broken("another type where a float belongs");
    float value;
    std::memcpy(&value, bytes_.data(), 4);
    if (!std::isfinite(value)) Broken("a score that is not finite");
    return value;
  }
  [[noreturn]] void Broken(std::string_view what) const {
    Fail(ErrorCode::kCorruptData, "[sentencepiece] ", source_, " is no SentencePiece model: ", what);
  }

 private:
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) Broken("it ends within a number");
      const auto byte = static_cast<uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    Broken("a number is too long");
  }
  std::string_view Take(uint64_t count) {
    if (count > rest_.size()) Broken("it ends within a field");
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_, bytes_;
  const std::string& source_;
  uint64_t field_ = 0, number_ = 0;
  int wire_ = 0;
};

SentencePieceModel::Piece ReadPiece(Message message) {
  SentencePieceModel::Piece piece;
  while (message.Next()) {
    if (message.field() == 1) piece.text = message.Bytes();
    if (message.field() == 2) piece.score = message.Float();
    if (message.field() == 3) {
      if (message.Number() < 1 || message.Number() > 6) message.Broken("a piece of an unknown type");
      piece.type = static_cast<SentencePieceModel::PieceType>(message.Number());
    }
  }
  if (!IsValidUtf8(piece.text)) message.Broken("a piece that is not UTF-8");
  return piece;
}

void ReadTrainer(Message message, SentencePieceModel& model) {
  while (message.Next()) {
    switch (message.field()) {
      case 3:
        if (message.Number() < 1 || message.Number() > 4) message.Broken("an unknown algorithm");
        model.algorithm = static_cast<SentencePieceModel::Algorithm>(message.Number());
        break;
      case 35: model.has_byte_fallback = message.Number() != 0; break;
      case 40: model.unk_id = message.Signed(); break;
      case 41: model.bos_id = message.Signed(); break;
      case 42: model.eos_id = message.Signed(); break;
      case 43: model.pad_id = message.Signed(); break;
      case 45:
        model.unk_piece = message.Bytes();
        if (!IsValidUtf8(model.unk_piece)) message.Broken("a piece that is not UTF-8");
        break;
      default: break;
    }
  }
}

void ReadNormalizer(Message message, SentencePieceModel& model) {
  while (message.Next()) {
    if (message.field() == 2) model.charsmap = message.Bytes();
    if (message.field() == 3) model.adds_dummy_prefix = message.Number() != 0;
    if (message.field() == 4) model.removes_extra_whitespaces = message.Number() != 0;
  }
}

}  // namespace

SentencePieceModel ParseSentencePieceModel(std::string_view bytes, const std::string& source) {
  SentencePieceModel model;
  Message message(bytes, source);
  while (message.Next()) {
    if (message.field() == 1) {
      if (model.pieces.size() >= static_cast<size_t>(Tokenizer::kMaxTokens))
        Fail(ErrorCode::kResourceExhausted, "[sentencepiece] ", source, " has more than ", Tokenizer::kMaxTokens,
             " pieces");
      model.pieces.push_back(ReadPiece(Message(message.Bytes(), source)));
    }
    if (message.field() == 2) ReadTrainer(Message(message.Bytes(), source), model);
    if (message.field() == 3) ReadNormalizer(Message(message.Bytes(), source), model);
  }
  if (model.pieces.empty()) message.Broken("it has no pieces");
  return model;
}

}  // namespace fovea::text
