// What parameters start from when no checkpoint gives them.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "nn/parameter.h"

namespace fovea::train {

// Convolutions as He et al. 2015, other matrices with a deviation of 0.02, scales 1, the rest 0; and what the
// architecture defines by itself: layer scale (layer_scale_init_value, layerscale_value of the config), temperature and
// bias of an image-text score. `path` and `seed` decide what is drawn.
Tensor InitialValue(const std::string& path, const nn::Parameter& parameter, const base::Config& config, uint64_t seed);

}  // namespace fovea::train
