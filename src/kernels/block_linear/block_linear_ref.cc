#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "kernels/block_linear/block_linear.h"

namespace fovea::kernels::ref {

Tensor RoundedInputs(const Tensor& x) {
  Tensor rounded = Tensor::Empty(x.shape());
  for (int64_t begin = 0; begin < x.numel(); begin += 32) {
    const float* from = x.data<float>() + begin;
    float* to = rounded.mutable_data<float>() + begin;
    float largest = 0, poison = 0;
    for (int i = 0; i < 32; ++i) {
      largest = std::max(largest, std::fabs(from[i]));
      poison += from[i] * 0.0f;
    }
    const float inverse = largest > 1e-30f ? 32512.0f / largest : 0.0f, scale = largest / 32512.0f + poison;
    for (int i = 0; i < 32; ++i) {
      const float code = std::nearbyint(from[i] * inverse), high = std::floor((code + 128) / 256);
      to[i] = (256 * high + std::max(code - 256 * high, -127.0f)) * scale;  // -128 has no positive twin
    }
  }
  return rounded;
}

void BlockLinear(const Tensor& x, std::span<const BlockMatrix* const> weights, const Tensor& bias, Act act, Tensor& y) {
  int64_t column = 0;
  for (const BlockMatrix* weight : weights) {
    const int64_t O = weight->rows(), M = y.dim(0);
    Tensor part = Tensor::Empty({M, O});
    ref::BlockLinear(x, *weight, bias.defined() ? bias.Sliced(0, column, column + O).Contiguous() : Tensor(), act,
                     part);
    for (int64_t m = 0; m < M; ++m)
      std::copy_n(part.data<float>() + m * O, O, y.mutable_data<float>() + m * y.dim(1) + column);
    column += O;
  }
}

void BlockLinear(const Tensor& x, const BlockMatrix& weight, const Tensor& bias, Act act, Tensor& y) {
  const int64_t I = weight.columns(), O = weight.rows(), M = x.numel() / I;
  const int64_t items = BlockItems(weight.type()), bytes = BlockBytes(weight.type());
  const Tensor rounded = RoundedInputs(x);
  base::ParallelFor(O, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> blocks(static_cast<size_t>(I / items * bytes));
    std::vector<float> row(static_cast<size_t>(I));
    for (int64_t o = begin; o < end; ++o) {
      weight.RowBlocks(o, blocks);
      for (int64_t b = 0; b < I / items; ++b)
        DequantizeBlock(weight.type(), blocks.data() + b * bytes, row.data() + b * items);
      for (int64_t m = 0; m < M; ++m) {
        double sum = bias.defined() ? bias.data<float>()[o] : 0.0;
        for (int64_t i = 0; i < I; ++i) sum += static_cast<double>(rounded.data<float>()[m * I + i]) * row[i];
        y.mutable_data<float>()[m * O + o] = static_cast<float>(sum);
      }
    }
  });
  if (act != Act::kIdentity) ref::Activate(act, y, y);
}

}  // namespace fovea::kernels::ref
