#include "nn/transformer.h"

#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "tensor/tape.h"

namespace fovea::nn {

EncoderBlock::EncoderBlock(const EncoderBlockOptions& o, const EncoderBlockNames& names)
    : attention({.dim = o.dim, .heads = o.heads, .has_qkv_bias = o.has_qkv_bias, .dropout = o.attention_dropout}),
      norm1(o.dim, o.eps),
      norm2(o.dim, o.eps),
      fc1({.in_features = o.dim, .out_features = o.ffn}),
      fc2({.in_features = o.ffn, .out_features = o.dim}),
      options_(o),
      names_(&names) {}

void EncoderBlock::Visit(Visitor& v) {
  v(names_->q, attention.q);
  v(names_->k, attention.k);
  v(names_->v, attention.v);
  v(names_->out, attention.out);
  v(names_->norm1, norm1);
  v(names_->fc1, fc1);
  v(names_->fc2, fc2);
  v(names_->norm2, norm2);
}

Tensor EncoderBlock::Mlp(const Tensor& x) const { return Dropout(fc2(fc1(x, options_.act)), options_.dropout); }

Tensor EncoderBlock::operator()(const Tensor& x, const AttentionOptions& mask) const {
  return Tape::Recomputed(x, [this, mask](const Tensor& h) { return Forward(h, mask); });
}

Tensor EncoderBlock::Forward(const Tensor& x, const AttentionOptions& mask) const {
  const auto attend = [&](const Tensor& h) { return Dropout(attention(h, mask), options_.dropout); };
  if (options_.is_pre_norm) {
    const Tensor h = x + attend(norm1(x));  // [B,T,D]
    return h + Mlp(norm2(h));               // [B,T,D]
  }
  const Tensor h = norm1(x + attend(x));  // [B,T,D]
  return norm2(h + Mlp(h));               // [B,T,D]
}

}  // namespace fovea::nn
