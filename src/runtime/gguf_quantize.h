// Writing a language model as a GGUF file with its matrices in blocks: q8_0 (8.5 bits a weight) or q4_0 (4.5 bits).
//
// From another GGUF file all metadata is kept, tokenizer and template among it, and the result runs in llama.cpp too.
// From a folder in the Hugging Face layout the metadata is made of config.json, names and order of weights as
// llama.cpp's converters make them, and the tokenizer goes in as its tokenizer.json ("tokenizer.huggingface.json" in
// the description of the format), which Fovea reads and llama.cpp does not.
#pragma once

#include <string>
#include <vector>

#include "tensor/block_type.h"

namespace fovea::runtime {

// What rounding cost: |stored - given| / |given| of one tensor.
struct BlockError {
  std::string tensor;  // its name in the file
  std::string type;    // "q8_0", "f32", ...
  double error;
};

// Writes `in` (a folder or a GGUF file) to the file `out`, which must be another one. Matrices whose rows are no
// multiple of 32 and vectors stay as they are. Throws kInvalidArgument, kUnimplemented for a model_type that GGUF files
// are not written for or another type than q8_0 and q4_0, kIo.
std::vector<BlockError> WriteGgufModel(const std::string& in, const std::string& out, BlockType type);

}  // namespace fovea::runtime
