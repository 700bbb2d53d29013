// Token and position embeddings: rows of a table.
#pragma once

#include "kernels/block_matrix/block_matrix.h"
#include "tensor/tensor.h"

namespace fovea {

// table [V,D], ids i64 [...] -> [...,D]. The gradient of the table is dense [V,D]; repeated ids add up in their order.
// Throws kInvalidArgument for an id outside [0, V).
Tensor Embedding(const Tensor& table, const Tensor& ids);

// The same from a table of blocks, as f32; nothing is recorded.
Tensor Embedding(const kernels::BlockMatrix& table, const Tensor& ids);

}  // namespace fovea
