// The learning rate over the steps of a run, and the decay of the averaged weights. Pure functions of the step, so that
// a resumed run needs no state of theirs.
#pragma once

#include <cstdint>
#include <string>

namespace fovea::train {

struct ScheduleOptions {
  enum class Type : uint8_t { kConstant, kLinear, kCosine };
  Type type = Type::kCosine;
  int64_t warmup_steps = 0;
  double end_factor = 0.0;  // of the learning rate that is left at the end; linear and cosine
};

// Factor on the learning rate at `step` of `total_steps`, counted from 0. Warm-up rises linearly, (step + 1) / warmup,
// as open_clip's; after it the factor falls from 1 towards end_factor, which would be reached at step total_steps.
double LearningRateFactor(const ScheduleOptions& options, int64_t step, int64_t total_steps);

// Decay of the moving average of the weights after update number `step`, counted from 1: min(decay, (1 + step) / (10 +
// step)), so that a short run forgets its first weights.
double EmaDecay(double decay, int64_t step);

}  // namespace fovea::train
