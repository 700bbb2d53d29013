// Reading the weights of a model, whichever of the usual files hold them.
//
// In a folder the first of these is taken: model.safetensors, model.safetensors.index.json with its shards,
// pytorch_model.bin, pytorch_model.bin.index.json with its shards, open_clip_model.safetensors, or else the only
// *.safetensors, *.pth, *.pt or *.bin there is. A path to one of these files works too; what a file is, is told by its
// content.
#pragma once

#include <string>
#include <vector>

#include "tensor/named_tensor.h"

namespace fovea::formats {

// All tensors, pointing into mapped files where possible. Shards must lie beside their index ("../x" is refused), hold
// every tensor the index assigns to them, and share no name. Throws kNotFound, kCorruptData, kUnimplemented,
// kResourceExhausted, kIo.
std::vector<NamedTensor> ReadCheckpoint(const std::string& path);

}  // namespace fovea::formats
