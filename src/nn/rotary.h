// Rotary position embedding (RoPE, Su et al. 2021, arXiv 2104.09864) as configurations describe it: the angles of each
// position, plain or stretched for longer texts, for one number a token or three (M-RoPE: time, row, column).
//
// Stretched ones: "linear", "llama3" (LLaMA 3.1) and "yarn" (Peng et al. 2023, arXiv 2309.00071). Not covered:
// "dynamic" and "longrope", whose angles change with the length of the text, so that keys in a cache would go stale.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/tensor.h"

namespace fovea::nn {

enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3, kYarn };

struct RopeOptions {
  int64_t rotated = 0;  // elements of a head that are turned, 2R; even
  double theta = 10000;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1;                                 // how much longer texts may be
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double original_max_position_embeddings = 8192;    // llama3, yarn: tokens before stretching
  double attention_factor = 1;                       // yarn: scales cosines and sines
  double beta_fast = 32, beta_slow = 1;              // yarn
  bool truncate = true;                              // yarn: the ramp begins and ends at whole elements
  // M-RoPE: so many of the R angles belong to time, row and column; all zero: one position a token.
  std::array<int64_t, 3> sections = {0, 0, 0};
  bool is_interleaved = false;  // M-RoPE: time, row, column, time, ... instead of one after the other
};

// From the keys rope_parameters (or rope_scaling), rope_theta and partial_rotary_factor of config.json. `layer_type`
// names the object within rope_parameters where kinds of layers differ. `theta`: where the configuration says nothing.
// Throws kInvalidArgument for values out of range, kUnimplemented naming `who` for kinds that are not covered.
struct RopeDefaults {
  int64_t head_dim;
  double theta = 10000;
  std::string_view layer_type = "";
};
RopeOptions ReadRope(const base::Config& config, std::string_view who, const RopeDefaults& defaults);

class Rotary {
 public:
  explicit Rotary(const RopeOptions& options);

  // The cosines and sines that ops/rotary.h takes.
  struct Angles {
    Tensor cos, sin;  // f32 [B,T,R]
  };
  // positions i64 [B,T], or [3,B,T] with sections.
  Angles At(const Tensor& positions) const;

 private:
  std::vector<float> frequencies_;  // R
  std::vector<int8_t> axes_;        // R: which of three positions an angle follows; empty: one position
  float scale_;
};

}  // namespace fovea::nn
