// Layer-wise decay of the learning rate (Clark et al. 2020; Bao et al. 2021, BEiT): each block learns by a factor more
// slowly than the one after it, the embeddings slowest of all.
#pragma once

#include <map>
#include <string>

#include "nn/entry.h"

namespace fovea::train {

// The factor of each parameter: decay^(n + 1 - d), where a tower has n blocks, the first d = 1; embeddings and stems
// have d = 0, what comes after the blocks (norms, projections, heads, the scale of a score) d = n + 1. Blocks are the
// numbered parts of the names: "encoder.layers.3.", or stage and place "stages.1.layers.0.". Each tower counts its own.
std::map<std::string, double> LayerRates(models::Model& model, double decay);

}  // namespace fovea::train
