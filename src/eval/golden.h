// Golden files (tools/dump_golden.py describes them): a model's inputs beside everything the reference computes from
// them. The parity tests and `fovea verify` run a network on such inputs through every capability they concern and
// compare what comes out, stage by stage.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "nn/entry.h"
#include "nn/pictures.h"

namespace fovea::eval {

using TensorsByName = std::map<std::string, Tensor>;

// The network of a golden file that carries its weights ("weights.<name>", metadata "config"), as the parity tests use
// it. Throws what Entry::create and AssignParameters throw.
std::unique_ptr<models::Model> BuildGolden(const formats::SafetensorsFile& file);

// The tensors named "input.<name>", by <name>; copies.
TensorsByName GoldenInputs(const formats::SafetensorsFile& file);

// What the decoder of `model` is given of the pictures in `inputs`: of pixels [R,Y,X,C]; of pixels that are the tiles
// of pictures, with tile_shapes i64 [R,5]: how many tiles each picture has, in how many rows and columns, and its
// height and width in px; or of patches [R,P,F] with shapes i64 [R,2].
struct GoldenPictures {
  Tensor vectors;                          // [R,N,D], or of tiles and patches [1,N,D], one picture after the other
  std::vector<int64_t> counts;             // vectors of each picture
  std::vector<models::PictureGrid> grids;  // of patches
  // Picture `index`, as MakePrompt takes it: [N,D], or of patches [P,Q,D].
  Tensor Picture(size_t index) const;
};
GoldenPictures EmbedGoldenPictures(const models::Model& model, const TensorsByName& inputs);

// What `model` computes from `inputs`, by the names of the file's layout: pixels or patches give features, grid and
// logits; ids give text_features, text_tokens and text_logits, of a decoder (with memory, if it reads one) hidden and
// token_logits; both give logits_per_image and, of an encoder that reads both, match_logits; regions with ids give
// joint_features, joint_text_tokens, joint_regions and the heads. Outputs that a model lacks are left out. Recorded
// when a tape is active. Throws what the capabilities throw.
TensorsByName RunCapabilities(const models::Model& model, const TensorsByName& inputs);

// How far `actual` is from the stored `expected` (equal numbers of elements; f32).
struct Difference {
  double max_abs = 0;
  double scale = 0;  // largest magnitude of `expected`
  double max_rel() const { return max_abs / (scale > 0 ? scale : 1); }
};
// With `step` > 1, `expected` [N] holds every step-th element of `actual`. Throws kCorruptData naming `name` when the
// numbers of elements do not fit. NaN counts as an infinite difference.
Difference Compare(const Tensor& actual, const Tensor& expected, int64_t step, const std::string& name);

}  // namespace fovea::eval
