#include "tensor/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/error.h"

namespace fovea {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePageBytes = 2 << 20;
constexpr int64_t kMaxCachedBytes = int64_t{512} << 20;

// Rounds up to a multiple of an eighth of the power of two below: 64, 128, ..., 512, 576, 640, ..., 1024, 1152, ...
int64_t BlockBytes(int64_t size) {
  const int64_t least = std::max(size, kAlignment);
  const int64_t step =
      std::max<int64_t>(kAlignment, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(least))) / 8);
  return (least + step - 1) / step * step;
}

class BlockCache {
 public:
  uint8_t* Take(int64_t block_bytes) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stats_.in_use_bytes += block_bytes;
      stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.in_use_bytes);
      auto found = free_.find(block_bytes);
      if (found != free_.end() && !found->second.empty()) {
        uint8_t* block = found->second.back();
        found->second.pop_back();
        stats_.cached_bytes -= block_bytes;
        return block;
      }
    }
    const bool is_large = block_bytes >= 2 * kHugePageBytes;
    const int64_t alignment = is_large ? kHugePageBytes : kAlignment;
    void* block = std::aligned_alloc(alignment, (block_bytes + alignment - 1) / alignment * alignment);
    if (block == nullptr) {
      const std::lock_guard<std::mutex> lock(mutex_);
      stats_.in_use_bytes -= block_bytes;
      Fail(ErrorCode::kResourceExhausted, "[allocator] the system has no ", block_bytes, " bytes left");
    }
    if (is_large) ::madvise(block, block_bytes, MADV_HUGEPAGE);  // a hint: failure changes nothing
    return static_cast<uint8_t*>(block);
  }

  void Return(uint8_t* block, int64_t block_bytes) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stats_.in_use_bytes -= block_bytes;
      if (stats_.cached_bytes + block_bytes <= kMaxCachedBytes) {
        free_[block_bytes].push_back(block);
        stats_.cached_bytes += block_bytes;
        return;
      }
    }
    std::free(block);
  }

  void Trim() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [size, blocks] : free_) {
      for (uint8_t* block : blocks) std::free(block);
    }
    free_.clear();
    stats_.cached_bytes = 0;
  }

  void ResetPeak() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.peak_bytes = stats_.in_use_bytes;
  }

  AllocatorStats stats() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<int64_t, std::vector<uint8_t*>> free_;
  AllocatorStats stats_{};
};

// Never destroyed: tensors with static lifetime may be freed after it would be.
BlockCache& Cache() {
  static BlockCache& cache = *new BlockCache;
  return cache;
}

}  // namespace

AllocatorStats GetAllocatorStats() { return Cache().stats(); }

void ResetAllocatorPeak() { Cache().ResetPeak(); }

void TrimAllocator() { Cache().Trim(); }

std::shared_ptr<Storage> Storage::Allocate(int64_t size_bytes, Device device) {
  const int64_t block_bytes = BlockBytes(size_bytes);
  return std::shared_ptr<Storage>(new Storage(Cache().Take(block_bytes), size_bytes, block_bytes, device, nullptr));
}

std::shared_ptr<Storage> Storage::Borrow(const void* data, int64_t size_bytes, std::shared_ptr<const void> owner) {
  FOVEA_DCHECK(owner != nullptr);
  auto* bytes = static_cast<uint8_t*>(const_cast<void*>(data));
  return std::shared_ptr<Storage>(new Storage(bytes, size_bytes, 0, Device{}, std::move(owner)));
}

Storage::~Storage() {
  if (owner_ == nullptr) Cache().Return(data_, block_bytes_);
}

}  // namespace fovea
