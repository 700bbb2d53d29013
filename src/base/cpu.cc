#include "base/cpu.h"

#include <sched.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace fovea::base {

MaxIsa IsaLimit() {
  static const MaxIsa limit = [] {
    const char* value = std::getenv("FOVEA_MAX_ISA");
    return value != nullptr && std::string_view(value) == "avx2" ? MaxIsa::kAvx2 : MaxIsa::kAny;
  }();
  return limit;
}

std::vector<std::string> CpuFeatures() {
  std::vector<std::string> features;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("sse4.2")) features.emplace_back("sse4.2");
  if (__builtin_cpu_supports("avx")) features.emplace_back("avx");
  if (__builtin_cpu_supports("avx2")) features.emplace_back("avx2");
  if (__builtin_cpu_supports("fma")) features.emplace_back("fma");
  if (__builtin_cpu_supports("avx512f")) features.emplace_back("avx512f");
  if (__builtin_cpu_supports("avx512bw")) features.emplace_back("avx512bw");
  if (__builtin_cpu_supports("avx512vnni")) features.emplace_back("avx512vnni");
  if (__builtin_cpu_supports("avx512bf16")) features.emplace_back("avx512bf16");
#endif
  return features;
}

bool HasFastBf16() {
#if defined(__x86_64__)
  static const bool is_fast = [] {
    unsigned eax, ebx, ecx, edx, edx7;
    if (IsaLimit() == MaxIsa::kAvx2 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx7)) return false;
    const bool has_fp16 = (edx7 >> 23 & 1) != 0, has_amx = (edx7 >> 22 & 1) != 0 && (edx7 >> 24 & 1) != 0;
    const bool has_bf16 = __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 5 & 1) != 0;
    return has_amx || (has_bf16 && !has_fp16);
  }();
  return is_fast;
#else
  return false;
#endif
}

int AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace fovea::base
