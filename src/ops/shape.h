// Operators that move elements or look at them in another order, and compute nothing. Any element type; gradients flow
// for f32 and bf16. Views cost nothing where the layout allows it and share storage with their input; the others copy
// once.
//
// Axes count from the end when negative. Every function throws kInvalidArgument naming itself when sizes do not fit.
#pragma once

#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace fovea {

// The same elements in row-major order in another shape. One size may be -1: what remains. A view when x is contiguous,
// else a copy.
Tensor Reshape(const Tensor& x, std::initializer_list<int64_t> sizes);
Tensor Reshape(const Tensor& x, std::span<const int64_t> sizes);

// Axis i of the result is axis order[i] of x. A view.
Tensor Permute(const Tensor& x, std::initializer_list<int> order);
Tensor Permute(const Tensor& x, std::span<const int> order);
// Two axes exchanged. A view.
Tensor Transpose(const Tensor& x, int axis_a, int axis_b);

// Without the given axis, which must have size 1; with a new axis of size 1 before position `axis`. Views.
Tensor Squeeze(const Tensor& x, int axis);
Tensor Unsqueeze(const Tensor& x, int axis);

// Broadcast to `shape` by NumPy's rule. A view with stride 0; its gradient is summed over the repeats.
Tensor Expand(const Tensor& x, const Shape& shape);

// Elements [begin, end) of one axis; negative positions count from the end. A view.
Tensor Slice(const Tensor& x, int axis, int64_t begin, int64_t end);
// Pieces of the given sizes, which must add up to the axis. Views.
std::vector<Tensor> Split(const Tensor& x, int axis, std::span<const int64_t> sizes);
std::vector<Tensor> Split(const Tensor& x, int axis, int equal_parts);

// Joined along an existing axis (all other sizes equal), or along a new one (all shapes equal). Copies.
Tensor Concat(std::span<const Tensor> parts, int axis);
Tensor Concat(std::initializer_list<Tensor> parts, int axis);
Tensor Stack(std::span<const Tensor> parts, int axis);

// Entries of one axis picked by `index` i64 [N]: the axis gets size N. Repeats are allowed; gradients of repeats add up
// in the order of the index, so they are the same from run to run. Throws for an index outside [0, size).
Tensor IndexSelect(const Tensor& x, int axis, const Tensor& index);
// PyTorch's gather: result[..,i,..] = x[.., index[..,i,..], ..] along `axis`; index i64 of the shape of x but for that
// axis.
Tensor Gather(const Tensor& x, int axis, const Tensor& index);

// `before` and `after` entries of `value` added along one axis. Copies.
struct PadOptions {
  int axis = -1;
  int64_t before = 0;
  int64_t after = 0;
  float value = 0.0f;
};
Tensor Pad(const Tensor& x, const PadOptions& options);

}  // namespace fovea
