// From a picture to the pixels a model was trained on, as its preprocessor_config.json says.
//
// The steps are those of the image processors of Hugging Face transformers, in their order and arithmetic (Pillow's
// resize on 8 bits, then f32), so the values are the same to the bit. Options that are not understood are refused by
// name: a picture prepared wrongly gives plausible nonsense. The transforms of torchvision and open_clip differ in how
// they round and are covered too. Patches of varying number are in media/patches.h; processors with rules of their own
// (tiling, thumbnails) belong to their model's file, which may call Resize directly.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "fovea/image.h"
#include "media/resize.h"
#include "tensor/tensor.h"

namespace fovea::media {

// What a height and a width mean for a picture of other proportions.
enum class Fit {
  kStretch,  // it gets exactly this size
  kInside,   // it keeps its proportions and is as large as fits inside
  kCover,    // it keeps its proportions and is as small as covers them
};

// How large a picture becomes before cropping. Exactly one of the two ways is set.
struct ResizeRule {
  int64_t height = 0, width = 0;  // px, with `fit`
  int64_t shortest_edge = 0;      // px: the short side becomes this, the long one follows (rounded down)
  int64_t longest_edge = 0;       // px: with shortest_edge, the most the long side may have; 0 for no limit
  Fit fit = Fit::kStretch;
};

// Where the centre is when one pixel is left over. In transformers a crop starts half a pixel up or left of it and a
// border is wider there; torchvision rounds the start of a crop to even and makes the border narrower there.
enum class Centring { kTransformers, kTorchvision };

struct PreprocessSpec {
  // Resize only the centred square of crop_pct times the short side, with edges that need not fall on whole pixels
  // (Pillow's resize(box=...)). 0: the whole picture. Keys "crop_first": true and "crop_pct", which transformers does
  // not know; with them "do_center_crop" means this crop, and there is none after resizing.
  double crop_first_pct = 0;

  bool do_resize = true;
  ResizeRule size;
  Filter resample = Filter::kBilinear;
  bool resizes_floats = false;  // nothing is rounded to bytes when resizing; not with crop_first_pct or a border

  bool do_center_crop = false;
  int64_t crop_height = 0, crop_width = 0;  // px
  Centring centring = Centring::kTransformers;
  uint8_t fill = 0;  // grey level of what the picture does not fill of the crop

  // value = byte * rescale_factor (- 1 with rescale_offset), then (value - mean) / std, then with include_top / std
  // once more.
  bool do_rescale = true;
  double rescale_factor = 1.0 / 255;
  bool rescale_offset = false;
  bool do_normalize = true;
  std::array<float, 3> mean = {0.5f, 0.5f, 0.5f};
  std::array<float, 3> std = {0.5f, 0.5f, 0.5f};
  bool include_top = false;

  // Reads a preprocessor_config.json, or a processor_config.json with an "image_processor" in it. Keys that are absent
  // have the default of the "image_processor_type" named there, or else of the processor that transformers takes for
  // `model_type`, or else of ViT. "TorchvisionImageProcessor" is a name of ours for the evaluation transform of
  // torchvision's classifiers (AlexNet, VGG). Throws kInvalidArgument for wrong values and kUnimplemented for options
  // or processors that this does not cover, naming them.
  static PreprocessSpec FromConfig(const base::Config& config, std::string_view model_type = "");

  // What transformers' processor for the "model_type" of a config.json does by default. Throws kUnimplemented when
  // that is not known.
  static PreprocessSpec OfModel(const base::Config& model_config);

  // Reads an open_clip_config.json, or the "preprocess_cfg" of one: the evaluation transform of open_clip. The size
  // is the "image_size" of its "vision_cfg" when there is one, as there. Throws as FromConfig.
  static PreprocessSpec FromOpenClip(const base::Config& config);

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
