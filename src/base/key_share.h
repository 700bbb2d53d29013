// Which samples are held back from training, by a hash of their keys: the same ones whatever a file's order or number
// of samples, and those of a smaller share among those of a larger one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/hash.h"

namespace fovea::base {

// True for about `share` (0 to 1) of all keys.
inline bool IsHeldBack(std::string_view key, double share) {
  if (share <= 0) return false;
  const std::string hash = ContentHasher().Add(key).Hex();
  return static_cast<double>(std::stoull(hash.substr(0, 8), nullptr, 16)) / 4294967296.0 < share;
}

}  // namespace fovea::base
