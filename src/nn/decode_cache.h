// What one sequence keeps between two calls of a decoder: the keys and values of each layer, the projected memory of
// cross-attention, and the states of recurrent layers. It belongs to a session, never to a model.
//
// A call of a decoder appends the keys and values of its tokens layer by layer and, when all layers are through,
// advances the cache. A call that throws half way leaves it as it was. Not safe to use from two threads at once.
//
// Legend: K key/value heads, S tokens so far, E and V head dimension of keys and of values.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace fovea::nn {

// What a decoder keeps for each sequence. Fields that a network has no use for are 0 and empty.
struct CacheLayout {
  int64_t layers = 0, kv_heads = 0, key_dim = 0, value_dim = 0;
  std::vector<Shape> states;  // of recurrent layers, f32
};

struct CacheOptions {
  // Of keys and values. f32 and bf16 are read in place; int8 (one scale for each token and head, the largest magnitude
  // over 127) takes a quarter of f32 and is widened when it is read.
  DType dtype = DType::kF32;
  int64_t max_tokens = 4096;
};

class DecodeCache {
 public:
  // Allocates nothing yet. Throws kInvalidArgument for another type or a max_tokens below 1.
  DecodeCache(const CacheLayout& layout, const CacheOptions& options);

  int64_t length() const { return length_; }  // S, tokens
  // The position of the next token: length(), unless the tokens were given positions of their own.
  int64_t next_position() const { return next_position_; }
  int64_t max_tokens() const { return options_.max_tokens; }
  DType dtype() const { return options_.dtype; }
  const CacheLayout& layout() const { return layout_; }
  int64_t size_bytes() const;  // allocated

  struct Entries {
    Tensor keys, values;  // [1,K,S,E], [1,K,S,V]
  };

  // Puts keys [1,K,T,E] and values [1,K,T,V] (f32 or bf16) of T new tokens after the length() tokens of `layer` and
  // gives all of them. The results are views that hold until the next Append to this layer; of an int8 cache copies in
  // the type of `keys`. Appending again before Advance writes over the same places. Memory grows by doubling. Throws
  // kResourceExhausted beyond max_tokens.
  Entries Append(int64_t layer, const Tensor& keys, const Tensor& values);

  // The T tokens just appended to all layers are part of the sequence from now on; the next one has this position.
  void Advance(int64_t tokens, int64_t next_position);

  // Forgets all but the first `length` tokens; the memory of cross-attention stays. A cache with recurrent states can
  // only forget everything (length 0), as a state does not remember what it was. Throws kInvalidArgument.
  void Truncate(int64_t length);

  // A copy that goes its own way: for beams, and for prompts that begin alike.
  DecodeCache Clone() const;

  // Keys and values that cross-attention made of the memory, [1,H,M,E]; undefined until set. Shared by clones.
  const Entries& memory(int64_t layer) const;
  void SetMemory(int64_t layer, Entries entries);
  const Tensor& memory_mask() const { return memory_mask_; }  // bool [1,M]; undefined: everything exists
  void SetMemoryMask(Tensor mask) { memory_mask_ = std::move(mask); }
  bool has_memory() const { return !memory_.empty(); }

  // A state of a recurrent layer, zeros at first. SetState keeps the tensor itself, which nobody may write to.
  Tensor state(size_t index) const;
  void SetState(size_t index, Tensor value);

 private:
  struct Layer {
    Tensor keys, values;              // [1,K,capacity,E], [1,K,capacity,V]
    Tensor key_scales, value_scales;  // f32 [1,K,capacity], int8 only
    int64_t capacity() const { return keys.defined() ? keys.dim(2) : 0; }
  };
  void Grow(Layer& layer, int64_t tokens) const;

  CacheLayout layout_;
  CacheOptions options_;
  int64_t length_ = 0, next_position_ = 0;
  std::vector<Layer> layers_;
  std::vector<Entries> memory_;
  Tensor memory_mask_;
  std::vector<Tensor> states_;
};

}  // namespace fovea::nn
