// Calling Highway code that is compiled once per instruction set and chosen at run time.
//
//   HWY_EXPORT(SumLoop);
//   float Sum(const float* x, int64_t n) { return FOVEA_DISPATCH(SumLoop)(x, n); }
//
// A file that foreach_target.h compiles several times must include hwy/highway.h itself, after foreach_target.h.
//
// We link nothing of Highway: its shared library measures the processor's clock for 5 ms whenever a program starts. The
// two functions that dispatch needs of it are in simd.cc, where they also obey FOVEA_MAX_ISA.
#pragma once

#include "hwy/highway.h"

namespace fovea::base {

// Name of the instruction set that dispatched code uses here, e.g. "AVX2".
const char* DispatchedTargetName();

}  // namespace fovea::base

#define FOVEA_DISPATCH(FUNCTION) HWY_DYNAMIC_DISPATCH(FUNCTION)
