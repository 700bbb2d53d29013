// Classes given as words: what a model that reads text makes of them, for zero-shot classification.
//
// Each label is put into every template, and its feature is the normalised mean of their normalised features: the
// prompt ensemble of Radford et al. 2021 (CLIP), arXiv 2103.00020, section 3.1.4. Features are kept in a file of the
// user's cache folder, named after the model's fingerprint and the texts, because a thousand labels in eighty templates
// take minutes to encode and milliseconds to read.
#pragma once

#include <string>
#include <vector>

#include "fovea/model.h"
#include "tensor/tensor.h"

namespace fovea::runtime {

struct LabelFeatures {
  std::vector<std::string> names;
  Tensor features;  // [N,D], normalised
};

// `names` in a template: each in the place of its "{}".
std::vector<std::string> LabelTexts(const std::vector<std::string>& names, const std::string& pattern);

// Throws kUnimplemented when the model compares no pictures with texts, kInvalidArgument for no labels, an empty label,
// or a template without "{}".
LabelFeatures EncodeLabels(const LoadedModel& model, const std::vector<std::string>& names,
                           const LabelOptions& options);

// The `top_k` best labels for each of `image_features` [B,D], best first: softmax over the labels, or a sigmoid of
// each, as the model was trained.
std::vector<std::vector<Label>> ScoreLabels(const LoadedModel& model, const Tensor& image_features,
                                            const LabelFeatures& labels, int64_t top_k);

}  // namespace fovea::runtime
