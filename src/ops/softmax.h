// Softmax and its logarithm along the last axis, recorded on the tape. Inputs f32 or bf16 of rank >= 1, computed in
// f32.
//
// A row that is -inf everywhere gives zeros from Softmax (PyTorch: NaN) and -inf from LogSoftmax, so that a fully
// masked row cannot spoil the rest of a batch.
#pragma once

#include "tensor/tensor.h"

namespace fovea {

Tensor Softmax(const Tensor& x);
Tensor LogSoftmax(const Tensor& x);

}  // namespace fovea
