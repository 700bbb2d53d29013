// Pooling over windows of an NHWC image. A window is described per axis, so kernel size, stride, padding, ceil mode and
// adaptive pooling all become two short lists; src/ops makes them.
//
// Contract: x [B,Y,X,C], y [B,rows.size(),columns.size(),C], contiguous, one type, f32 or bf16; gradients likewise.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace fovea::kernels {

// Elements [begin, end) of one axis (inside the image, not empty) go into one output; averages divide by the product of
// the `count`s of both axes, which padding may make larger than end - begin.
struct PoolWindow {
  int64_t begin;
  int64_t end;
  int64_t count;
};
using PoolAxis = std::vector<PoolWindow>;

// Largest element of each window; NaN when there is one.
void MaxPool(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y);
// dy goes to the first largest element (or the first NaN) of its window, in row-major order.
void MaxPoolBackward(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx);

void AvgPool(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y);
void AvgPoolBackward(const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx);

namespace ref {
void MaxPool(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y);
void MaxPoolBackward(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx);
void AvgPool(const Tensor& x, const PoolAxis& rows, const PoolAxis& columns, Tensor& y);
void AvgPoolBackward(const PoolAxis& rows, const PoolAxis& columns, const Tensor& dy, Tensor& dx);
}  // namespace ref

}  // namespace fovea::kernels
