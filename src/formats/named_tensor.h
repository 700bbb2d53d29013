// A tensor and its name in a checkpoint: what every reader of this room returns and every writer takes.
#pragma once

#include <string>

#include "tensor/tensor.h"

namespace fovea::formats {

struct NamedTensor {
  std::string name;  // as in the file, e.g. "blocks.0.conv.weight"
  Tensor tensor;
};

}  // namespace fovea::formats
