// A picture as a sequence of patches, for models that see pictures of any proportions: SigLIP 2 with native aspect
// ratio (NaFlex), and Qwen2-VL.
//
// The picture keeps its proportions as far as whole patches allow. For SigLIP 2 it becomes as large as
// `max_num_patches` lets it, and zeros fill the sequence up; for Qwen2-VL it keeps its size where that is between two
// limits, and the sequence is as long as the picture has patches. Patches follow row by row. Same values, to the bit,
// as Siglip2ImageProcessor and Qwen2VLImageProcessor of transformers (Pillow backend; the latter repeats each patch in
// time and orders them by the squares that its model merges, which is our model's business, as are positions).
#pragma once

#include <cstdint>

#include "media/preprocess.h"

namespace fovea::media {

struct PatchSpec {
  int64_t patch_size = 16;        // px, side P of a patch
  int64_t max_num_patches = 256;  // N; 0: bounded by pixels instead
  PreprocessSpec pixels;          // filter, rescaling and mean; its size is chosen for each picture

  // Of Qwen2-VL: both sides are multiples of merge_size patches, and the area is between these.
  int64_t merge_size = 1;
  int64_t min_pixels = 0, max_pixels = 0;

  // Reads a preprocessor_config.json (or processor_config.json) with the "image_processor_type" Siglip2ImageProcessor
  // or Qwen2VLImageProcessor. Throws as PreprocessSpec::FromConfig.
  static PatchSpec FromConfig(const base::Config& config);

  // "at most 256 patches of 16x16 px, ..." for people.
  std::string ToString() const;
};

// Patches of a picture: down and across.
struct PatchGrid {
  int64_t rows, columns;
};
// The grid of a picture of this size, at most N patches, at least one. Throws kInvalidArgument when the spec does not
// resize and the picture has no whole number of patches or too many, and for a picture that is more than 200 times as
// long as it is wide where its area is bounded, as the reference.
PatchGrid GridOf(const PatchSpec& spec, int64_t width, int64_t height);
// How long the sequence of a picture of this size is: max_num_patches, or as many patches as it has.
int64_t LengthOf(const PatchSpec& spec, int64_t width, int64_t height);

struct Patches {
  Tensor values;   // f32 [N, P*P*3], patch after patch, each [y,x,colour]; zeros after the last
  Tensor mask;     // i32 [N]: 1 for a patch of the picture, 0 for filling
  PatchGrid grid;  // rows * columns patches are filled
};
Patches MakePatches(const Image& image, const PatchSpec& spec);

}  // namespace fovea::media
