// A tensor and its name in a checkpoint: what readers of model files return, writers take, and model files rename.
#pragma once

#include <string>

#include "tensor/tensor.h"

namespace fovea {

struct NamedTensor {
  std::string name;  // as in the file, e.g. "blocks.0.conv.weight"
  Tensor tensor;
};

}  // namespace fovea
