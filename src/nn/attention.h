// Multi-head attention with its four projections (Vaswani et al. 2017, arXiv 1706.03762).
//
// The names of the projections differ from one family of models to the next (q_proj, query, q_lin), so the owner visits
// q, k, v and out itself. In inference self-attention multiplies by the three input projections at once.
#pragma once

#include "nn/linear.h"
#include "ops/attention.h"

namespace fovea::nn {

// ScaledDotProductAttention whose weights are dropped with probability `dropout` while training (then spelt out, as the
// fused kernel has no dropout).
Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, double dropout);

class MultiHeadAttention {
 public:
  struct Options {
    int64_t dim, heads;      // D, H; the head dimension E is D / H
    int64_t memory_dim = 0;  // size of what keys and values are made of; 0: dim
    bool has_qkv_bias = true;
    bool has_out = true;  // a projection after the heads are joined; LXMERT and BERT keep it elsewhere
    double dropout = 0;   // of the attention weights, while training
  };
  // Throws kInvalidArgument unless heads divides dim.
  explicit MultiHeadAttention(const Options& options);

  // Self-attention: x [B,T,D] -> [B,T,D]. Of `mask`: is_causal, bias, key_mask, scale.
  Tensor operator()(const Tensor& x, const AttentionOptions& mask = {}) const;
  // Cross-attention: queries from x [B,T,D], keys and values from memory [B,S,M] -> [B,T,D].
  Tensor operator()(const Tensor& x, const Tensor& memory, const AttentionOptions& mask) const;

  Linear q, k, v, out;

 private:
  Tensor Heads(const Tensor& projected) const;  // [B,T,D] -> [B,H,T,E]
  Tensor Attend(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionOptions& mask) const;

  Options options_;
  Derived<kernels::PackedLinear> packed_qkv_;
  Derived<Tensor> qkv_bias_;
};

}  // namespace fovea::nn
