// What the threads of an index job hand each other: a queue of limited length and a budget of bytes. Both can be
// closed, which wakes everyone.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace fovea::library {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // Waits for room. False (and the item is dropped) when the queue was aborted.
  bool Push(T item) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return items_.size() < capacity_ || aborted_; });
    if (aborted_) return false;
    items_.push_back(std::move(item));
    filled_.notify_one();
    return true;
  }

  // Waits for an item; nothing when the queue was closed and is empty.
  std::optional<T> Pop() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !items_.empty() || closed_; });
    return Take();
  }

  // Like Pop, but gives up after `wait`.
  std::optional<T> PopFor(std::chrono::milliseconds wait) {
    std::unique_lock lock(mutex_);
    filled_.wait_for(lock, wait, [&] { return !items_.empty() || closed_; });
    return Take();
  }

  // No more items will come; those inside can still be taken.
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    filled_.notify_all();
  }

  // Drops everything and refuses what comes.
  void Abort() {
    const std::lock_guard lock(mutex_);
    closed_ = aborted_ = true;
    items_.clear();
    filled_.notify_all();
    room_.notify_all();
  }

  // Closed and empty.
  bool Finished() const {
    const std::lock_guard lock(mutex_);
    return closed_ && items_.empty();
  }

 private:
  std::optional<T> Take() {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    room_.notify_one();
    return item;
  }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable room_, filled_;
  std::deque<T> items_;
  bool closed_ = false, aborted_ = false;
};

// Bytes that may be held at one time. One holder may exceed the limit when it is alone, so that nothing is too large
// for ever.
class ByteBudget {
 public:
  explicit ByteBudget(int64_t limit_bytes) : limit_(limit_bytes) {}

  // A share that is given back when the scope ends.
  class Share {
   public:
    Share() = default;
    Share(ByteBudget* budget, int64_t bytes) : budget_(budget), bytes_(bytes) {}
    Share(Share&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Share() {
      if (budget_ != nullptr) budget_->Return(bytes_);
    }

   private:
    ByteBudget* budget_ = nullptr;
    int64_t bytes_ = 0;
  };

  // Waits until `bytes` fit.
  Share Take(int64_t bytes) {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [&] { return Fits(bytes); });
    used_ += bytes;
    return Share(this, bytes);
  }

  // Nothing when they do not fit now.
  std::optional<Share> TryTake(int64_t bytes) {
    const std::lock_guard lock(mutex_);
    if (!Fits(bytes)) return std::nullopt;
    used_ += bytes;
    return Share(this, bytes);
  }

 private:
  bool Fits(int64_t bytes) const { return used_ == 0 || used_ + bytes <= limit_; }
  void Return(int64_t bytes) {
    const std::lock_guard lock(mutex_);
    used_ -= bytes;
    returned_.notify_all();
  }

  const int64_t limit_;
  std::mutex mutex_;
  std::condition_variable returned_;
  int64_t used_ = 0;
};

}  // namespace fovea::library
