// The generator of base/ under the name that training uses: that of a sample is made from the seed of the run, the epoch
// and the position.
#pragma once

#include "base/random.h"

namespace fovea::train {

using base::MixSeeds;
using base::Random;

}  // namespace fovea::train
