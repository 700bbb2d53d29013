#include "ops/attention.h"

#include <cmath>

#include "base/error.h"
#include "kernels/attention/attention.h"
#include "ops/checks.h"
#include "ops/reduce.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

constexpr char kWho[] = "attention";

// The kernel wants the last axis dense; other strides are free.
Tensor WithDenseRows(const Tensor& x) { return x.strides()[3] == 1 || x.shape()[3] == 1 ? x : x.Contiguous(); }

void CheckOperands(const Tensor& q, const Tensor& k, const Tensor& v) {
  const auto [B, H, T, E] = q.Dims<4>("attention: q");
  const auto [BK, K, S, EK] = k.Dims<4>("attention: k");
  const auto [BV, KV, SV, V] = v.Dims<4>("attention: v");
  Require(BK == B && BV == B && EK == E && KV == K && SV == S && E > 0 && V > 0,
          "[attention] expected q [B,H,T,E], k [B,K,S,E], v [B,K,S,V], got shapes ", q.shape(), ", ", k.shape(),
          " and ", v.shape());
  Require(K > 0 && H % K == 0, "[attention] expected a number of query heads that is a multiple of the key heads, got ",
          H, " and ", K);
  ops::RequireSameFloat(k, v, kWho);
  if (Tape::Active() != nullptr) {
    ops::RequireSameFloat(q, k, kWho);
  } else {
    ops::RequireFloat(q, kWho);
  }
}

kernels::AttentionOptions CheckedOptions(const Tensor& q, const Tensor& k, const AttentionOptions& options) {
  kernels::AttentionOptions checked;
  checked.scale = options.scale.value_or(1.0f / std::sqrt(static_cast<float>(q.dim(3))));
  checked.is_causal = options.is_causal;
  Require(options.window >= 0 && 0 <= options.bidirectional && options.bidirectional <= q.dim(2),
          "[attention] expected a window of 0 or more and a prefix of 0 to ", q.dim(2), " queries, got ",
          options.window, " and ", options.bidirectional);
  checked.window = options.window;
  checked.bidirectional = options.bidirectional;
  if (options.bias.defined()) {
    const Shape scores = {q.dim(0), q.dim(1), q.dim(2), k.dim(2)};
    ops::RequireFloat(options.bias, kWho);
    Require(BroadcastShapes(options.bias.shape(), scores, kWho) == scores,
            "[attention] expected a bias that broadcasts to ", scores, ", got shape ", options.bias.shape());
    checked.bias = options.bias.To(DType::kF32).Expanded(scores);
  }
  if (options.key_mask.defined()) {
    Require(options.key_mask.dtype() == DType::kBool && options.key_mask.shape() == Shape({k.dim(0), k.dim(2)}),
            "[attention] expected a key mask bool [", k.dim(0), ",", k.dim(2), "], got ", options.key_mask.dtype(),
            options.key_mask.shape());
    checked.key_mask = options.key_mask.Contiguous();
  }
  return checked;
}

// Everything the backward pass reads again.
struct Saved {
  Tensor q, k, v, y, logsumexp;
  kernels::AttentionOptions options;
  Shape bias_shape;
  DType bias_dtype;
};

InputGradients AttentionVjp(const Saved& saved, const Tensor& dy, const Needs& needs) {
  kernels::AttentionGradients gradients;
  if (needs[0]) gradients.dq = Tensor::Empty(saved.q.shape(), saved.q.dtype());
  if (needs[1]) gradients.dk = Tensor::Empty(saved.k.shape(), saved.k.dtype());
  if (needs[2]) gradients.dv = Tensor::Empty(saved.v.shape(), saved.v.dtype());
  if (needs[3]) gradients.dbias = Tensor::Empty({saved.q.dim(0), saved.q.dim(1), saved.q.dim(2), saved.k.dim(2)});
  kernels::AttentionBackward(saved.q, saved.k, saved.v, saved.options, saved.y, saved.logsumexp, dy, gradients);
  const Tensor dbias = needs[3] ? SumTo(gradients.dbias, saved.bias_shape).To(saved.bias_dtype) : Tensor();
  return {gradients.dq, gradients.dk, gradients.dv, dbias};
}

}  // namespace

Tensor ScaledDotProductAttention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  CheckOperands(q, k, v);
  Saved saved{.q = WithDenseRows(q),
              .k = WithDenseRows(k),
              .v = WithDenseRows(v),
              .options = CheckedOptions(q, k, options),
              .bias_shape = options.bias.shape(),
              .bias_dtype = options.bias.dtype()};
  const int heads_first[] = {0, 2, 1, 3};
  saved.y = Tensor::Empty({q.dim(0), q.dim(2), q.dim(1), v.dim(3)}, q.dtype())
                .Permuted(heads_first);  // [B,H,T,V] lying as [B,T,H,V]
  if (Tape::Active() != nullptr) saved.logsumexp = Tensor::Empty({q.dim(0), q.dim(1), q.dim(2)});
  kernels::Attention(saved.q, saved.k, saved.v, saved.options, saved.y, saved.logsumexp);
  return Record({&q, &k, &v, &options.bias}, saved.y,
                [saved](const Tensor& dy, const Needs& needs) { return AttentionVjp(saved, dy, needs); });
}

}  // namespace fovea
