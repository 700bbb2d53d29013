// Calibration: whether a confidence of 0.8 is right in eight of ten cases, and two ways to make it so: one temperature
// for all logits (Guo et al. 2017) and a monotone map (isotonic regression). Fit them on data that nothing was learnt
// from. The reliability diagram and the expected calibration error follow scikit-learn's bins and Guo et al.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::runtime {

// Confidences in [0,1] and whether each came true; equally many.
struct Outcomes {
  std::span<const double> confidence;  // [N]
  std::span<const uint8_t> hit;        // [N]: 0 or 1
};

enum class Bins {
  kEqualWidth,  // of the scale
  kEqualMass,   // of the confidences: edges are quantiles, so that each bin holds about as many
};

struct ReliabilityBin {
  double low = 0, high = 0;  // a confidence on an edge belongs to the bin below it
  int64_t n = 0;
  double confidence = 0;  // mean
  double hits = 0;        // share
};

// The bins that hold something, in order. Throws kInvalidArgument when there is nothing, a confidence is outside [0,1],
// sizes differ, or bins is not in [1,10000].
std::vector<ReliabilityBin> Reliability(const Outcomes& outcomes, int64_t bins = 15, Bins kind = Bins::kEqualWidth);

// Mean of |confidence - hits| over bins, weighted by their n.
double ExpectedCalibrationError(std::span<const ReliabilityBin> bins);

// Mean of (confidence - hit)^2.
double BrierScore(const Outcomes& outcomes);

// Logits [N,V] row-major with labels [N] in [0,V).
struct LabelledLogits {
  std::span<const float> logits;
  std::span<const int64_t> labels;
  int64_t classes = 0;
};

// Mean over samples of the sum over classes of (probability - truth)^2, 0..2 (Brier 1950). Throws kInvalidArgument.
double MulticlassBrierScore(const LabelledLogits& data, double temperature = 1);
// Mean of -log(probability of the label) of softmax(logits / temperature).
double LogLoss(const LabelledLogits& data, double temperature = 1);
// The temperature with the least log loss, in [0.01,100]: its place is unique, since the loss is convex in 1 /
// temperature. At an end of the range when the loss falls towards it, as it does when every sample is right.
double FitTemperature(const LabelledLogits& data);

// A map that never falls.
class IsotonicFit {
 public:
  // The least squares fit of targets [N] by scores [N], weighted; pool adjacent violators. Equal scores share their
  // mean. `weights` empty: all 1. Throws kInvalidArgument when sizes differ, N is 0, a value is not finite or a weight
  // not above 0.
  static IsotonicFit Fit(std::span<const double> scores, std::span<const double> targets,
                         std::span<const double> weights = {});
  // A fit that was kept: its places, rising, and the values there, in [0,1] and never falling; as many, at least one.
  // Throws kInvalidArgument.
  static IsotonicFit FromPoints(std::vector<double> scores, std::vector<double> values);
  const std::vector<double>& scores() const { return scores_; }
  const std::vector<double>& values() const { return values_; }
  // Linear between the fitted places, the end values outside.
  double operator()(double score) const;

 private:
  std::vector<double> scores_, values_;  // places where the value changes, rising
};

}  // namespace fovea::runtime
