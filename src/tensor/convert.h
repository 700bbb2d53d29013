// Bulk conversion of f16 to f32: weights are stored as f16 and every start of the program widens them.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fovea {

// target[i] = source[i] for `count` elements, exactly. Single-threaded.
void WidenF16(const F16* source, float* target, int64_t count);

}  // namespace fovea
