// Dropout (Srivastava et al. 2014).
#pragma once

#include "tensor/tensor.h"

namespace fovea {

// While training, zeroes each element with probability `rate` in [0,1) and scales the others by 1/(1-rate); otherwise
// `x` itself. The mask comes from the seed of the active tape.
Tensor Dropout(const Tensor& x, double rate);

}  // namespace fovea
