// A picture as a sequence of patches, for models that see pictures of any proportions: SigLIP 2 with native aspect
// ratio (NaFlex).
//
// The picture keeps its proportions as far as whole patches allow and becomes as large as `max_num_patches` lets it.
// Its patches follow row by row, and zeros fill the sequence up. Same values, to the bit, as Siglip2ImageProcessor of
// transformers (Pillow backend). Position embeddings are the model's business.
#pragma once

#include <cstdint>

#include "media/preprocess.h"

namespace fovea::media {

struct PatchSpec {
  int64_t patch_size = 16;        // px, side P of a patch
  int64_t max_num_patches = 256;  // N
  PreprocessSpec pixels;          // filter, rescaling and mean; its size is chosen for each picture

  // Reads a preprocessor_config.json (or processor_config.json) with "image_processor_type": "Siglip2ImageProcessor".
  // Throws as PreprocessSpec::FromConfig.
  static PatchSpec FromConfig(const base::Config& config);
};

// Patches of a picture: down and across.
struct PatchGrid {
  int64_t rows, columns;
};
// The grid of a picture of this size, at most N patches, at least one. Throws kInvalidArgument when the spec does not
// resize and the picture has no whole number of patches or too many.
PatchGrid GridOf(const PatchSpec& spec, int64_t width, int64_t height);

struct Patches {
  Tensor values;   // f32 [N, P*P*3], patch after patch, each [y,x,colour]; zeros after the last
  Tensor mask;     // i32 [N]: 1 for a patch of the picture, 0 for filling
  PatchGrid grid;  // rows * columns patches are filled
};
Patches MakePatches(const Image& image, const PatchSpec& spec);

}  // namespace fovea::media
