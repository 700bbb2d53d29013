// Memory for tensors: 64-byte aligned blocks, kept for reuse after they are freed.
//
// The same shapes come back with every picture and every step, and a fresh large block costs a page fault per 4 KiB,
// which is slower than many kernels that fill it. Freed blocks wait in lists by size class (eighths of a power of two,
// so at most 12.5 % is wasted); when more than `kMaxCachedBytes` wait, the block is returned to the system instead.
#pragma once

#include <cstdint>
#include <memory>

namespace fovea {

enum class DeviceType : uint8_t { kCpu };

// Where a tensor lives.
struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

struct AllocatorStats {
  int64_t in_use_bytes;  // handed out and not yet freed
  int64_t cached_bytes;  // freed and waiting for reuse
  int64_t peak_bytes;    // highest in_use_bytes so far
};

AllocatorStats GetAllocatorStats();
// Lets peak_bytes start anew from what is in use now.
void ResetAllocatorPeak();

// Gives every waiting block back to the system.
void TrimAllocator();

// A piece of memory that tensors share. Either owned (from the allocator) or borrowed from `owner`, then read-only.
class Storage {
 public:
  // Uninitialised bytes. Throws kResourceExhausted when the system has no more.
  static std::shared_ptr<Storage> Allocate(int64_t size_bytes, Device device = {});
  // Bytes that live as long as `owner`, e.g. a mapped file.
  static std::shared_ptr<Storage> Borrow(const void* data, int64_t size_bytes, std::shared_ptr<const void> owner);

  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  const uint8_t* data() const { return data_; }
  uint8_t* mutable_data() { return data_; }
  bool is_writable() const { return owner_ == nullptr; }
  int64_t size_bytes() const { return size_bytes_; }
  Device device() const { return device_; }

 private:
  Storage(uint8_t* data, int64_t size_bytes, int64_t block_bytes, Device device, std::shared_ptr<const void> owner)
      : data_(data), size_bytes_(size_bytes), block_bytes_(block_bytes), device_(device), owner_(std::move(owner)) {}

  uint8_t* data_;
  int64_t size_bytes_;
  int64_t block_bytes_;  // size of the allocator's block, 0 when borrowed
  Device device_;
  std::shared_ptr<const void> owner_;
};

}  // namespace fovea
