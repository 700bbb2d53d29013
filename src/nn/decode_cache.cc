#include "nn/decode_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace fovea::nn {
namespace {

constexpr int64_t kFirstCapacity = 64;  // tokens

// Element 0 of row t of head k of x [1,K,N,E], last axis dense.
int64_t RowAt(const Tensor& x, int64_t k, int64_t t) { return k * x.strides()[1] + t * x.strides()[2]; }

float ReadAt(const Tensor& x, int64_t at) {
  return x.dtype() == DType::kF32 ? x.data<float>()[at] : static_cast<float>(x.data<BF16>()[at]);
}

// Writes rows of x [1,K,T,E] after `length` rows of `to` [1,K,capacity,E] of another floating-point type, or of int8
// with the scales [1,K,capacity].
void StoreConverted(const Tensor& x, int64_t length, const Tensor& to, const Tensor& scales) {
  const auto [one, K, T, E] = x.Dims<4>("cache");
  for (int64_t k = 0; k < K; ++k) {
    for (int64_t t = 0; t < T; ++t) {
      const int64_t from = RowAt(x, k, t), target = RowAt(to, k, length + t);
      if (to.dtype() == DType::kF32) {
        for (int64_t e = 0; e < E; ++e) to.mutable_data<float>()[target + e] = ReadAt(x, from + e);
      } else if (to.dtype() == DType::kBF16) {
        for (int64_t e = 0; e < E; ++e) to.mutable_data<BF16>()[target + e] = BF16(ReadAt(x, from + e));
      } else {
        float largest = 0;
        for (int64_t e = 0; e < E; ++e) largest = std::max(largest, std::fabs(ReadAt(x, from + e)));
        const float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0.0f;
        scales.mutable_data<float>()[k * to.dim(2) + length + t] = scale;
        for (int64_t e = 0; e < E; ++e) {
          const float rounded = std::nearbyint(ReadAt(x, from + e) * inverse);
          to.mutable_data<int8_t>()[target + e] = static_cast<int8_t>(std::clamp(rounded, -127.0f, 127.0f));
        }
      }
    }
  }
}

// The first `count` rows of each head of `from` copied to `to`, both [1,K,any,E] of one type with dense rows, from row
// `begin` of `to` on.
void CopyRows(const Tensor& from, int64_t count, const Tensor& to, int64_t begin) {
  const int64_t K = to.dim(1), item = ItemSize(to.dtype()), row = to.dim(3) * item;
  for (int64_t k = 0; k < K; ++k) {
    const uint8_t* source = from.raw() + RowAt(from, k, 0) * item;
    uint8_t* target = to.mutable_raw() + RowAt(to, k, begin) * item;
    if (from.strides()[2] == to.dim(3)) {
      std::memcpy(target, source, static_cast<size_t>(count * row));
    } else {
      for (int64_t t = 0; t < count; ++t)
        std::memcpy(target + t * row, source + t * from.strides()[2] * item, static_cast<size_t>(row));
    }
  }
}

void Store(const Tensor& x, int64_t length, const Tensor& to, const Tensor& scales) {
  const Tensor rows = x.strides()[3] == 1 || x.dim(3) == 1 ? x : x.Contiguous();
  if (rows.dtype() == to.dtype()) {
    CopyRows(rows, rows.dim(2), to, length);
  } else {
    StoreConverted(rows, length, to, scales);
  }
}

// The first `count` rows of int8 `stored` [1,K,capacity,E] times their scales. [1,K,count,E]
Tensor Widened(const Tensor& stored, const Tensor& scales, int64_t count, DType dtype) {
  const int64_t K = stored.dim(1), E = stored.dim(3);
  Tensor wide = Tensor::Empty({1, K, count, E});
  float* to = wide.mutable_data<float>();
  for (int64_t k = 0; k < K; ++k) {
    for (int64_t t = 0; t < count; ++t, to += E) {
      const int8_t* from = stored.data<int8_t>() + RowAt(stored, k, t);
      const float scale = scales.data<float>()[k * stored.dim(2) + t];
      for (int64_t e = 0; e < E; ++e) to[e] = scale * static_cast<float>(from[e]);
    }
  }
  return wide.To(dtype);
}

// A larger copy of the first `length` rows.
Tensor Moved(const Tensor& old, int64_t length, const Shape& shape, DType dtype) {
  Tensor moved = Tensor::Empty(shape, dtype);
  if (length > 0) CopyRows(old, length, moved, 0);
  return moved;
}

Tensor MovedScales(const Tensor& old, int64_t length, int64_t heads, int64_t capacity) {
  Tensor moved = Tensor::Empty({1, heads, capacity});
  for (int64_t k = 0; k < heads && length > 0; ++k)
    std::copy_n(old.data<float>() + k * old.dim(2), length, moved.mutable_data<float>() + k * capacity);
  return moved;
}

int64_t BytesOf(const Tensor& tensor) { return tensor.defined() ? tensor.size_bytes() : 0; }

}  // namespace

DecodeCache::DecodeCache(const CacheLayout& layout, const CacheOptions& options)
    : layout_(layout), options_(options), layers_(static_cast<size_t>(layout.layers)), states_(layout.states.size()) {
  Require(options.dtype == DType::kF32 || options.dtype == DType::kBF16 || options.dtype == DType::kI8,
          "[cache] expected f32, bf16 or i8 keys and values, got ", options.dtype);
  Require(options.max_tokens >= 1, "[cache] expected room for one token or more, got ", options.max_tokens);
}

int64_t DecodeCache::size_bytes() const {
  int64_t bytes = 0;
  for (const Layer& layer : layers_)
    bytes += BytesOf(layer.keys) + BytesOf(layer.values) + BytesOf(layer.key_scales) + BytesOf(layer.value_scales);
  for (const Entries& entries : memory_) bytes += BytesOf(entries.keys) + BytesOf(entries.values);
  for (const Tensor& state : states_) bytes += BytesOf(state);
  return bytes;
}

// Room for `tokens` tokens at least.
void DecodeCache::Grow(Layer& layer, int64_t tokens) const {
  const int64_t wanted = std::max({tokens, 2 * layer.capacity(), kFirstCapacity});
  const int64_t capacity = std::min(wanted, options_.max_tokens), K = layout_.kv_heads;
  layer.keys = Moved(layer.keys, length_, {1, K, capacity, layout_.key_dim}, options_.dtype);
  layer.values = Moved(layer.values, length_, {1, K, capacity, layout_.value_dim}, options_.dtype);
  if (options_.dtype != DType::kI8) return;
  layer.key_scales = MovedScales(layer.key_scales, length_, K, capacity);
  layer.value_scales = MovedScales(layer.value_scales, length_, K, capacity);
}

DecodeCache::Entries DecodeCache::Append(int64_t layer, const Tensor& keys, const Tensor& values) {
  Require(0 <= layer && layer < layout_.layers, "[cache] expected a layer in [0,", layout_.layers, "), got ", layer);
  const int64_t K = layout_.kv_heads, T = keys.rank() == 4 ? keys.dim(2) : 0;
  Require(keys.shape() == Shape({1, K, T, layout_.key_dim}) && values.shape() == Shape({1, K, T, layout_.value_dim}) &&
              keys.dtype() == values.dtype() && (keys.dtype() == DType::kF32 || keys.dtype() == DType::kBF16),
          "[cache] expected keys [1,", K, ",T,", layout_.key_dim, "] and values [1,", K, ",T,", layout_.value_dim,
          "] in f32 or bf16, got ", keys.dtype(), keys.shape(), " and ", values.dtype(), values.shape());
  const int64_t total = length_ + T;
  if (total > options_.max_tokens) {
    Fail(ErrorCode::kResourceExhausted, "[cache] expected at most ", options_.max_tokens, " tokens, got ", total,
         "; hint: a shorter prompt, or a cache with more room");
  }
  Layer& kept = layers_[static_cast<size_t>(layer)];
  if (total > kept.capacity()) Grow(kept, total);
  Store(keys, length_, kept.keys, kept.key_scales);
  Store(values, length_, kept.values, kept.value_scales);
  if (options_.dtype == DType::kI8) {
    return {Widened(kept.keys, kept.key_scales, total, keys.dtype()),
            Widened(kept.values, kept.value_scales, total, values.dtype())};
  }
  return {kept.keys.Sliced(2, 0, total), kept.values.Sliced(2, 0, total)};
}

void DecodeCache::Advance(int64_t tokens, int64_t next_position) {
  for (const Layer& layer : layers_) {
    if (layer.capacity() < length_ + tokens)
      Fail(ErrorCode::kInternal, "[cache] advanced by ", tokens, " tokens that not every layer has");
  }
  length_ += tokens;
  next_position_ = next_position;
}

void DecodeCache::Truncate(int64_t length) {
  Require(0 <= length && length <= length_, "[cache] expected a length in [0,", length_, "], got ", length);
  Require(states_.empty() || length == 0 || length == length_, "[cache] a recurrent network cannot go back from ",
          length_, " to ", length, " tokens; hint: a clone taken there can be kept");
  next_position_ = std::max<int64_t>(0, length == 0 ? 0 : next_position_ - (length_ - length));
  if (length == 0) std::fill(states_.begin(), states_.end(), Tensor());
  length_ = length;
}

DecodeCache DecodeCache::Clone() const {
  DecodeCache copy = *this;
  for (Layer& layer : copy.layers_) {
    if (layer.capacity() == 0) continue;
    const int64_t capacity = std::max<int64_t>(1, std::min(layer.capacity(), std::max(length_, kFirstCapacity)));
    const int64_t K = layout_.kv_heads;
    layer.keys = Moved(layer.keys, length_, layer.keys.shape().With(2, capacity), options_.dtype);
    layer.values = Moved(layer.values, length_, layer.values.shape().With(2, capacity), options_.dtype);
    if (options_.dtype != DType::kI8) continue;
    layer.key_scales = MovedScales(layer.key_scales, length_, K, capacity);
    layer.value_scales = MovedScales(layer.value_scales, length_, K, capacity);
  }
  return copy;
}

const DecodeCache::Entries& DecodeCache::memory(int64_t layer) const {
  static const Entries none;
  const auto at = static_cast<size_t>(layer);
  return at < memory_.size() ? memory_[at] : none;
}

void DecodeCache::SetMemory(int64_t layer, Entries entries) {
  Require(layer >= 0 && layer < std::max<int64_t>(layout_.layers, 1), "[cache] expected a layer in [0,", layout_.layers,
          "), got ", layer);
  if (memory_.size() <= static_cast<size_t>(layer)) memory_.resize(static_cast<size_t>(layer) + 1);
  memory_[static_cast<size_t>(layer)] = std::move(entries);
}

Tensor DecodeCache::state(size_t index) const {
  Require(index < states_.size(), "[cache] expected a state below ", states_.size(), ", got ", index);
  return states_[index].defined() ? states_[index] : Tensor::Zeros(layout_.states[index]);
}

void DecodeCache::SetState(size_t index, Tensor value) {
  Require(index < states_.size() && value.shape() == layout_.states[index], "[cache] no state ", index, " of shape ",
          value.shape());
  states_[index] = std::move(value);
}

}  // namespace fovea::nn
