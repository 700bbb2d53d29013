// Training losses, recorded on the tape.
#pragma once

#include "kernels/cross_entropy/cross_entropy.h"
#include "tensor/tensor.h"

namespace fovea {

using kernels::CrossEntropyOptions;

// Mean cross-entropy of softmax(logits) over the rows whose label is not options.ignore_index; a scalar f32, 0 when
// every row is ignored (PyTorch: NaN). logits [N,V] f32 or bf16; labels [N] i64, each in [0,V) or ignore_index, else
// kInvalidArgument.
Tensor CrossEntropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options = {});

// The losses below take f32 or bf16, compute in f32 and return a scalar f32. Both arguments get gradients unless said
// otherwise. All throw kInvalidArgument when shapes do not fit.

// InfoNCE of CLIP. logits [N,N]: row i scores text i against every image (transformers' logits_per_text), the true
// pairs on the diagonal. The mean of two cross-entropies: over each row (text to image) and over each column (image to
// text). The loss is symmetric, so logits_per_image gives the same number.
Tensor ContrastiveLoss(const Tensor& logits, float label_smoothing = 0.0f);

// SigLIP. logits [N,N] as above, with scale and bias already applied: -sum over all pairs of log sigmoid(z logits),
// z = 1 on the diagonal and -1 elsewhere, divided by N (not N^2), as transformers' Siglip.
Tensor SigmoidContrastiveLoss(const Tensor& logits);

// VSE++ (Faghri et al. 2018). scores [N,N], mostly cosines, true pairs on the diagonal: for each row and each column
// max(0, margin + score - score of its true pair), of the hardest wrong pair or summed over all wrong pairs; the sum
// over rows and columns (not the mean), as the authors.
struct MaxOfHingesOptions {
  float margin = 0.2f;
  bool is_hardest_only = true;
};
Tensor MaxOfHinges(const Tensor& scores, const MaxOfHingesOptions& options = {});

// Mean over all elements of (x - target)^2; and of d^2 / (2 beta) where d = |x - target| < beta, d - beta / 2 elsewhere
// (beta > 0). Equal shapes.
Tensor MseLoss(const Tensor& x, const Tensor& target);
Tensor SmoothL1Loss(const Tensor& x, const Tensor& target, float beta = 1.0f);

// Mean over all elements of the cross-entropy of sigmoid(logits) with targets in [0,1] of equal shape.
Tensor BinaryCrossEntropyWithLogits(const Tensor& logits, const Tensor& targets);

// Distillation (Hinton et al. 2015). logits [N,V] of student and teacher: T^2 KL(softmax(teacher / T) ||
// softmax(student / T)), mean over rows; temperature T > 0. A teacher without gradient is one that is not watched.
Tensor DistillationLoss(const Tensor& student, const Tensor& teacher, float temperature = 1.0f);
// The same over the rows and over the columns of two [N,N] similarity matrices, mean of both (affinity mimicking,
// Wu et al. 2023, TinyCLIP).
Tensor AffinityDistillationLoss(const Tensor& student, const Tensor& teacher, float temperature = 1.0f);

}  // namespace fovea
