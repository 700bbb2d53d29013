// A GGUF file as a model: the configuration that its metadata stands for, with the keys of config.json, and its weights
// under the names of Hugging Face's checkpoints. Names and changes of tensors are those of llama.cpp's converters
// (conversion/*.py in https://github.com/ggml-org/llama.cpp), undone: rows of LLaMA's queries and keys back in their
// order, 1 taken off Gemma's norms.
//
// Covered: llama (LLaMA, Mistral, SmolLM, ...), qwen2, qwen3, gemma3 (its decoder) and gpt2.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/gguf.h"
#include "kernels/block_matrix/block_matrix.h"
#include "tensor/named_tensor.h"

namespace fovea::runtime {

// What a parameter is given: a tensor, or a matrix of blocks [O,I].
struct Weight {
  std::string name;
  Tensor tensor;
  std::shared_ptr<const kernels::BlockMatrix> blocks;
  bool is_transposed = false;  // of blocks, for a parameter [I,O]

  Shape shape() const;
};

// The file's configuration. Throws kUnimplemented naming an architecture or an option that is not covered,
// kInvalidArgument for metadata that is missing or of the wrong type.
base::Config GgufConfig(const formats::GgufFile& file);

// All weights; matrices of blocks are packed anew, small tensors copied, large plain ones borrowed from the file.
// Throws kUnimplemented for a tensor that the architecture has no place for.
std::vector<Weight> GgufWeights(const formats::GgufFile& file);

// ---- the other way, for writing

// The metadata that says what `config` says. Throws kUnimplemented for another model_type than those above, or for an
// option that GGUF's metadata cannot tell.
std::vector<formats::GgufEntry> GgufEntries(const base::Config& config);

// A tensor of a checkpoint, under its name in Hugging Face's, as a file holds it. The name is empty for a tensor that
// files do not have (a buffer).
Weight GgufWeightFor(const base::Config& config, const NamedTensor& tensor);

// The same names the other way, for writing: "model.layers.3.mlp.up_proj.weight" -> "blk.3.ffn_up.weight" for
// `model_type` llama, mistral, qwen2, qwen3, gemma3_text or gpt2; "" for a tensor without a name there.
std::string GgufTensorName(std::string_view model_type, std::string_view name);

}  // namespace fovea::runtime
