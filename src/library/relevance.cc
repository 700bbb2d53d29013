#include "library/relevance.h"

#include <algorithm>
#include <cmath>

namespace fovea::library {
namespace {

float MedianOf(std::vector<float>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double ChanceFinds(double z, int64_t pictures) { return static_cast<double>(pictures) * NormalTail(z / kTailScale); }

}  // namespace

double NormalTail(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }

std::vector<double> Probabilities(std::span<const double> z, int64_t pictures) {
  std::vector<double> probabilities(z.size());
  double share = 1;
  for (size_t j = z.size(); j-- > 0;) {
    share = std::min(share, ChanceFinds(z[j], pictures) / static_cast<double>(j + 1));
    probabilities[j] = 1 / (1 + share / kChanceShare);
  }
  return probabilities;
}

double ProbabilityBelow(double z, int64_t rank, int64_t pictures) {
  const double share = std::min(1.0, ChanceFinds(z, pictures) / static_cast<double>(std::max<int64_t>(1, rank)));
  return 1 / (1 + share / kChanceShare);
}

Ordinary OrdinaryOf(std::vector<float> sample) {
  if (sample.empty()) return {};
  const float median = MedianOf(sample);
  for (float& value : sample) value = std::abs(value - median);
  // 1.4826: equals the standard deviation of a normal distribution
  return {median, std::max(0.01f, 1.4826f * MedianOf(sample))};
}

float RelevanceFloor(std::vector<float> sample, float best) {
  if (sample.empty()) return best;
  const bool is_small = sample.size() < 16;
  const Ordinary ordinary = OrdinaryOf(std::move(sample));
  const float middle = ordinary.median + 0.5f * (best - ordinary.median);
  return is_small ? middle : std::max(middle, ordinary.median + 3 * ordinary.deviation);
}

}  // namespace fovea::library
