// The linear probe in two steps, so that a fit can start from another one's answer.
#pragma once

#include <vector>

#include "fovea/eval.h"

namespace fovea::eval {

// Weights [D+1,V] row-major, the last row the biases. `start`: where to begin, the same size, or empty for zero. The
// problem is convex: the start changes how long it takes, and the answer within the tolerance of the fit alone.
// Throws as MeasureLinearProbe.
std::vector<double> FitLinearProbe(const LabelledVectors& train, const LinearProbeOptions& options,
                                   const std::vector<double>& start = {});
ClassificationReport MeasureWithWeights(const std::vector<double>& weights, const LabelledVectors& test,
                                        const LinearProbeOptions& options);

}  // namespace fovea::eval
