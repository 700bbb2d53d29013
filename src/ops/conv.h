// Convolution on the tape.
#pragma once

#include "kernels/conv2d/conv2d.h"
#include "tensor/tape.h"

namespace fovea {

using kernels::Act;
using kernels::Conv2dGeometry;

// y [B,P,Q,O] = conv(x [B,Y,X,C], weight [O,C/groups,J,K]) + bias [O]; bias may be undefined. Zero padding,
// cross-correlation as torch.nn.functional.conv2d. Throws kInvalidArgument when the shapes do not fit together.
Tensor Conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dGeometry& geometry);

// The same with packed weights and a fused activation. Inference only: records nothing.
Tensor Conv2d(const Tensor& x, const kernels::PackedConv2d& packed, const Shape& weight_shape);

// Padding that keeps ceil(size / stride) pixels, as TensorFlow's SAME: when the sum is odd the extra row and column go
// to the bottom and right.
Conv2dGeometry SamePadding(Conv2dGeometry geometry, int64_t height, int64_t width, int64_t kernel_y, int64_t kernel_x);

}  // namespace fovea
