#include "base/simd.h"

#include "base/cpu.h"

namespace hwy {

// The instruction sets that this processor and operating system offer, as far as we compile for them (see
// HWY_DISABLED_TARGETS in CMakeLists.txt) and FOVEA_MAX_ISA allows.
int64_t SupportedTargets() {
  static const int64_t supported = [] {
    int64_t targets = HWY_STATIC_TARGET;
#if HWY_ARCH_X86
    __builtin_cpu_init();
    // Highway's AVX2 also means LZCNT and F16C; every processor with BMI2 and FMA has them.
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                          __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512cd");
    if (has_avx2) targets |= HWY_AVX2;
    if (has_avx2 && has_avx512 && fovea::base::IsaLimit() == fovea::base::MaxIsa::kAny) targets |= HWY_AVX3;
#endif
    return targets;
  }();
  return supported;
}

ChosenTarget& GetChosenTarget() {
  static ChosenTarget chosen;
  return chosen;
}

}  // namespace hwy

namespace fovea::base {

const char* DispatchedTargetName() {
  const int64_t targets = hwy::SupportedTargets();
  return hwy::TargetName(targets & -targets);  // a better target is a lower bit
}

}  // namespace fovea::base
