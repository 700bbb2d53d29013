// Confidence intervals by the bootstrap (Efron 1979): the units of a test set are drawn again and again with
// replacement, and the statistic of each draw shows how far chance alone moves it. Percentile intervals of 95 %.
//
// A unit is what was sampled when the data were made, which is the picture: captions and questions of one picture are
// drawn together, because they are not independent. The intervals speak of the test set's chance, not of the model's
// training nor of other data.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fovea/eval.h"

namespace fovea::eval {

// `statistic` gets `units` numbers in [0,units), the units that were drawn, and gives one value for each measure; it is
// called from several threads. One interval a measure, its ends interpolated linearly between the sorted values as
// numpy.percentile does. The same seed gives the same intervals, whatever the number of threads.
// options.resamples 0: no intervals, low and high are NaN.
std::vector<Interval> Bootstrap(int64_t units, int64_t measures, const EvaluateOptions& options,
                                const std::function<std::vector<double>(std::span<const int64_t> drawn)>& statistic);

// The intervals of sums of parts over sums of weights: parts [units,measures] row-major and weights [units]. With
// weights of 1 those of the means.
std::vector<Interval> BootstrapMeans(std::span<const double> parts, std::span<const double> weights, int64_t measures,
                                     const EvaluateOptions& options);

}  // namespace fovea::eval
