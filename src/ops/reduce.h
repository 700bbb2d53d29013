// Reductions over any set of axes, recorded on the tape. Inputs f32 or bf16; sums are accumulated in double and rounded
// once, so they do not depend on the number of threads. NaN propagates.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace fovea {

// Over `axes` (negative ones count from the end; empty: all axes). Reduced axes vanish, or keep size 1 with
// `keep_dims`. The sum of nothing is 0; mean and maximum of nothing throw kInvalidArgument.
Tensor Sum(const Tensor& x, const std::vector<int>& axes = {}, bool keep_dims = false);
Tensor Mean(const Tensor& x, const std::vector<int>& axes = {}, bool keep_dims = false);
// Elements that share the maximum share its gradient equally.
Tensor Max(const Tensor& x, const std::vector<int>& axes = {}, bool keep_dims = false);

// Index (i64, no gradient) of the first largest element along one axis, which vanishes. NaN counts as largest.
Tensor ArgMax(const Tensor& x, int axis = -1);

// The sum over all axes along which `shape` had to be stretched to the shape of `x`: the gradient of a broadcast.
Tensor SumTo(const Tensor& x, const Shape& shape);

}  // namespace fovea
