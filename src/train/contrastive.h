// The contrastive step over pictures and texts, with gradient caching (Gao et al. 2021, arXiv 2101.06983): the loss
// sees the whole batch, the towers only a part of it at a time.
//
// First all features are computed part by part and nothing is recorded; then the loss and its gradient with respect to
// the features; then each part again, on a tape, with that gradient as the seed. The gradients are those of the plain
// computation but for the order of sums, at the price of a second forward; memory holds one part's activations, the
// features [N,D], and a few matrices [N,N]. Random masks are drawn alike both times, and the running statistics of
// batch norms move once. Batch norms that train see their own part only, as they do with gradient accumulation.
//
// Several processes do the same with a part each: the features of all are gathered, every process computes the loss of
// the whole batch, and goes back through the rows that are its own.
#pragma once

#include <cstdint>
#include <string>

#include "nn/entry.h"
#include "train/processes.h"
#include "train/trainable.h"

namespace fovea::train {

struct ContrastiveOptions {
  std::string loss = "infonce";  // "sigmoid", "max_of_hinges"
  float label_smoothing = 0.0f;  // infonce
  float margin = 0.2f;           // max_of_hinges
  float distillation = 0.0f;     // share of the loss that is the distance to the teacher's affinities
  float temperature = 1.0f;      // of both affinities there
  int64_t part = 0;              // pairs the towers see at once; 0: all, in one plain pass
  bool is_training = true;
  bool recomputes = false;  // gradient checkpointing
  uint64_t seed = 0;
  const Processes* processes = nullptr;  // those that share the batch; nullptr: this one has it all
};

// N pairs, row n belonging to row n. Features that are given are used instead of the tower: it is not trained.
struct PairInputs {
  Tensor pixels;                         // [N,Y,X,C]
  models::TextInputs texts;              // N rows
  Tensor image_features, text_features;  // [N,D]
  Tensor teacher_images, teacher_texts;  // [N,E] of the teacher, with distillation
};

// The loss of the batch. Adds to the slots of `trainable` the gradients; of several processes those of the rows here,
// to be summed. Throws kUnimplemented when `model` lacks a tower.
double ContrastiveStep(models::Model& model, const PairInputs& pairs, Trainable& trainable,
                       const ContrastiveOptions& options);

// The loss of features [N,D] each, and of teacher features when they are defined.
Tensor ContrastiveLossOf(const models::Model& model, const PairInputs& features, const ContrastiveOptions& options);

}  // namespace fovea::train
