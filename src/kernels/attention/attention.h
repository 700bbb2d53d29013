// Fused scaled-dot-product attention: softmax(scale q k^T + bias) v in tiles, with the softmax kept as a running
// maximum and sum (Milakov and Gimelshein 2018; tiles and backward as in FlashAttention, Dao et al. 2022). The T x S
// scores never exist as a whole: memory is O(T + S).
//
// Legend: B batch, H query heads, K key/value heads (H is a multiple of K; query head h reads key head h / (H / K)), T
// queries, S keys, E head dimension of q and k, V head dimension of v.
#pragma once

#include "tensor/tensor.h"

namespace fovea::kernels {

// What surrounds the three operands. Undefined tensors do not take part.
struct AttentionOptions {
  float scale = 1.0f;
  // Query t sees keys s <= t + S - T: the queries are the last T positions.
  bool is_causal = false;
  // With is_causal: of those only the last `window` keys, s > t + S - T - window; 0: all of them.
  int64_t window = 0;
  // With is_causal: the first so many queries see each other too, s < max(t + 1, bidirectional) + S - T. At most T.
  int64_t bidirectional = 0;
  Tensor
      bias;  // f32, shape [B,H,T,S] with any strides (0 where broadcast); added to the scaled scores; -inf hides a key
  Tensor key_mask;  // bool [B,S], contiguous: false hides a key from all queries
};

// q [B,H,T,E], k [B,K,S,E], v [B,K,S,V] -> y [B,H,T,V]. q and y of one type, k and v of one type (as a cache holds
// them), each f32 or bf16; computed in f32. All may be strided views whose last axis is dense (so that y may lie in
// memory as [B,T,H,V]). `logsumexp` f32 [B,H,T], contiguous, gets log(sum exp(scores)), -inf for a query that sees no
// key, whose y is 0; may be undefined.
void Attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, Tensor& y,
               Tensor& logsumexp);

// What the backward pass writes; contiguous; undefined ones are skipped.
struct AttentionGradients {
  Tensor dq, dk, dv;  // of the types and shapes of q, k, v
  Tensor dbias;       // f32 [B,H,T,S]: the only thing of that size, and only when asked for
};

// All operands of one type. Recomputes the scores in tiles from `logsumexp`. y and dy [B,H,T,V], last axis dense.
// Results do not depend on the number of threads.
void AttentionBackward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                       const Tensor& y, const Tensor& logsumexp, const Tensor& dy, AttentionGradients& gradients);

namespace ref {
void Attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, Tensor& y,
               Tensor& logsumexp);
void AttentionBackward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                       const Tensor& y, const Tensor& logsumexp, const Tensor& dy, AttentionGradients& gradients);
}  // namespace ref

}  // namespace fovea::kernels
