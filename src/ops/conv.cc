#include "ops/conv.h"

#include <algorithm>

#include "base/error.h"

namespace fovea {
namespace {

Shape CheckedOutputShape(const Tensor& x, const Shape& weight, const Conv2dGeometry& g) {
  Require(x.rank() == 4 && weight.rank() == 4, "[conv2d] expected pixels [B,Y,X,C] and weight [O,C/groups,J,K], got ",
          x.shape(), " and ", weight);
  Require(g.groups >= 1 && g.stride_y >= 1 && g.stride_x >= 1 && g.dilation_y >= 1 && g.dilation_x >= 1,
          "[conv2d] expected groups, strides and dilations >= 1");
  Require(g.pad_top >= 0 && g.pad_left >= 0 && g.pad_bottom >= 0 && g.pad_right >= 0,
          "[conv2d] expected paddings >= 0");
  Require(x.shape()[3] == weight[1] * g.groups && weight[0] % g.groups == 0, "[conv2d] expected ", weight[1] * g.groups,
          " input channels in ", g.groups, " groups for weight ", weight, ", got pixels ", x.shape());
  const auto [height, width] = kernels::Conv2dOutputSize(x.shape()[1], x.shape()[2], weight[2], weight[3], g);
  Require(height > 0 && width > 0, "[conv2d] expected pictures at least as large as the kernel ", weight, ", got ",
          x.shape());
  return {x.shape()[0], height, width, weight[0]};
}

// The convolution and its gradients with operands rounded to bf16; `y`: room for the result, f32 like all that comes
// out.
Tensor Conv2dBf16(const Tensor& x_in, const Tensor& weight_in, const Tensor& bias, const Conv2dGeometry& geometry,
                  Tensor y) {
  const Tensor x = x_in.Contiguous().To(DType::kBF16), weight = weight_in.Contiguous().To(DType::kBF16);
  kernels::Conv2d(x, weight, bias, geometry, y);
  return Record({&x_in, &weight_in, &bias}, y, [x, weight, bias, geometry](const Tensor& wide_dy, const Needs& needs) {
    const Tensor dy = wide_dy.To(DType::kBF16);
    InputGradients gradients(3);
    if (needs[0]) {
      gradients[0] = Tensor::Empty(x.shape());
      kernels::Conv2dBackwardData(dy, weight, geometry, gradients[0]);
    }
    if (needs[1] || needs[2]) {
      gradients[1] = Tensor::Empty(weight.shape());
      if (needs[2]) gradients[2] = Tensor::Empty(bias.shape());
      kernels::Conv2dBackwardWeights(x, dy, geometry, gradients[1], gradients[2]);
    }
    return gradients;
  });
}

}  // namespace

Tensor Conv2d(const Tensor& x_in, const Tensor& weight_in, const Tensor& bias, const Conv2dGeometry& geometry) {
  const Tensor x = x_in.Contiguous(), weight = weight_in.Contiguous();
  Tensor y = Tensor::Empty(CheckedOutputShape(x, weight.shape(), geometry), x.dtype());
  Require(weight.dtype() == x.dtype() && (!bias.defined() || bias.dtype() == x.dtype()),
          "[conv2d] expected one element type, got pixels ", x.dtype(), ", weight ", weight.dtype());
  Require(!bias.defined() || bias.shape() == Shape{weight.shape()[0]}, "[conv2d] expected bias [", weight.shape()[0],
          "], got ", bias.shape());
  if (Tape::ComputesBf16() && x.dtype() == DType::kF32 && y.numel() > 0)
    return Conv2dBf16(x_in, weight_in, bias, geometry, y);
  if (y.numel() > 0) kernels::Conv2d(x, weight, bias, geometry, y);
  return Record({&x_in, &weight_in, &bias}, y, [x, weight, bias, geometry](const Tensor& dy, const Needs& needs) {
    InputGradients gradients(3);
    if (needs[0]) {
      gradients[0] = Tensor::Empty(x.shape(), x.dtype());
      kernels::Conv2dBackwardData(dy, weight, geometry, gradients[0]);
    }
    if (needs[1] || needs[2]) {
      gradients[1] = Tensor::Empty(weight.shape(), weight.dtype());
      if (needs[2]) gradients[2] = Tensor::Empty(bias.shape(), bias.dtype());
      kernels::Conv2dBackwardWeights(x, dy, geometry, gradients[1], gradients[2]);
    }
    return gradients;
  });
}

Tensor Conv2d(const Tensor& x_in, const kernels::PackedConv2d& packed, const Shape& weight_shape) {
  const Tensor x = x_in.Contiguous();
  Tensor y = Tensor::Empty(CheckedOutputShape(x, weight_shape, packed.geometry()), x.dtype());
  if (y.numel() > 0) packed.Run(x, y);
  return y;
}

Conv2dGeometry SamePadding(Conv2dGeometry geometry, int64_t height, int64_t width, int64_t kernel_y, int64_t kernel_x) {
  const auto total = [](int64_t size, int64_t kernel, int64_t stride, int64_t dilation) {
    const int64_t kept = (size + stride - 1) / stride;
    return std::max<int64_t>(0, (kept - 1) * stride + dilation * (kernel - 1) + 1 - size);
  };
  const int64_t y = total(height, kernel_y, geometry.stride_y, geometry.dilation_y);
  const int64_t x = total(width, kernel_x, geometry.stride_x, geometry.dilation_x);
  geometry.pad_top = y / 2;
  geometry.pad_bottom = y - y / 2;
  geometry.pad_left = x / 2;
  geometry.pad_right = x - x / 2;
  return geometry;
}

}  // namespace fovea
