#include "nn/flamingo.h"

#include <cmath>

#include "ops/activation.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/shape.h"

namespace fovea::nn {
namespace {

constexpr double kEps = 1e-5;  // of the resampler's norms

Linear Plain(int64_t in, int64_t out) { return Linear({.in_features = in, .out_features = out, .has_bias = false}); }

Tensor Heads(const Tensor& x, int64_t heads) {  // [B,T,HE] -> [B,T,H,E]
  return Reshape(x, {x.dim(0), x.dim(1), heads, x.dim(2) / heads});
}
Tensor HeadsFirst(const Tensor& x) { return Permute(x, {0, 2, 1, 3}); }  // [B,T,H,E] <-> [B,H,T,E]
Tensor Joined(const Tensor& y) {                                         // [B,H,T,E] -> [B,T,HE]
  return Reshape(HeadsFirst(y), {y.dim(0), y.dim(2), y.dim(1) * y.dim(3)});
}

Tensor Row(const Tensor& x, int64_t row) { return x.defined() ? x.Sliced(0, row, row + 1) : x; }

// Added to scores: hides what a token does not see. mask bool [B,S] or [B,T,S] -> [B,1,1,S] or [B,1,T,S].
Tensor Hiding(const Tensor& mask) {
  if (!mask.defined()) return {};
  const Tensor seen = Unsqueeze(mask.rank() == 2 ? Unsqueeze(mask, 1) : mask, 1);
  return Where(seen, Tensor::Full({1}, 0.0f), Tensor::Full({1}, -INFINITY));
}

}  // namespace

// ---- resampler

PerceiverResampler::Block::Block(const PerceiverOptions& o)
    : heads(o.heads),
      context_layer_norm(o.dim, kEps),
      latents_layer_norm(o.dim, kEps),
      q(Plain(o.dim, o.heads * o.head_dim)),
      k(Plain(o.dim, o.heads * o.head_dim)),
      v(Plain(o.dim, o.heads * o.head_dim)),
      output(Plain(o.heads * o.head_dim, o.dim)),
      ln(o.dim, kEps),
      fc(Plain(o.dim, 4 * o.dim)),
      c_proj(Plain(4 * o.dim, o.dim)) {
  if (!o.has_qk_norms) return;
  q_norm.emplace(o.head_dim, kEps);
  k_norm.emplace(o.head_dim, kEps);
}

void PerceiverResampler::Block::Visit(Visitor& visitor) {
  visitor("0.context_layer_norm", context_layer_norm);
  visitor("0.latents_layer_norm", latents_layer_norm);
  visitor("0.q_layer_norm", q_norm);
  visitor("0.k_layer_norm", k_norm);
  visitor("0.q_proj", q);
  visitor("0.k_proj", k);
  visitor("0.v_proj", v);
  visitor("0.output_proj", output);
  visitor("1.ln", ln);
  visitor("1.fc", fc);
  visitor("1.c_proj", c_proj);
}

Tensor PerceiverResampler::Block::operator()(const Tensor& context, const Tensor& latents) const {
  const Tensor normed = latents_layer_norm(latents);                       // [R,L,W]
  const Tensor seen = Concat({context_layer_norm(context), normed}, 1);    // [R,P+L,W]
  Tensor queries = Heads(q(normed), heads), keys = Heads(k(seen), heads);  // [R,L,H,E], [R,P+L,H,E]
  if (q_norm) queries = (*q_norm)(queries);
  if (k_norm) keys = (*k_norm)(keys);
  const Tensor y = ScaledDotProductAttention(HeadsFirst(queries), HeadsFirst(keys), HeadsFirst(Heads(v(seen), heads)));
  const Tensor h = latents + output(Joined(y));  // [R,L,W]
  return h + c_proj(fc(ln(h), Act::kRelu));      // [R,L,W]
}

PerceiverResampler::PerceiverResampler(const PerceiverOptions& o)
    : latents_(Shape{o.latents, o.dim}), layer_norm_(o.dim, kEps) {
  for (int64_t i = 0; i < o.depth; ++i) blocks_.emplace_back(o);
}

void PerceiverResampler::Visit(Visitor& v) {
  v("latents", latents_);
  v("blocks", blocks_);
  v("layer_norm", layer_norm_);
}

Tensor PerceiverResampler::operator()(const Tensor& pictures) const {
  const auto [L, W] = latents_.value().Dims<2>("latents");
  Tensor h = Expand(Unsqueeze(latents_, 0), {pictures.dim(0), L, W});  // [R,L,W]
  for (const Block& block : blocks_) h = block(pictures, h);
  return layer_norm_(h);
}

// ---- gated cross-attention

GatedCrossBlock::GatedCrossBlock(const GatedCrossOptions& o)
    : options_(o.block),
      input_layernorm_(o.block.dim, o.block.norm),
      post_attention_layernorm_(o.block.dim, o.block.norm),
      q_(Plain(o.block.dim, o.block.heads * o.block.head_dim)),
      k_(Plain(o.block.memory_dim, o.block.heads * o.block.head_dim)),
      v_(Plain(o.block.memory_dim, o.block.heads * o.block.head_dim)),
      out_(Plain(o.block.heads * o.block.head_dim, o.block.dim)),
      gate_(Plain(o.block.dim, o.block.ffn)),
      up_(Plain(o.block.dim, o.block.ffn)),
      down_(Plain(o.block.ffn, o.block.dim)),
      alpha_cross_attn_(o.has_vector_gate ? Shape{1, 1, o.block.dim} : Shape{1}),
      alpha_dense_(alpha_cross_attn_.shape()) {
  if (!o.has_qk_norms) return;
  q_norm_.emplace(o.block.head_dim, o.block.norm);
  k_norm_.emplace(o.block.head_dim, o.block.norm);
}

void GatedCrossBlock::Visit(Visitor& v) {
  v("input_layernorm", input_layernorm_);
  v("post_attention_layernorm", post_attention_layernorm_);
  v("cross_attn.q_proj", q_);
  v("cross_attn.k_proj", k_);
  v("cross_attn.v_proj", v_);
  v("cross_attn.o_proj", out_);
  v("cross_attn.q_layer_norm", q_norm_);
  v("cross_attn.k_layer_norm", k_norm_);
  v("mlp.gate_proj", gate_);
  v("mlp.up_proj", up_);
  v("mlp.down_proj", down_);
  v("alpha_cross_attn", alpha_cross_attn_);
  v("alpha_dense", alpha_dense_);
}

DecodeCache::Entries GatedCrossBlock::Project(const Tensor& memory) const {
  Tensor keys = Heads(k_(memory), options_.heads);  // [B,S,H,E]
  if (k_norm_) keys = (*k_norm_)(keys);
  return {HeadsFirst(keys), HeadsFirst(Heads(v_(memory), options_.heads))};
}

Tensor GatedCrossBlock::Attend(const Tensor& queries, const DecodeCache::Entries& memory, const Tensor& mask) const {
  return Joined(nn::Attend(queries, memory.keys, memory.values, {.bias = Hiding(mask)}, options_.attention_dropout));
}

Tensor GatedCrossBlock::Attention(const Tensor& x, const models::DecodeInputs& inputs, int64_t layer) const {
  const auto [B, T, D] = x.Dims<3>("gated cross-attention");
  Tensor queries = Heads(q_(x), options_.heads);  // [B,T,H,E]
  if (q_norm_) queries = (*q_norm_)(queries);
  queries = HeadsFirst(queries);  // [B,H,T,E]
  const auto projected = inputs.memory.defined() ? Project(inputs.memory) : DecodeCache::Entries{};
  if (inputs.caches.empty()) {
    if (!inputs.memory.defined()) return Tensor::Zeros({B, T, D}, x.dtype());
    return out_(Attend(queries, projected, inputs.memory_mask));  // [B,T,D]
  }
  std::vector<Tensor> rows;
  for (int64_t b = 0; b < B; ++b) {
    DecodeCache& cache = *inputs.caches[static_cast<size_t>(b)];
    if (inputs.memory.defined()) cache.SetMemory(layer, {Row(projected.keys, b), Row(projected.values, b)});
    const Tensor mask = inputs.memory_mask.defined() ? Row(inputs.memory_mask, b) : cache.memory_mask();
    rows.push_back(cache.has_memory() ? Attend(Row(queries, b), cache.memory(layer), mask)
                                      : Tensor::Zeros({1, T, options_.heads * options_.head_dim}, x.dtype()));
  }
  return out_(rows.size() == 1 ? rows[0] : Concat(rows, 0));  // [B,T,D]
}

Tensor GatedCrossBlock::operator()(const Tensor& x, const models::DecodeInputs& inputs, int64_t layer) const {
  const Tensor seen = Dropout(Attention(input_layernorm_(x), inputs, layer), options_.dropout);  // [B,T,D]
  const Tensor h = x + seen * Tanh(alpha_cross_attn_);                                           // [B,T,D]
  const Tensor normed = post_attention_layernorm_(h);                                            // [B,T,D]
  const Tensor dense = Dropout(down_(gate_(normed, options_.act) * up_(normed)), options_.dropout);
  return h + dense * Tanh(alpha_dense_);  // [B,T,D]
}

void KeepLastMask(const models::DecodeInputs& inputs) {
  const Tensor& mask = inputs.memory_mask;
  for (size_t b = 0; mask.defined() && b < inputs.caches.size(); ++b) {
    const Tensor row = Row(mask, static_cast<int64_t>(b));  // [1,S] or [1,T,S]
    const int64_t T = row.rank() == 3 ? row.dim(1) : 0;
    inputs.caches[b]->SetMemoryMask(T > 0 ? Squeeze(Slice(row, 1, T - 1, T), 1).Clone() : row.Clone());
  }
}

}  // namespace fovea::nn
