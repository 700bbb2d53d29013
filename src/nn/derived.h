// A value computed from parameters and kept until they change: packed weights, folded batch norms. Copies and moves of
// the owning module start empty, so modules stay plain values. Safe to use from several threads as long as nobody
// changes the parameters meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace fovea::nn {

template <typename T>
class Derived {
 public:
  Derived() = default;
  Derived(const Derived&) {}
  Derived& operator=(const Derived&) { return *this; }

  // The value made for `version`, made by `make()` (returns std::shared_ptr<const T>) when there is none yet.
  template <typename Make>
  std::shared_ptr<const T> Get(uint64_t version, Make&& make) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!value_ || version_ != version) {
      value_ = make();
      version_ = version;
    }
    return value_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const T> value_;
  mutable uint64_t version_ = 0;
};

}  // namespace fovea::nn
