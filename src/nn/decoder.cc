#include "nn/decoder.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/rotary.h"
#include "ops/shape.h"
#include "tensor/tape.h"

namespace fovea::nn {
namespace {

LinearOptions Projection(const DecoderBlockOptions& o, int64_t in, int64_t out, bool has_bias) {
  return {.in_features = in, .out_features = out, .has_bias = has_bias, .is_transposed = o.is_transposed};
}

void EmplaceIf(Optional<Linear>& layer, std::string_view name, const LinearOptions& options) {
  if (!name.empty()) layer.emplace(options);
}

void EmplaceIf(Optional<Norm>& norm, std::string_view name, int64_t size, const NormOptions& options) {
  if (!name.empty()) norm.emplace(size, options);
}

template <typename Part>
void VisitIf(Visitor& v, std::string_view name, Optional<Part>& part) {
  if (part) v(name, *part);
}

Tensor HeadsFirst(const Tensor& x) { return Permute(x, {0, 2, 1, 3}); }  // [B,T,H,E] <-> [B,H,T,E]

// [B,H,T,E] -> [B,T,H*E]
Tensor Joined(const Tensor& y) { return Reshape(HeadsFirst(y), {y.dim(0), y.dim(2), y.dim(1) * y.dim(3)}); }

Tensor Row(const Tensor& x, int64_t row) { return x.defined() ? x.Sliced(0, row, row + 1) : x; }

// Rows [1,...] one below the other.
Tensor Stacked(std::span<const Tensor> rows) { return rows.size() == 1 ? rows[0] : Concat(rows, 0); }

}  // namespace

void CheckBlock(const DecoderBlockOptions& o, std::string_view who) {
  Require(o.dim > 0 && o.heads > 0 && o.kv_heads > 0 && o.head_dim > 0 && o.ffn > 0 && o.heads % o.kv_heads == 0, "[",
          who, "] expected positive sizes and a number of query heads that is a multiple of the key heads, got ",
          "width ", o.dim, ", ", o.heads, " and ", o.kv_heads, " heads of ", o.head_dim, ", MLP ", o.ffn);
}

// ---- self-attention

SelfAttention::SelfAttention(const DecoderBlockOptions& o, const DecoderBlockNames& names)
    : options_(o), names_(&names), out_(Projection(o, o.heads * o.head_dim, o.dim, o.has_out_bias)) {
  const int64_t queries = o.heads * o.head_dim, keys = o.kv_heads * o.head_dim;
  EmplaceIf(q_, names.q, Projection(o, o.dim, queries, o.has_qkv_bias));
  EmplaceIf(k_, names.k, Projection(o, o.dim, keys, o.has_qkv_bias));
  EmplaceIf(v_, names.v, Projection(o, o.dim, keys, o.has_qkv_bias));
  EmplaceIf(qkv_, names.qkv, Projection(o, o.dim, queries + 2 * keys, o.has_qkv_bias));
  EmplaceIf(q_norm_, names.q_norm, o.head_dim, o.norm);
  EmplaceIf(k_norm_, names.k_norm, o.head_dim, o.norm);
}

void SelfAttention::Visit(Visitor& v) {
  VisitIf(v, names_->q, q_);
  VisitIf(v, names_->k, k_);
  VisitIf(v, names_->v, v_);
  VisitIf(v, names_->qkv, qkv_);
  v(names_->out, out_);
  VisitIf(v, names_->q_norm, q_norm_);
  VisitIf(v, names_->k_norm, k_norm_);
}

SelfAttention::Heads SelfAttention::Project(const Tensor& x) const {
  const int64_t B = x.dim(0), T = x.dim(1), H = options_.heads, K = options_.kv_heads, E = options_.head_dim;
  if (!qkv_ && Tape::Active() != nullptr) {
    return {.q = Reshape((*q_)(x), {B, T, H, E}),   // [B,T,H,E]
            .k = Reshape((*k_)(x), {B, T, K, E}),   // [B,T,K,E]
            .v = Reshape((*v_)(x), {B, T, K, E})};  // [B,T,K,E]
  }
  const Tensor all = qkv_ ? (*qkv_)(x) : joined_(x, {&*q_, &*k_, &*v_});  // [B,T,(H+2K)*E]
  const Tensor heads = Reshape(all, {B, T, H + 2 * K, E});                // [B,T,H+2K,E]
  return {.q = Slice(heads, 2, 0, H), .k = Slice(heads, 2, H, H + K), .v = Slice(heads, 2, H + K, H + 2 * K)};
}

Tensor SelfAttention::operator()(const Tensor& x, const DecodeCall& call, int64_t layer,
                                 const Rotary::Angles* angles) const {
  auto [q, k, v] = Project(x);  // [B,T,H,E], [B,T,K,E], [B,T,K,E]
  if (q_norm_) q = (*q_norm_)(q);
  if (k_norm_) k = (*k_norm_)(k);
  q = HeadsFirst(q);  // [B,H,T,E]
  k = HeadsFirst(k);  // [B,K,T,E]
  if (angles != nullptr) {
    q = fovea::Rotary(q, angles->cos, angles->sin);
    k = fovea::Rotary(k, angles->cos, angles->sin);
  }
  return out_(call.Attend(q, k, HeadsFirst(v), layer, options_));  // [B,T,D]
}

// ---- cross-attention

CrossAttention::CrossAttention(const DecoderBlockOptions& o, const DecoderBlockNames& names)
    : options_(o),
      names_(&names),
      q_(Projection(o, o.dim, o.heads * o.head_dim, o.has_qkv_bias)),
      out_(Projection(o, o.heads * o.head_dim, o.dim, o.has_out_bias)) {
  const int64_t keys = o.kv_heads * o.head_dim;
  EmplaceIf(k_, names.cross_k, Projection(o, o.memory_dim, keys, o.has_qkv_bias));
  EmplaceIf(v_, names.cross_v, Projection(o, o.memory_dim, keys, o.has_qkv_bias));
  EmplaceIf(kv_, names.cross_kv, Projection(o, o.memory_dim, 2 * keys, o.has_qkv_bias));
}

void CrossAttention::Visit(Visitor& v) {
  v(names_->cross_q, q_);
  VisitIf(v, names_->cross_k, k_);
  VisitIf(v, names_->cross_v, v_);
  VisitIf(v, names_->cross_kv, kv_);
  v(names_->cross_out, out_);
}

DecodeCache::Entries CrossAttention::Project(const Tensor& memory) const {
  const int64_t B = memory.dim(0), S = memory.dim(1), K = options_.kv_heads, E = options_.head_dim;
  if (!kv_) {
    return {HeadsFirst(Reshape((*k_)(memory), {B, S, K, E})),   // [B,K,S,E]
            HeadsFirst(Reshape((*v_)(memory), {B, S, K, E}))};  // [B,K,S,E]
  }
  const Tensor both = Reshape((*kv_)(memory), {B, S, 2 * K, E});  // [B,S,2K,E]
  return {HeadsFirst(Slice(both, 2, 0, K)), HeadsFirst(Slice(both, 2, K, 2 * K))};
}

Tensor CrossAttention::Attend(const Tensor& q, const DecodeCache::Entries& memory, const Tensor& mask) const {
  return Joined(nn::Attend(q, memory.keys, memory.values, {.scale = options_.scale, .key_mask = mask},
                           options_.attention_dropout));  // [B,T,H*E]
}

Tensor CrossAttention::operator()(const Tensor& x, const DecodeCall& call, int64_t layer) const {
  const Tensor q = HeadsFirst(Reshape(q_(x), {call.B, call.T, options_.heads, -1}));  // [B,H,T,E]
  const Tensor& memory = call.inputs.memory;
  const DecodeCache::Entries projected = memory.defined() ? Project(memory) : DecodeCache::Entries{};
  if (!call.HasCaches()) return out_(Attend(q, projected, call.inputs.memory_mask));  // [B,T,D]
  std::vector<Tensor> rows;
  for (int64_t b = 0; b < call.B; ++b) {
    DecodeCache& cache = *call.inputs.caches[static_cast<size_t>(b)];
    if (memory.defined()) {
      cache.SetMemory(layer, {Row(projected.keys, b), Row(projected.values, b)});
      cache.SetMemoryMask(Row(call.inputs.memory_mask, b));
    }
    rows.push_back(Attend(Row(q, b), cache.memory(layer), cache.memory_mask()));  // [1,T,H*E]
  }
  return out_(Stacked(rows));  // [B,T,D]
}

// ---- block

DecoderBlock::DecoderBlock(const DecoderBlockOptions& o, const DecoderBlockNames& names)
    : options_(o),
      names_(&names),
      attention_(o, names),
      norm1_(o.dim, o.norm),
      norm2_(o.dim, o.norm),
      up_(Projection(o, o.dim, o.ffn, o.has_mlp_bias)),
      down_(Projection(o, o.ffn, o.dim, o.has_mlp_bias)) {
  EmplaceIf(gate_, names.gate, Projection(o, o.dim, o.ffn, o.has_mlp_bias));
  EmplaceIf(norm1_after_, names.norm1_after, o.dim, o.norm);
  EmplaceIf(norm2_after_, names.norm2_after, o.dim, o.norm);
  if (names.cross_q.empty()) return;
  cross_.emplace(o, names);
  cross_norm_.emplace(o.dim, o.norm);
}

void DecoderBlock::Visit(Visitor& v) {
  v("", attention_);
  v(names_->norm1, norm1_);
  VisitIf(v, names_->norm1_after, norm1_after_);
  if (cross_) {
    v("", *cross_);
    v(names_->cross_norm, *cross_norm_);
  }
  VisitIf(v, names_->gate, gate_);
  v(names_->up, up_);
  v(names_->down, down_);
  v(names_->norm2, norm2_);
  VisitIf(v, names_->norm2_after, norm2_after_);
}

Tensor DecoderBlock::Mlp(const Tensor& x) const {
  const Tensor inner = gate_ ? (*gate_)(x, options_.act) * up_(x) : up_(x, options_.act);  // [B,T,F]
  return Dropout(down_(Dropout(inner, options_.activation_dropout)), options_.dropout);    // [B,T,D]
}

Tensor DecoderBlock::operator()(const Tensor& x, const DecodeCall& call, int64_t layer,
                                const Rotary::Angles* angles) const {
  const auto attend = [&](const Tensor& h) { return Dropout(attention_(h, call, layer, angles), options_.dropout); };
  const auto cross = [&](const Tensor& h) { return Dropout((*cross_)(h, call, layer), options_.dropout); };
  const auto after = [](const Optional<Norm>& norm, const Tensor& h) { return norm ? (*norm)(h) : h; };
  if (!options_.is_pre_norm) {
    Tensor h = norm1_(x + attend(x));                                 // [B,T,D]
    if (cross_ && call.has_memory) h = (*cross_norm_)(h + cross(h));  // [B,T,D]
    return norm2_(h + Mlp(h));                                        // [B,T,D]
  }
  Tensor h = x + after(norm1_after_, attend(norm1_(x)));            // [B,T,D]
  if (cross_ && call.has_memory) h = h + cross((*cross_norm_)(h));  // [B,T,D]
  return h + after(norm2_after_, Mlp(norm2_(h)));                   // [B,T,D]
}

// ---- a call

DecodeCall::DecodeCall(const models::DecodeInputs& i, const models::DecoderSpec& spec, std::string_view who)
    : inputs(i), has_memory(spec.memory_size > 0), who_(who), max_positions_(spec.max_positions) {
  Require(i.ids.defined() != i.embeddings.defined(), "[", who, "] expected either ids or embeddings");
  const Tensor& given = i.ids.defined() ? i.ids : i.embeddings;
  if (i.ids.defined()) {
    Require(i.ids.dtype() == DType::kI64 && i.ids.rank() == 2 && i.ids.numel() > 0, "[", who,
            "] expected ids i64 [B,T] with at least one token, got ", i.ids.dtype(), i.ids.shape());
  } else {
    Require(given.rank() == 3 && given.dim(2) == spec.hidden_size && given.dim(1) > 0, "[", who,
            "] expected embeddings [B,T,", spec.hidden_size, "] with at least one token, got ", given.shape());
  }
  B = given.dim(0);
  T = given.dim(1);
  Require(!i.mask.defined() || (i.mask.dtype() == DType::kBool && i.mask.shape() == Shape({B, T})), "[", who,
          "] expected a mask bool [", B, ",", T, "], got ", i.mask.dtype(), i.mask.shape());
  Require(i.bidirectional >= 0 && i.bidirectional <= T, "[", who, "] expected a prefix of 0 to ", T,
          " tokens that see each other, got ", i.bidirectional);
  if (HasCaches()) CheckCaches(spec, who);
  CheckMemory(spec, who);
  CountPositions(who);
}

void DecodeCall::CheckCaches(const models::DecoderSpec& spec, std::string_view who) const {
  Require(Tape::Active() == nullptr, "[", who, "] caches have no gradient; hint: train on whole sequences");
  Require(!inputs.mask.defined(), "[", who, "] expected no mask beside caches: each row has its own length");
  Require(static_cast<int64_t>(inputs.caches.size()) == B, "[", who, "] expected ", B,
          " caches, one for each row, got ", inputs.caches.size());
  const CacheLayout layout = spec.Cache();
  for (const DecodeCache* cache : inputs.caches) {
    Require(cache != nullptr, "[", who, "] expected a cache for each row, got none");
    const CacheLayout& found = cache->layout();
    Require(found.layers == layout.layers && found.kv_heads == layout.kv_heads && found.key_dim == layout.key_dim &&
                found.value_dim == layout.value_dim && found.states == layout.states,
            "[", who, "] the cache was made for another network; hint: DecoderSpec::Cache()");
    if (cache->length() + T > cache->max_tokens()) {
      Fail(ErrorCode::kResourceExhausted, "[", who, "] expected at most ", cache->max_tokens(), " tokens, got ",
           cache->length() + T, "; hint: a shorter prompt, or a cache with more room");
    }
  }
  Require(std::set<const DecodeCache*>(inputs.caches.begin(), inputs.caches.end()).size() == inputs.caches.size(), "[",
          who, "] expected a cache of its own for each row");
}

void DecodeCall::CheckMemory(const models::DecoderSpec& spec, std::string_view who) const {
  const Tensor &memory = inputs.memory, &mask = inputs.memory_mask;
  if (spec.memory_size == 0) {
    Require(!memory.defined(), "[", who, "] expected no memory: it has no cross-attention");
    return;
  }
  const bool is_kept =
      HasCaches() && std::ranges::all_of(inputs.caches, [](auto* cache) { return cache->has_memory(); });
  Require(memory.defined() || is_kept, "[", who, "] expected memory [B,S,", spec.memory_size, "] for cross-attention");
  if (!memory.defined()) return;
  Require(memory.rank() == 3 && memory.dim(0) == B && memory.dim(2) == spec.memory_size, "[", who,
          "] expected memory [", B, ",S,", spec.memory_size, "], got ", memory.shape());
  Require(!mask.defined() || (mask.dtype() == DType::kBool && mask.shape() == Shape({B, memory.dim(1)})), "[", who,
          "] expected a memory mask bool [", B, ",", memory.dim(1), "], got ", mask.dtype(), mask.shape());
}

void DecodeCall::CountPositions(std::string_view who) {
  if (inputs.positions.defined()) {
    const Tensor& given = inputs.positions;
    Require(given.dtype() == DType::kI64 && (given.shape() == Shape({B, T}) || given.shape() == Shape({3, B, T})), "[",
            who, "] expected positions i64 [", B, ",", T, "] or [3,", B, ",", T, "], got ", given.dtype(),
            given.shape());
    positions = given.Contiguous();
    return;
  }
  positions = Tensor::Empty({B, T}, DType::kI64);
  const Tensor mask = inputs.mask.defined() ? inputs.mask.Contiguous() : Tensor();
  for (int64_t b = 0; b < B; ++b) {
    int64_t next = HasCaches() ? inputs.caches[static_cast<size_t>(b)]->next_position() : 0;
    for (int64_t t = 0; t < T; ++t) {
      const bool exists = !mask.defined() || mask.data<bool>()[b * T + t];
      positions.mutable_data<int64_t>()[b * T + t] = exists ? next++ : 0;
    }
  }
}

Tensor DecodeCall::Attend(const Tensor& q, const Tensor& k, const Tensor& v, int64_t layer,
                          const DecoderBlockOptions& o) const {
  AttentionOptions mask{.scale = o.scale,
                        .is_causal = is_causal,
                        .window = o.window,
                        .bidirectional = inputs.bidirectional,
                        .key_mask = inputs.mask};
  if (!HasCaches()) {
    if (bias) mask.bias = bias(T, T);
    return Joined(nn::Attend(q, k, v, mask, o.attention_dropout));  // [B,T,H*E]
  }
  std::vector<Tensor> rows;
  for (int64_t b = 0; b < B; ++b) {
    const auto entries = inputs.caches[static_cast<size_t>(b)]->Append(layer, Row(k, b), Row(v, b));  // [1,K,S,E]
    if (bias) mask.bias = bias(T, entries.keys.dim(2));
    rows.push_back(Joined(ScaledDotProductAttention(Row(q, b), entries.keys, entries.values, mask)));  // [1,T,H*E]
  }
  return Stacked(rows);  // [B,T,H*E]
}

Tensor DecodeCall::TablePositions(int64_t offset) const {
  Require(positions.rank() == 2, "[", who_, "] expected positions [B,T], got ", positions.shape());
  Tensor rows = positions.Clone();
  for (int64_t i = 0; i < rows.numel(); ++i) {
    int64_t& position = rows.mutable_data<int64_t>()[i];
    Require(position >= 0, "[", who_, "] expected positions of 0 or more, got ", position);
    if (position >= max_positions_) {
      Fail(ErrorCode::kResourceExhausted, "[", who_, "] expected at most ", max_positions_,
           " tokens, got one at place ", position, "; hint: it has learnt no more positions");
    }
    position += offset;
  }
  return rows;
}

Tensor DecodeCall::Asked(const Tensor& h) const {
  if (!inputs.only_last) return h;
  if (!inputs.mask.defined()) return Slice(h, 1, T - 1, T);  // [B,1,D]
  const Tensor mask = inputs.mask.Contiguous();
  Tensor last = Tensor::Empty({B}, DType::kI64);
  for (int64_t b = 0; b < B; ++b) {
    int64_t at = T - 1;
    while (at > 0 && !mask.data<bool>()[b * T + at]) --at;
    last.mutable_data<int64_t>()[b] = b * T + at;
  }
  return Unsqueeze(IndexSelect(Reshape(h, {B * T, h.dim(2)}), 0, last), 1);  // [B,1,D]
}

void DecodeCall::Finish() const {
  if (!HasCaches()) return;
  const Tensor dense = positions.Contiguous();
  const int64_t axes = dense.numel() / (B * T);
  for (int64_t b = 0; b < B; ++b) {
    int64_t next = 0;
    for (int64_t axis = 0; axis < axes; ++axis) {
      const int64_t* row = dense.data<int64_t>() + (axis * B + b) * T;
      next = std::max(next, *std::max_element(row, row + T) + 1);
    }
    inputs.caches[static_cast<size_t>(b)]->Advance(T, next);
  }
}

}  // namespace fovea::nn
