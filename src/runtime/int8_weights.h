// Weights stored as int8: what `fovea quantize --type int8` writes and every loader reads.
//
// In the file a matrix (or a filter bank) `name` [O,...] is I8, and beside it stands `name_scale` F32 [O]: the value is
// int8 times the scale of its row. Rows are symmetric around zero, in -127..127. Loading expands them to f32, so that a
// model computes as with any other file; what is saved is room on disk, to a quarter. Vectors (norms, biases) stay f32.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tensor/named_tensor.h"

namespace fovea::runtime {

constexpr std::string_view kScaleSuffix = "_scale";

struct Int8Rows {
  Tensor values;     // i8, the shape of the weight
  Tensor scale;      // f32 [O]
  double error = 0;  // |w - values * scale| / |w| over the whole tensor, 0 for zeros
};

// weight f32 [O,...] of rank >= 2. The scale of a row is the one of a few clippings with the least squared error.
// Throws kInvalidArgument for a value that is not finite.
Int8Rows QuantizeRows(const Tensor& weight, const std::string& name);

// Replaces each pair of an I8 tensor and its scale by one f32 tensor; everything else stays. Throws kCorruptData,
// naming `source`, when an I8 tensor has no scale or one of another shape or type, or a scale is not finite.
void ExpandInt8(std::vector<NamedTensor>& tensors, const std::string& source);

}  // namespace fovea::runtime
