// The linear layer in f32 on weights in panels: what PackedLinear runs wherever it does not multiply in bf16.
//
// A panel holds the weights of a few neighbouring outputs, two vectors wide, input after input, so that the innermost
// loop reads it in one stream. Long inputs are cut into blocks, so that a panel and the rows it meets fit into the
// second-level cache; while one panel is in use, the next is fetched. For the encoders, whose weights are larger than
// any cache and are met by 50 to 260 rows, that is 1.2 to 1.7 times as fast as oneDNN's inner_product and needs no code
// generated for each number of rows. Weights may be bf16: they are widened on the way, which is exact, and cost half
// the memory traffic.
//
// Each result is one sum in the order of the inputs: it depends neither on the other rows nor on the number of threads.
#pragma once

#include "kernels/activation/activation.h"
#include "tensor/tensor.h"

namespace fovea::kernels {

struct PanelWeight {
  Tensor data;  // f32 or bf16 [blocks, panels, inputs of the block, width]; the last block may be shorter; outputs past
                // the last are zero
  int64_t out_features = 0, in_features = 0;
  int64_t block = 0;  // inputs of each block but the last
  int64_t width = 0;  // outputs of a panel
};

// weight: contiguous f32 or bf16 [O,I], O and I at least 1. The result is laid out for this CPU.
PanelWeight PackPanels(const Tensor& weight);

// y [M,O] = act(x [M,I] weight [O,I]^T + bias [O]). x, bias and y contiguous f32, M at least 1; `bias` may be
// undefined.
void PanelLinear(const Tensor& x, const PanelWeight& weight, const Tensor& bias, Act act, Tensor& y);

}  // namespace fovea::kernels
