// How far what a model says of its own texts can be believed, and the map that mends it.
#include <algorithm>

#include "base/error.h"
#include "fovea/eval_text.h"
#include "runtime/answer_calibration.h"
#include "runtime/calibration.h"

namespace fovea {
namespace {

using runtime::IsotonicFit;

// Means of bins, not single texts: with some hundreds of them a step for each would be chance.
IsotonicFit FitBins(const std::vector<double>& confidences, const std::vector<uint8_t>& hits) {
  constexpr int64_t kBins = 12;
  std::vector<double> places, shares, weights;
  for (const auto& bin : runtime::Reliability({confidences, hits}, kBins, runtime::Bins::kEqualMass)) {
    places.push_back(bin.confidence);
    shares.push_back(bin.hits);
    weights.push_back(static_cast<double>(bin.n));
  }
  return IsotonicFit::Fit(places, shares, weights);
}

template <typename T>
std::vector<T> EverySecond(const std::vector<T>& all, size_t first) {
  std::vector<T> half;
  for (size_t i = first; i < all.size(); i += 2) half.push_back(all[i]);
  return half;
}

}  // namespace

ConfidenceReport MeasureConfidence(std::span<const double> confidences, std::span<const double> scores,
                                   const ConfidenceOptions& options) {
  Require(!confidences.empty() && confidences.size() == scores.size(),
          "[confidence] expected as many scores as confidences and at least one, got ", scores.size(), " and ",
          confidences.size());
  const std::vector<double> told(confidences.begin(), confidences.end());
  std::vector<uint8_t> hits;
  for (const double score : scores) hits.push_back(score >= options.right_from ? 1 : 0);
  ConfidenceReport report{.n = static_cast<int64_t>(hits.size())};
  report.right = static_cast<double>(std::ranges::count(hits, 1)) / static_cast<double>(report.n);
  const auto bins = runtime::Reliability({told, hits});
  report.ece = runtime::ExpectedCalibrationError(bins);
  report.brier = runtime::BrierScore({told, hits});
  for (const auto& bin : bins) report.bins.push_back({.n = bin.n, .confidence = bin.confidence, .right = bin.hits});
  if (options.file.empty()) return report;
  Require(report.n >= 2, "[confidence] expected at least two texts to fit a map to");
  std::vector<double> mapped(told.size());
  for (const size_t first : {size_t{0}, size_t{1}}) {
    const IsotonicFit other = FitBins(EverySecond(told, 1 - first), EverySecond(hits, 1 - first));
    for (size_t i = first; i < mapped.size(); i += 2) mapped[i] = other(told[i]);
  }
  report.is_calibrated = true;
  report.ece_calibrated = runtime::ExpectedCalibrationError(runtime::Reliability({mapped, hits}));
  report.brier_calibrated = runtime::BrierScore({mapped, hits});
  runtime::WriteAnswerCalibration(options.file, options.kind, FitBins(told, hits));
  return report;
}

}  // namespace fovea
