// Throwing `fovea::Error` in one line.
//
//   Require(x.rank() == 4, "[conv2d] expected pixels [B,Y,X,C], got ", x.shape());
//   Fail(ErrorCode::kNotFound, "[model] no config.json in ", folder, "; hint: ...");
//
// Require checks what callers and files control and is always on. FOVEA_DCHECK is for invariants of our own code and
// vanishes in release builds.
#pragma once

#include <cassert>

#include "base/strings.h"
#include "fovea/error.h"

namespace fovea {

template <typename... Parts>
[[noreturn]] __attribute__((noinline, cold)) void Fail(ErrorCode code, const Parts&... parts) {
  throw Error(code, base::StrCat(parts...));
}

template <typename... Parts>
void Require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    Fail(ErrorCode::kInvalidArgument, parts...);
}

// Like Require for bytes that come from a file or the network.
template <typename... Parts>
void RequireData(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    Fail(ErrorCode::kCorruptData, parts...);
}

#define FOVEA_DCHECK(condition) assert(condition)

}  // namespace fovea
