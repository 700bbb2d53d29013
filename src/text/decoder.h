// Decoders: tokens become readable text again. Built from the "decoder" of tokenizer.json. The same decoder works on a
// whole list of tokens, or on one token after the other as a model gives them out.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace fovea::text {

// One decoder at work on tokens that come one by one. A token goes in whole or in parts; what is certain comes out at
// once, the rest later. All that comes out is the text of Decoder::Apply.
class DecoderStage {
 public:
  // Takes text; `continues`: more of the token before.
  using Sink = std::function<void(std::string text, bool continues)>;
  virtual ~DecoderStage() = default;
  virtual void Push(std::string text, bool continues, const Sink& out) = 0;
  virtual void Finish(const Sink& out) { (void)out; }
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::vector<std::string> Apply(std::vector<std::string> tokens) const = 0;

  // A new stage; null when the decoder cannot work on single tokens. `takes_parts`: whether tokens come in parts.
  virtual std::unique_ptr<DecoderStage> Stream(bool takes_parts) const = 0;
  // Whether the stage gives its output as parts of one token.
  virtual bool GivesParts() const { return false; }
  // The bytes that `token` stands for within a text, in place of `token`: possibly a part of a character.
  virtual void ToBytes(std::string& token) const { (void)token; }
};

// Throws kCorruptData, kUnimplemented naming `source`.
std::unique_ptr<const Decoder> MakeDecoder(const nlohmann::json& json, const std::string& source);

// The decoder of tokenizers that have none: tokens with spaces between.
std::unique_ptr<const Decoder> MakeSpaceDecoder();

}  // namespace fovea::text
