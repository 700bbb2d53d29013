// What parameters start from when no checkpoint gives them.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "nn/parameter.h"

namespace fovea::train {

// Convolutions as He et al. 2015, the matrices of an LSTM [4H,I] with the deviation of PyTorch's, 1 / sqrt(3H), other
// matrices with one of 0.02 (0.046 in Show and Tell and its successor); scales 1, an LSTM's bias 1 for the forget gate,
// the rest 0; and what the architecture defines by itself: layer scale (layer_scale_init_value, layerscale_value of the
// config), temperature and bias of an image-text score. `path` and `seed` decide what is drawn.
Tensor InitialValue(const std::string& path, const nn::Parameter& parameter, const base::Config& config, uint64_t seed);

}  // namespace fovea::train
