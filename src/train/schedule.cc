#include "train/schedule.h"

#include <algorithm>
#include <cmath>

namespace fovea::train {

double LearningRateFactor(const ScheduleOptions& options, int64_t step, int64_t total_steps) {
  if (step < options.warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  const auto falling = static_cast<double>(std::max<int64_t>(1, total_steps - options.warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - options.warmup_steps) / falling);
  switch (options.type) {
    case ScheduleOptions::Type::kConstant: return 1.0;
    case ScheduleOptions::Type::kLinear: return 1.0 - (1.0 - options.end_factor) * progress;
    case ScheduleOptions::Type::kCosine:
      return options.end_factor + (1.0 - options.end_factor) * 0.5 * (1.0 + std::cos(M_PI * progress));
  }
  return 1.0;
}

double EmaDecay(double decay, int64_t step) {
  return std::min(decay, (1.0 + static_cast<double>(step)) / (10.0 + static_cast<double>(step)));
}

}  // namespace fovea::train
