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

}  // namespace fovea
