// What generation_config.json of a model says about the texts it writes, as transformers' generate() takes it.
#pragma once

#include <string>

#include "fovea/chat.h"
#include "nn/decode.h"

namespace fovea::runtime {

// Special tokens of the folder's generation_config.json over those of config.json: a list of end tokens counts whole.
// Without the file nothing changes. Throws kCorruptData, kInvalidArgument (a value of the wrong type).
void ReadSpecialTokens(const std::string& folder, models::DecoderSpec& spec);

// The settings that generate() uses unless it is told otherwise: greedy without "do_sample", whatever temperature the
// file names; max_new_tokens, num_beams, length_penalty, early_stopping, repetition_penalty; with "do_sample"
// temperature, top_k (50 where it is missing), top_p, min_p. "max_length", which counts the prompt too, is left out.
// Throws as above, and kUnimplemented for a setting that changes the text and is not supported, by name.
GenerateSettings ReadGenerateSettings(const std::string& folder);

}  // namespace fovea::runtime
