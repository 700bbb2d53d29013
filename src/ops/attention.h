// Fused attention; never holds a T x S matrix.
#pragma once

#include <optional>

#include "tensor/tensor.h"

namespace fovea {

// Legend: B batch, H query heads, K key/value heads, T queries, S keys, E head dimension, V head dimension of v (mostly
// E).
struct AttentionOptions {
  std::optional<float> scale;  // 1/sqrt(E) when not given
  // Query t sees keys s <= t + S - T: the queries are the last T positions, as when a cache holds the earlier keys.
  bool is_causal = false;
  // With is_causal: of those only the last `window` keys, s > t + S - T - window; 0: all of them.
  int64_t window = 0;
  // With is_causal: the first so many queries see each other as well (a prefix of pictures). At most T.
  int64_t bidirectional = 0;
  // Added to the scaled scores; broadcasts to [B,H,T,S]; f32 or bf16. -inf hides a key. Relative positions, ALiBi,
  // window masks. Its gradient, if asked for, is the one thing that holds B x H x T x S numbers.
  Tensor bias = {};
  // bool [B,S]: true for keys that exist, false for padding (as attention_mask of Hugging Face).
  Tensor key_mask = {};
};

// softmax(scale q k^T + bias) v for q [B,H,T,E], k [B,K,S,E], v [B,K,S,V] -> [B,H,T,V]. H is a multiple of K: query
// head h reads key head h / (H/K). One type, f32 or bf16; without a tape k and v may be of the other type than q.
// Inputs may be strided views whose last axis is dense, so that heads split by Permute need no copy; the result lies in
// memory as [B,T,H,V], so that Permute(y, {0,2,1,3}) followed by Reshape to [B,T,H*V] copies nothing. A query that sees
// no key gives zeros. Throws kInvalidArgument when shapes or types do not fit.
Tensor ScaledDotProductAttention(const Tensor& q, const Tensor& k, const Tensor& v,
                                 const AttentionOptions& options = {});

}  // namespace fovea
