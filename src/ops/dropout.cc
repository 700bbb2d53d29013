#include "ops/dropout.h"

#include "base/error.h"
#include "base/parallel.h"
#include "ops/arithmetic.h"
#include "tensor/tape.h"

namespace fovea {
namespace {

// The i-th number of the stream of `seed`, by SplitMix64's output function: any element can be drawn without the ones
// before it, so the mask does not depend on the number of threads.
uint64_t RandomBits(uint64_t seed, uint64_t i) {
  uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace

Tensor Dropout(const Tensor& x, double rate) {
  Require(rate >= 0 && rate < 1, "[dropout] expected a rate in [0,1), got ", rate);
  if (rate == 0 || !Tape::IsTraining()) return x;
  Tensor mask = Tensor::Empty(x.shape());
  float* values = mask.mutable_data<float>();
  const uint64_t seed = Tape::NextRandomSeed();
  const float kept = static_cast<float>(1.0 / (1.0 - rate));
  base::ParallelFor(mask.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double uniform = static_cast<double>(RandomBits(seed, static_cast<uint64_t>(i)) >> 11) * 0x1p-53;
      values[i] = uniform < rate ? 0.0f : kept;
    }
  });
  return x * mask.To(x.dtype());
}

}  // namespace fovea
