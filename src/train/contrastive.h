// The contrastive step over pictures and texts, with gradient caching (Gao et al. 2021, arXiv 2101.06983): the loss
// sees the whole batch, the towers only a part of it at a time.
//
// First all features are computed part by part and nothing is recorded; then the loss and its gradient with respect to
// the features; then each part again, on a tape, with that gradient as the seed. The gradients are those of the plain
// computation but for the order of sums, at the price of a second forward; memory holds one part's activations, the
// features [N,D], and a few matrices [N,N]. Random masks are drawn alike both times, and the running statistics of
// batch norms move once. Batch norms that train see their own part only, as they do with gradient accumulation.
#pragma once

#include <cstdint>
#include <string>

#include "nn/entry.h"
#include "train/trainable.h"

namespace fovea::train {

struct ContrastiveOptions {
  std::string loss = "infonce";  // "sigmoid", "max_of_hinges"
  float label_smoothing = 0.0f;  // infonce
  float margin = 0.2f;           // max_of_hinges
  int64_t part = 0;              // pairs the towers see at once; 0: all, in one plain pass
  bool is_training = true;
  uint64_t seed = 0;
};

// The loss of pixels [N,Y,X,C] with texts of N rows, row n belonging to row n. Adds the gradients to the slots of
// `trainable`. Throws kUnimplemented when `model` lacks a tower.
double ContrastiveStep(models::Model& model, const Tensor& pixels, const models::TextInputs& texts,
                       Trainable& trainable, const ContrastiveOptions& options);

// The loss of features [N,D] each.
Tensor ContrastiveLossOf(const models::Model& model, const Tensor& image_features, const Tensor& text_features,
                         const ContrastiveOptions& options);

}  // namespace fovea::train
