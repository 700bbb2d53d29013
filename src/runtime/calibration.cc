#include "runtime/calibration.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace fovea::runtime {
namespace {

void Check(const Outcomes& outcomes) {
  Require(!outcomes.confidence.empty() && outcomes.confidence.size() == outcomes.hit.size(),
          "[calibration] expected as many confidences as outcomes and at least one, got ", outcomes.confidence.size(),
          " and ", outcomes.hit.size());
  for (const double confidence : outcomes.confidence)
    Require(confidence >= 0 && confidence <= 1, "[calibration] expected confidences in [0,1], got ", confidence);
}

void Check(const LabelledLogits& data) {
  Require(data.classes >= 1 && !data.labels.empty() &&
              data.logits.size() == data.labels.size() * static_cast<size_t>(data.classes),
          "[calibration] expected logits [N,", data.classes, "] and labels [N] with N above 0, got ",
          data.logits.size(), " logits and ", data.labels.size(), " labels");
  for (const int64_t label : data.labels)
    Require(label >= 0 && label < data.classes, "[calibration] expected labels in [0,", data.classes, "), got ", label);
  for (const float logit : data.logits)
    Require(std::isfinite(logit), "[calibration] expected finite logits, got ", logit);
}

// Calls found(label, logits, probabilities, log of the sum) for each sample.
template <typename Found>
void ForEachSample(const LabelledLogits& data, double inverse_temperature, Found&& found) {
  const auto V = static_cast<size_t>(data.classes);
  std::vector<double> probabilities(V);
  for (size_t n = 0; n < data.labels.size(); ++n) {
    const std::span<const float> logits = data.logits.subspan(n * V, V);
    const double highest = static_cast<double>(*std::ranges::max_element(logits)) * inverse_temperature;
    double sum = 0;
    for (size_t v = 0; v < V; ++v) sum += probabilities[v] = std::exp(logits[v] * inverse_temperature - highest);
    for (double& probability : probabilities) probability /= sum;
    found(static_cast<size_t>(data.labels[n]), logits, probabilities, highest + std::log(sum));
  }
}

void CheckTemperature(double temperature) {
  Require(std::isfinite(temperature) && temperature > 0, "[calibration] expected a temperature above 0, got ",
          temperature);
}

// numpy.percentile of sorted values, linear between neighbours.
double Quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::vector<ReliabilityBin> Reliability(const Outcomes& outcomes, int64_t bins, Bins kind) {
  constexpr int64_t kMostBins = 10000;
  Check(outcomes);
  Require(bins >= 1 && bins <= kMostBins, "[calibration] expected bins in [1,", kMostBins, "], got ", bins);
  std::vector<double> edges, sorted(outcomes.confidence.begin(), outcomes.confidence.end());
  std::ranges::sort(sorted);
  for (int64_t i = 0; i <= bins; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(bins);
    edges.push_back(kind == Bins::kEqualWidth ? share : Quantile(sorted, share));
  }
  std::vector<ReliabilityBin> filled(static_cast<size_t>(bins));
  for (size_t b = 0; b < filled.size(); ++b) {
    filled[b].low = edges[b];
    filled[b].high = edges[b + 1];
  }
  for (size_t i = 0; i < outcomes.confidence.size(); ++i) {
    const double confidence = outcomes.confidence[i];
    const auto bin = std::lower_bound(edges.begin() + 1, edges.end() - 1, confidence) - (edges.begin() + 1);
    ReliabilityBin& own = filled[static_cast<size_t>(bin)];
    ++own.n;
    own.confidence += confidence;
    own.hits += outcomes.hit[i] != 0 ? 1 : 0;
  }
  std::erase_if(filled, [](const ReliabilityBin& bin) { return bin.n == 0; });
  for (ReliabilityBin& bin : filled) {
    bin.confidence /= static_cast<double>(bin.n);
    bin.hits /= static_cast<double>(bin.n);
  }
  return filled;
}

double ExpectedCalibrationError(std::span<const ReliabilityBin> bins) {
  double sum = 0, n = 0;
  for (const ReliabilityBin& bin : bins) {
    sum += static_cast<double>(bin.n) * std::abs(bin.confidence - bin.hits);
    n += static_cast<double>(bin.n);
  }
  return n > 0 ? sum / n : 0;
}

double BrierScore(const Outcomes& outcomes) {
  Check(outcomes);
  double sum = 0;
  for (size_t i = 0; i < outcomes.hit.size(); ++i)
    sum += std::pow(outcomes.confidence[i] - (outcomes.hit[i] != 0 ? 1 : 0), 2);
  return sum / static_cast<double>(outcomes.hit.size());
}

double MulticlassBrierScore(const LabelledLogits& data, double temperature) {
  Check(data);
  CheckTemperature(temperature);
  double sum = 0;
  ForEachSample(data, 1 / temperature, [&](size_t label, auto, const std::vector<double>& probabilities, double) {
    for (size_t v = 0; v < probabilities.size(); ++v) sum += std::pow(probabilities[v] - (v == label ? 1 : 0), 2);
  });
  return sum / static_cast<double>(data.labels.size());
}

double LogLoss(const LabelledLogits& data, double temperature) {
  Check(data);
  CheckTemperature(temperature);
  double sum = 0;
  ForEachSample(data, 1 / temperature, [&](size_t label, auto logits, const std::vector<double>&, double log_sum) {
    sum += log_sum - logits[label] / temperature;
  });
  return sum / static_cast<double>(data.labels.size());
}

double FitTemperature(const LabelledLogits& data) {
  constexpr double kLeast = 0.01, kMost = 100;
  constexpr int kHalvings = 60;
  Check(data);
  // The slope of the loss by 1 / temperature: the mean logit that the model expects, less that of the label. It rises.
  const auto slope = [&](double inverse) {
    double sum = 0;
    ForEachSample(data, inverse, [&](size_t label, auto logits, const std::vector<double>& probabilities, double) {
      for (size_t v = 0; v < probabilities.size(); ++v) sum += probabilities[v] * logits[v];
      sum -= logits[label];
    });
    return sum;
  };
  double low = std::log(1 / kMost), high = std::log(1 / kLeast);
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (slope(std::exp(middle)) <= 0 ? low : high) = middle;
  }
  return std::exp(-(low + high) / 2);
}

IsotonicFit IsotonicFit::Fit(std::span<const double> scores, std::span<const double> targets,
                             std::span<const double> weights) {
  Require(!scores.empty() && scores.size() == targets.size() && (weights.empty() || weights.size() == scores.size()),
          "[isotonic] expected as many targets (and weights) as scores and at least one, got ", scores.size(), ", ",
          targets.size(), " and ", weights.size());
  struct Block {
    double first, last;  // scores
    double value, weight;
  };
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (const size_t i : order) {
    Require(std::isfinite(scores[i]) && std::isfinite(targets[i]), "[isotonic] expected finite scores and targets");
    Require(weights.empty() || (std::isfinite(weights[i]) && weights[i] > 0),
            "[isotonic] expected weights above 0, got ", weights.empty() ? 1 : weights[i]);
  }
  std::ranges::stable_sort(order, {}, [&](size_t i) { return scores[i]; });
  const auto pool = [](Block& into, const Block& from) {
    into.value = (into.value * into.weight + from.value * from.weight) / (into.weight + from.weight);
    into.weight += from.weight;
    into.last = from.last;
  };
  std::vector<Block> points;  // equal scores are one point
  for (const size_t i : order) {
    const Block point{scores[i], scores[i], targets[i], weights.empty() ? 1.0 : weights[i]};
    if (!points.empty() && points.back().last == point.first) {
      pool(points.back(), point);
    } else {
      points.push_back(point);
    }
  }
  std::vector<Block> blocks;
  for (const Block& point : points) {
    blocks.push_back(point);
    while (blocks.size() > 1 && blocks[blocks.size() - 2].value >= blocks.back().value) {
      pool(blocks[blocks.size() - 2], blocks.back());
      blocks.pop_back();
    }
  }
  IsotonicFit fit;
  for (const Block& block : blocks) {
    fit.scores_.push_back(block.first);
    fit.values_.push_back(block.value);
    if (block.last == block.first) continue;
    fit.scores_.push_back(block.last);
    fit.values_.push_back(block.value);
  }
  return fit;
}

IsotonicFit IsotonicFit::FromPoints(std::vector<double> scores, std::vector<double> values) {
  Require(!scores.empty() && scores.size() == values.size(), "[isotonic] expected as many values as places, got ",
          values.size(), " and ", scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    Require(std::isfinite(scores[i]) && values[i] >= 0 && values[i] <= 1 &&
                (i == 0 || (scores[i] > scores[i - 1] && values[i] >= values[i - 1])),
            "[isotonic] expected rising places and values in [0,1] that never fall, got ", values[i], " at ",
            scores[i]);
  }
  IsotonicFit fit;
  fit.scores_ = std::move(scores);
  fit.values_ = std::move(values);
  return fit;
}

double IsotonicFit::operator()(double score) const {
  if (!(score > scores_.front())) return values_.front();
  if (score >= scores_.back()) return values_.back();
  const auto above = static_cast<size_t>(std::ranges::upper_bound(scores_, score) - scores_.begin());
  const double share = (score - scores_[above - 1]) / (scores_[above] - scores_[above - 1]);
  return values_[above - 1] + share * (values_[above] - values_[above - 1]);
}

}  // namespace fovea::runtime
