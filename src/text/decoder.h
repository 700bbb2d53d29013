// Decoders: tokens become readable text again. Built from the "decoder" of tokenizer.json.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace fovea::text {

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::vector<std::string> Apply(std::vector<std::string> tokens) const = 0;
};

// Throws kCorruptData, kUnimplemented naming `source`.
std::unique_ptr<const Decoder> MakeDecoder(const nlohmann::json& json, const std::string& source);

}  // namespace fovea::text
