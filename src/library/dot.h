// Inner products of one vector with many rows, with the SIMD instructions of this machine.
#pragma once

#include <cstdint>

namespace fovea::library {

// scores[i] = sum over d of query[d] * rows[i * dim + d], for i in [0, count). The order of summation depends on `dim`
// alone, so a row gives the same bits wherever it stands.
void DotRows(const float* query, const float* rows, int64_t count, int64_t dim, float* scores);

}  // namespace fovea::library
