// Language models as GGUF files with their matrices in blocks.
//
//   fovea::QuantizeGguf("path/to/model", "model-q4_0.gguf", "q4_0");
#pragma once

#include <string>
#include <vector>

#include "fovea/model.h"

namespace fovea {

// Writes the language model `name_or_path` (a name, a folder in the Hugging Face layout, a GGUF file) to `file`, a new
// GGUF file, and returns what rounding cost each tensor. `type`: "q8_0" (8.5 bits a weight) or "q4_0" (4.5 bits).
// Vectors, and matrices whose rows are no multiple of 32, stay as they are. From a GGUF file all metadata is kept,
// tokenizer and chat template among it; from a folder the configuration, tokenizer.json and the chat template go in.
// The model itself is not loaded. Throws kNotFound, kInvalidArgument (another type, the model's own file),
// kUnimplemented (an architecture that GGUF files are not written for, a folder without tokenizer.json), kIo.
std::vector<TensorError> QuantizeGguf(const std::string& name_or_path, const std::string& file,
                                      const std::string& type);

}  // namespace fovea
