#include "base/simd.h"

#include <bit>

#include "base/cpu.h"

namespace fovea::base {

void ApplyIsaLimitToHighway() {
  [[maybe_unused]] static const bool once = [] {
    if (IsaLimit() == MaxIsa::kAvx2) {
      // In Highway a better target is a lower bit: disable everything below AVX2's.
      hwy::DisableTargets(HWY_AVX2 - 1);
    }
    return true;
  }();
}

const char* DispatchedTargetName() {
  ApplyIsaLimitToHighway();
  const int64_t targets = hwy::SupportedTargets();
  return hwy::TargetName(targets & -targets);
}

}  // namespace fovea::base
