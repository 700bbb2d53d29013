// A model as a part of another one: the encoder, the decoder or the language model of a composed architecture, built by
// the entry of its own model_type, so that every language model there is serves every composition.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/entry.h"
#include "nn/stage.h"

namespace fovea::models {

class Part {
 public:
  // What the entry of config's model_type builds. `who` names the owner in errors; stages of the part get
  // `stage_prefix` before their names. Throws kUnimplemented for a model_type that there is not.
  Part(const base::Config& config, std::string_view who, std::string stage_prefix);

  void Visit(nn::Visitor& v) { model_->Visit(v); }
  const Model& model() const { return *model_; }

  // As Model's.
  ImageOutputs EncodeImages(const Tensor& pixels) const;
  TextOutputs EncodeTexts(const TextInputs& inputs) const;
  DecodeOutputs Decode(const DecodeInputs& inputs) const;
  DecoderSpec Decoder() const { return model_->Decoder(); }
  Tensor EmbedTokens(const Tensor& ids) const { return model_->EmbedTokens(ids); }

 private:
  // Puts the prefix before the names of stages while in scope.
  class Prefixed;

  std::unique_ptr<Model> model_;
  std::string stage_prefix_;
};

// The sub-configuration `key` with its model_type, which is `fallback` where it names none. Throws kInvalidArgument
// when there is no object of this name, kUnimplemented naming `who` when `known` is not empty and lacks the model_type.
base::Config PartConfig(const base::Config& config, std::string_view key, std::string_view fallback,
                        std::string_view who, std::initializer_list<std::string_view> known = {});

// `text` with the tie_word_embeddings of the whole, `config`, where that has the key: it decides in the reference.
base::Config TiedAsWhole(const base::Config& config, const base::Config& text);

// Gives the tensors "<prefix>." the names that a Part visited as `prefix` has: its entry's adapt and renames, without
// what its entry has no use for. `config` is the part's own.
void AdaptPart(std::vector<NamedTensor>& tensors, std::string_view prefix, const base::Config& config);

// Entry::input_spec of the part: how pictures are prepared for it.
media::PreprocessSpec PartInputSpec(const base::Config& config, std::string_view who);

// Entry::amend of the part: its configuration as its weights, named "<prefix>.", show it.
base::Config AmendPart(const base::Config& config, std::string_view prefix, std::span<const NamedTensor> tensors);

}  // namespace fovea::models
