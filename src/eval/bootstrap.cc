#include "eval/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "base/parallel.h"

namespace fovea::eval {
namespace {

constexpr double kLow = 0.025, kHigh = 0.975;

double Percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::vector<Interval> Bootstrap(int64_t units, int64_t measures, const EvaluateOptions& options,
                                const std::function<std::vector<double>(std::span<const int64_t> drawn)>& statistic) {
  constexpr int64_t kMostResamples = 1'000'000;
  Require(options.resamples >= 0 && options.resamples <= kMostResamples, "[eval] expected resamples in [0,",
          kMostResamples, "], got ", options.resamples);
  const auto M = static_cast<size_t>(measures), R = static_cast<size_t>(options.resamples);
  if (R == 0 || units == 0) return std::vector<Interval>(M);
  std::vector<std::vector<double>> values(M, std::vector<double>(R));  // [measures,R]
  base::ParallelFor(options.resamples, 1, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> drawn(static_cast<size_t>(units));
    for (int64_t r = begin; r < end; ++r) {
      // One generator a resample, so that the threads do not matter.
      std::mt19937_64 random(options.seed * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(r));
      for (int64_t& unit : drawn) unit = static_cast<int64_t>(random() % static_cast<uint64_t>(units));
      const std::vector<double> found = statistic(drawn);
      for (size_t m = 0; m < M; ++m) values[m][static_cast<size_t>(r)] = found.at(m);
    }
  });
  std::vector<Interval> intervals;
  for (std::vector<double>& row : values) {
    std::erase_if(row, [](double value) { return std::isnan(value); });  // a draw without what the measure needs
    std::sort(row.begin(), row.end());
    intervals.push_back(row.empty() ? Interval() : Interval{Percentile(row, kLow), Percentile(row, kHigh)});
  }
  return intervals;
}

std::vector<Interval> BootstrapMeans(std::span<const double> parts, std::span<const double> weights, int64_t measures,
                                     const EvaluateOptions& options) {
  const auto M = static_cast<size_t>(measures);
  FOVEA_DCHECK(parts.size() == weights.size() * M);
  return Bootstrap(static_cast<int64_t>(weights.size()), measures, options, [&](std::span<const int64_t> drawn) {
    std::vector<double> sums(M);
    double weight = 0;
    for (const int64_t unit : drawn) {
      weight += weights[static_cast<size_t>(unit)];
      for (size_t m = 0; m < M; ++m) sums[m] += parts[static_cast<size_t>(unit) * M + m];
    }
    for (double& sum : sums) sum = weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN();
    return sums;
  });
}

}  // namespace fovea::eval
