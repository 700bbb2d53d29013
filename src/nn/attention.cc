#include "nn/attention.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/shape.h"
#include "ops/softmax.h"
#include "tensor/tape.h"

namespace fovea::nn {
namespace {

LinearOptions Projection(int64_t in, int64_t out, bool has_bias) {
  return {.in_features = in, .out_features = out, .has_bias = has_bias};
}

int64_t MemoryDim(const MultiHeadAttention::Options& o) { return o.memory_dim > 0 ? o.memory_dim : o.dim; }

// Which keys each query sees, bool [B,1,T,S].
Tensor Seen(const AttentionOptions& mask, int64_t B, int64_t T, int64_t S) {
  Tensor seen = Tensor::Empty({B, 1, T, S}, DType::kBool);
  const Tensor keys = mask.key_mask.defined() ? mask.key_mask.Contiguous() : Tensor();
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t t = 0; t < T; ++t) {
      const int64_t end = mask.is_causal ? std::max(t + 1, mask.bidirectional) + S - T : S;
      const int64_t begin = mask.is_causal && mask.window > 0 ? t + 1 + S - T - mask.window : 0;
      for (int64_t s = 0; s < S; ++s) {
        const bool exists = !keys.defined() || keys.data<bool>()[b * S + s];
        seen.mutable_data<bool>()[(b * T + t) * S + s] = exists && begin <= s && s < end;
      }
    }
  }
  return seen;
}

// Each key head once for every query head that reads it: [B,K,S,E] -> [B,H,S,E].
Tensor Repeated(const Tensor& x, int64_t heads) {
  const auto [B, K, S, E] = x.Dims<4>("attention");
  if (K == heads) return x;
  return Reshape(Expand(Unsqueeze(x, 2), {B, K, heads / K, S, E}), {B, heads, S, E});
}

// Attention spelt out, with weights that can be dropped: only while training.
Tensor AttendWithDropout(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& mask, double rate) {
  const auto [B, H, T, E] = q.Dims<4>("attention");
  const float scale = mask.scale.value_or(1.0f / std::sqrt(static_cast<float>(E)));
  Tensor scores = MatMul(q, Repeated(k, H), {.transpose_b = true}) * scale;  // [B,H,T,S]
  if (mask.bias.defined()) scores = scores + mask.bias;
  if (mask.key_mask.defined() || mask.is_causal)
    scores = Where(Seen(mask, B, T, k.dim(2)), scores, Tensor::Full({1}, -INFINITY, scores.dtype()));
  return MatMul(Dropout(Softmax(scores), rate), Repeated(v, H));  // [B,H,T,E]
}

}  // namespace

Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, double dropout) {
  const bool drops = dropout > 0 && Tape::IsTraining();
  return drops ? AttendWithDropout(q, k, v, options, dropout) : ScaledDotProductAttention(q, k, v, options);
}

MultiHeadAttention::MultiHeadAttention(const Options& o)
    : q(Projection(o.dim, o.dim, o.has_qkv_bias)),
      k(Projection(MemoryDim(o), o.dim, o.has_qkv_bias)),
      v(Projection(MemoryDim(o), o.dim, o.has_qkv_bias)),
      out(Projection(o.dim, o.dim, true)),
      options_(o) {
  Require(o.heads > 0 && o.dim % o.heads == 0, "[attention] expected a number of heads that divides the width ", o.dim,
          ", got ", o.heads);
}

Tensor MultiHeadAttention::Heads(const Tensor& projected) const {
  return Permute(Reshape(projected, {projected.dim(0), projected.dim(1), options_.heads, -1}), {0, 2, 1, 3});
}

Tensor MultiHeadAttention::Attend(const Tensor& query, const Tensor& key, const Tensor& value,
                                  const AttentionOptions& mask) const {
  const Tensor y = nn::Attend(query, key, value, mask, options_.dropout);                               // [B,H,T,E]
  const Tensor joined = Reshape(Permute(y, {0, 2, 1, 3}), {query.dim(0), query.dim(2), options_.dim});  // [B,T,D]
  return options_.has_out ? out(joined) : joined;                                                       // [B,T,D]
}

Tensor MultiHeadAttention::operator()(const Tensor& x, const AttentionOptions& mask) const {
  if (Tape::Active() != nullptr) return (*this)(x, x, mask);
  const auto [B, T, D] = x.Dims<3>("attention");
  const uint64_t version =
      (q.weight.version() + k.weight.version() + v.weight.version()) * 16 + static_cast<uint64_t>(x.dtype());
  const auto packed = packed_qkv_.Get(version, [&] {
    const DType dtype = x.dtype();
    const Tensor rows = Concat({q.weight.value().To(dtype), k.weight.value().To(dtype), v.weight.value().To(dtype)}, 0);
    return std::make_shared<const kernels::PackedLinear>(rows);
  });
  Tensor bias;
  if (options_.has_qkv_bias) {
    const uint64_t bias_version = q.bias.version() + k.bias.version() + v.bias.version();
    bias = *qkv_bias_.Get(bias_version, [&] {
      return std::make_shared<const Tensor>(Concat({q.bias.value(), k.bias.value(), v.bias.value()}, 0));
    });
  }
  const Tensor qkv = fovea::Linear(x, *packed, bias);                                          // [B,T,3D]
  const Tensor parts = Permute(Reshape(qkv, {B, T, 3, options_.heads, -1}), {2, 0, 3, 1, 4});  // [3,B,H,T,E]
  const auto part = [&](int64_t i) { return Squeeze(Slice(parts, 0, i, i + 1), 0); };
  return Attend(part(0), part(1), part(2), mask);
}

Tensor MultiHeadAttention::operator()(const Tensor& x, const Tensor& memory, const AttentionOptions& mask) const {
  return Attend(Heads(q(x)), Heads(k(memory)), Heads(v(memory)), mask);
}

}  // namespace fovea::nn
