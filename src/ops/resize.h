// Resampling of feature maps, recorded on the tape: what torch.nn.functional.interpolate does to tensors. Used on
// position embeddings and decoder features; photographs are resized by media/, which follows Pillow.
#pragma once

#include <array>
#include <cstdint>

#include "tensor/tensor.h"

namespace fovea {

enum class ResizeMode : uint8_t { kBilinear, kBicubic };

struct ResizeOptions {
  ResizeMode mode = ResizeMode::kBilinear;
  bool align_corners = false;  // corner pixels keep their values; otherwise pixels are areas
  bool antialias = false;      // widens the filter when shrinking; not together with align_corners
};

// x [B,Y,X,C] to [B,size[0],size[1],C]. f32 or bf16, computed in f32. Bicubic uses a = -0.75 (-0.5 with antialias), as
// PyTorch.
Tensor Resize2d(const Tensor& x, std::array<int64_t, 2> size, const ResizeOptions& options = {});

}  // namespace fovea
