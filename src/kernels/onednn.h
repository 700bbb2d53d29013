// What every kernel that runs on oneDNN shares: engine, stream, scratch memory, the cache of compiled primitives, and
// the border where dnnl::error becomes fovea::Error.
//
//   static auto& cache = *new PrimitiveCache<ProblemKey, Gemm>;               // never destroyed: kernels may run at
//   exit const auto gemm = cache.Get(ProblemKey{m, n, k}, [&] { return MakeGemm(m, n, k); }); GuardOneDnn("matmul", [&]
//   {
//     gemm->primitive.execute(Stream(), {{DNNL_ARG_SRC, ...}, {DNNL_ARG_SCRATCHPAD, Scratchpad(gemm->scratchpad)}});
//     Stream().wait();
//   });
//
// A primitive is code generated for one problem, which costs milliseconds: it is made once and kept. Primitives are
// shared by threads, so each must be made with UserScratchpad() attributes and be given its scratch memory: oneDNN's
// own would belong to the thread that made it. Do not run oneDNN inside a ParallelFor: it has its own parallel region.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <list>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/activation/activation.h"
#include "tensor/tensor.h"

namespace fovea::kernels {

// The CPU engine of the process; obeys base::IsaLimit(). Throws kInternal when oneDNN refuses.
dnnl::engine& Engine();

// The in-order stream of the calling thread.
dnnl::stream& Stream();

// Attributes that every shared primitive starts from.
dnnl::primitive_attr UserScratchpad();

// Scratch memory of the calling thread, at least as large as `desc` (an empty one is fine). Valid until the next call
// on this thread.
dnnl::memory Scratchpad(const dnnl::memory::desc& desc);

// f32, bf16, i32, i8, u8; throws kInternal for types oneDNN does not compute in.
dnnl::memory::data_type OneDnnType(DType dtype);

// True when oneDNN multiplies bf16 by instructions of the CPU (AVX512-BF16 or AMX, within base::IsaLimit()).
bool HasNativeBf16();
// True when that is also faster than f32 (base::HasFastBf16).
bool PrefersBf16();

// Sizes and strides of `tensor` as it lies in memory.
dnnl::memory::desc OneDnnDesc(const Tensor& tensor);

// Adds `act` to what a primitive does to its result; nothing for the identity.
void AppendActivation(Act act, dnnl::post_ops& post_ops);

// A oneDNN view of memory we own. oneDNN takes inputs as void* as well; it writes to destinations only.
inline dnnl::memory OneDnnMemory(const dnnl::memory::desc& desc, const void* data) {
  return dnnl::memory(desc, Engine(), const_cast<void*>(data));
}

// Throws kResourceExhausted (out of memory), kUnimplemented, or kInternal.
[[noreturn]] void FailOneDnn(const char* who, const dnnl::error& error);

// Calls `body`, turning dnnl::error into fovea::Error.
template <typename Body>
auto GuardOneDnn(const char* who, Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const dnnl::error& error) {
    FailOneDnn(who, error);
  }
}

// Everything that a primitive depends on, as numbers: sizes, strides, types, flags. The number of threads is added by
// itself, because oneDNN splits the work when a primitive is made.
class ProblemKey {
 public:
  ProblemKey(std::initializer_list<int64_t> parts) : ProblemKey(std::vector<int64_t>(parts)) {}
  explicit ProblemKey(std::vector<int64_t> parts);
  bool operator==(const ProblemKey&) const = default;
  size_t hash() const { return hash_; }

 private:
  size_t hash_;
  std::vector<int64_t> parts_;
};

struct ProblemKeyHash {
  size_t operator()(const ProblemKey& key) const { return key.hash(); }
};

// A bounded map from problem to compiled primitive; the least recently used one leaves. Safe to use from several
// threads; an entry in use lives on after it left.
template <typename Key, typename Primitive, typename Hash = ProblemKeyHash>
class PrimitiveCache {
 public:
  explicit PrimitiveCache(size_t capacity = 1024) : capacity_(capacity) {}

  // The primitive of `key`, made by `make()` (returns a Primitive) when it is not there. Two threads that miss at the
  // same time both make one and the first is kept: compiling under the lock would hold up every other problem.
  template <typename Make>
  std::shared_ptr<const Primitive> Get(const Key& key, Make&& make) {
    if (auto found = Find(key)) return found;
    auto made = std::make_shared<const Primitive>(std::forward<Make>(make)());
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto [slot, is_new] = index_.try_emplace(key, entries_.end());
    if (!is_new) return slot->second->second;
    entries_.emplace_front(key, made);
    slot->second = entries_.begin();
    if (entries_.size() > capacity_) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
    return made;
  }

  size_t size() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return entries_.size();
  }

 private:
  using Entry = std::pair<Key, std::shared_ptr<const Primitive>>;

  std::shared_ptr<const Primitive> Find(const Key& key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->second;
  }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<Key, typename std::list<Entry>::iterator, Hash> index_;
};

}  // namespace fovea::kernels
