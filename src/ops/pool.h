// Pooling of NHWC images, recorded on the tape. x [B,Y,X,C], f32 or bf16, sums in f32. Output sizes follow PyTorch.
#pragma once

#include <array>
#include <cstdint>

#include "tensor/tensor.h"

namespace fovea {

// Each pair is {vertical, horizontal}, in pixels.
struct PoolOptions {
  std::array<int64_t, 2> kernel;
  std::array<int64_t, 2> stride = {0, 0};   // 0: as the kernel
  std::array<int64_t, 2> padding = {0, 0};  // at both ends, at most half the kernel; never the maximum of a window
  bool ceil_mode = false;  // round output sizes up; windows that would start in the padding at the end are left out
  bool count_include_pad = true;  // averages divide by the window with its padding
};

Tensor MaxPool2d(const Tensor& x, const PoolOptions& options);  // [B,Y',X',C]; NaN wins
Tensor AvgPool2d(const Tensor& x, const PoolOptions& options);  // [B,Y',X',C]

// Averages over size[0] x size[1] windows that cover the image evenly. [B,size[0],size[1],C]
Tensor AdaptiveAvgPool2d(const Tensor& x, std::array<int64_t, 2> size);

// The mean of all pixels. [B,C]
Tensor GlobalAvgPool(const Tensor& x);

}  // namespace fovea
