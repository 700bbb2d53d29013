#include "nn/entry.h"

namespace fovea::models {

// A network without the capability that was asked for.

ImageOutputs Model::EncodeImages(const Tensor&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not encode pictures");
}

ImageOutputs Model::EncodePatches(const PatchInputs&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not encode pictures cut into patches");
}

TextOutputs Model::EncodeTexts(const TextInputs&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not encode texts");
}

JointOutputs Model::EncodeJointly(const JointInputs&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not encode text and regions together");
}

DecoderSpec Model::Decoder() const { Fail(ErrorCode::kUnimplemented, "[model] it does not continue texts"); }

DecodeOutputs Model::Decode(const DecodeInputs&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not continue texts");
}

Tensor Model::EmbedTokens(const Tensor&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not continue texts");
}

Tensor Model::EmbedImages(const Tensor&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not continue texts about pictures");
}

Tensor Model::EmbedPatches(const PatchInputs&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not continue texts about pictures cut into patches");
}

Tensor Model::EmbedTiles(const TileInputs&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not continue texts about pictures cut into tiles");
}

std::string Model::TileText(const TileInputs&, std::string_view) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not continue texts about pictures cut into tiles");
}

Tensor Model::MatchLogits(const Tensor&, const Tensor&) const {
  Fail(ErrorCode::kUnimplemented, "[model] it does not compare pictures with texts");
}

std::string Renamed(std::string name, std::span<const Rename> renames) {
  for (const auto& [from, to] : renames) {
    const bool is_prefix = from.starts_with('^');
    const std::string_view sought = is_prefix ? from.substr(1) : from;
    const size_t at = is_prefix ? (name.starts_with(sought) ? 0 : std::string::npos) : name.find(sought);
    if (at != std::string::npos) name.replace(at, sought.size(), to);
  }
  return name;
}

bool IsLike(std::string_view name, std::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (size_t begin = star; begin <= name.size(); ++begin) {
    if (IsLike(name.substr(begin), rest)) return true;
  }
  return false;
}

}  // namespace fovea::models
