// Which instruction sets this process may use.
//
// Highway and oneDNN both pick their code at run time. The environment variable FOVEA_MAX_ISA=avx2 holds both below
// AVX-512, so that the code that runs on smaller machines can be tested on larger ones. It is read once, before the
// first kernel runs.
#pragma once

#include <string>
#include <vector>

namespace fovea::base {

enum class MaxIsa { kAny, kAvx2 };

// The limit set by FOVEA_MAX_ISA; any value other than "avx2" (or none) means no limit.
MaxIsa IsaLimit();

// Names of the vector extensions this processor offers, e.g. {"sse4.2", "avx2", "fma", "f16c"}, for `fovea doctor`.
std::vector<std::string> CpuFeatures();

// True when products of bf16 numbers are faster here than those of f32: the processor has AMX, or AVX512-BF16 at full
// rate. Where Intel's later processors hide AMX (virtual machines) their AVX512-BF16 runs at half the rate of f32.
bool HasFastBf16();

// Cores this process may run on (its affinity mask), at least 1.
int AvailableCores();

}  // namespace fovea::base
