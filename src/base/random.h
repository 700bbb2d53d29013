// Random numbers that belong to a place, not to a moment: a generator is made from a seed and a position (a sample of
// an epoch, a token of an answer), so neither the number of threads nor a restart changes what is drawn.
#pragma once

#include <cstdint>

namespace fovea::base {

// SplitMix64 (Steele et al. 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }  // [0,1)
  double Uniform(double low, double high) { return low + (high - low) * Uniform(); }
  int64_t Below(int64_t count) { return static_cast<int64_t>(Next() % static_cast<uint64_t>(count)); }

 private:
  uint64_t state_;
};

// A seed made of two.
inline uint64_t MixSeeds(uint64_t a, uint64_t b) { return Random(a ^ (b * 0xD6E8FEB86659FD93u)).Next(); }

}  // namespace fovea::base
