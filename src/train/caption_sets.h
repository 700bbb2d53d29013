// The contrastive step over pictures that come from a grid cache, each with several captions.
//
// All captions of a picture share its one pass through the tower: InfoNCE for each set of captions, averaged. Two
// pictures of a batch with the same words (weak labels repeat) are not held against each other: both count as right.
// Captions run through the text tower sorted by length in parts, so that short ones are not padded to the longest.
#pragma once

#include <cstdint>

#include "nn/entry.h"
#include "runtime/text_encoder.h"
#include "train/data/batches.h"
#include "train/trainable.h"

namespace fovea::train {

struct CaptionSetOptions {
  int64_t blocks = 0;  // of the picture tower, that the grids have passed
  float label_smoothing = 0.0f;
  bool is_training = true;
  bool recomputes = false;  // gradient checkpointing
  uint64_t seed = 0;
};

// The loss of batch.grids with batch.caption_sets. Adds the gradients to the slots of `trainable`.
double CaptionSetStep(const models::Model& model, const runtime::TextEncoder& texts, const Batch& batch,
                      Trainable& trainable, const CaptionSetOptions& options);

// logits [N,N] (pictures in rows); is_same[i * N + j]: caption j is right for picture i, with the diagonal. The mean of
// the cross-entropies of rows and columns with targets that share 1 - label_smoothing among what is right.
Tensor SharedContrastiveLoss(const Tensor& logits, const std::vector<bool>& is_same, float label_smoothing);

}  // namespace fovea::train
