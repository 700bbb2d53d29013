// Calling Highway code that is compiled once per instruction set and chosen at run time.
//
//   // in a file that foreach_target.h compiles several times, which must include hwy/highway.h itself each time:
//   HWY_EXPORT(SumLoop);
//   float Sum(const float* x, int64_t n) { return FOVEA_DISPATCH(SumLoop)(x, n); }
//
// Include this instead of spelling HWY_DYNAMIC_DISPATCH, so that FOVEA_MAX_ISA is obeyed before the first choice is made.
#pragma once

#include "hwy/highway.h"

namespace fovea::base {

// Tells Highway about base::IsaLimit(), once per process. Cheap to call again.
void ApplyIsaLimitToHighway();

// Name of the instruction set that dispatched code uses here, e.g. "AVX2".
const char* DispatchedTargetName();

}  // namespace fovea::base

#define FOVEA_DISPATCH(FUNCTION) (::fovea::base::ApplyIsaLimitToHighway(), HWY_DYNAMIC_DISPATCH(FUNCTION))
