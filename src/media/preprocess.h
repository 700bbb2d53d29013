// From a picture to the pixels a model was trained on, as its preprocessor_config.json says.
//
// The steps are those of the image processors of Hugging Face transformers, in their order and arithmetic (Pillow's
// resize on 8 bits, then f32), so the values are the same to the bit. Options that are not understood are refused by
// name: a picture prepared wrongly gives plausible nonsense. Processors with rules of their own (tiling, patches of
// varying number, thumbnails) belong to their model's file, which may call Resize and Normalize directly.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "fovea/image.h"
#include "media/resize.h"
#include "tensor/tensor.h"

namespace fovea::media {

// How large a picture becomes before cropping. Exactly one of the two ways is set.
struct ResizeRule {
  int64_t height = 0, width = 0;  // px: stretched to this size
  int64_t shortest_edge = 0;      // px: the short side becomes this, the long one follows (rounded down)
  int64_t longest_edge = 0;       // px: with shortest_edge, the most the long side may have; 0 for no limit
};

struct PreprocessSpec {
  // Resize only the centred square of crop_pct times the short side, with edges that need not fall on whole pixels
  // (Pillow's resize(box=...)). 0: the whole picture. Keys "crop_first": true and "crop_pct", which transformers does
  // not know; with them "do_center_crop" means this crop, and there is none after resizing.
  double crop_first_pct = 0;

  bool do_resize = true;
  ResizeRule size;
  Filter resample = Filter::kBilinear;

  bool do_center_crop = false;
  int64_t crop_height = 0, crop_width = 0;  // px; what the picture does not fill is black

  // value = byte * rescale_factor (- 1 with rescale_offset), then (value - mean) / std, then with include_top / std
  // once more.
  bool do_rescale = true;
  double rescale_factor = 1.0 / 255;
  bool rescale_offset = false;
  bool do_normalize = true;
  std::array<float, 3> mean = {0.5f, 0.5f, 0.5f};
  std::array<float, 3> std = {0.5f, 0.5f, 0.5f};
  bool include_top = false;

  // Reads a preprocessor_config.json. Keys that are absent have the default of the "image_processor_type" named there
  // (ViT when none is). Throws kInvalidArgument for wrong values and kUnimplemented for options or processors that this
  // does not cover, naming them.
  static PreprocessSpec FromConfig(const base::Config& config);

  // "resize to 224x224 bicubic, crop 224x224, ..." for people.
  std::string ToString() const;
};

// Size of what Preprocess gives for a picture of this size.
struct PixelSize {
  int64_t height, width;  // px
};
PixelSize OutputSize(const PreprocessSpec& spec, int64_t width, int64_t height);

// Pixels for the model: f32 [Y,X,3] with Y, X = OutputSize.
Tensor Preprocess(const Image& image, const PreprocessSpec& spec);

// As above, into picture `row` of a contiguous f32 batch [B,Y,X,3]. Rows may be filled from several threads at once.
void PreprocessInto(const Image& image, const PreprocessSpec& spec, const Tensor& batch, int64_t row);

}  // namespace fovea::media
