// Golden files (tools/dump_golden.py describes them): a model's inputs beside everything the reference computes from
// them. The parity tests and `fovea verify` run a network on such inputs through every capability they concern and
// compare what comes out, stage by stage.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "formats/safetensors.h"
#include "nn/entry.h"

namespace fovea::eval {

using TensorsByName = std::map<std::string, Tensor>;

// The network of a golden file that carries its weights ("weights.<name>", metadata "config"), as the parity tests use
// it. Throws what Entry::create and AssignParameters throw.
std::unique_ptr<models::Model> BuildGolden(const formats::SafetensorsFile& file);

// The tensors named "input.<name>", by <name>; copies.
TensorsByName GoldenInputs(const formats::SafetensorsFile& file);

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
