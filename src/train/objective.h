// What a run minimises: the loss of a batch, its gradients, and the score on validation data.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "train/data/loader.h"
#include "train/feature_cache.h"
#include "train/network.h"
#include "train/processes.h"
#include "train/trainable.h"

namespace fovea::train {

class Objective {
 public:
  virtual ~Objective() = default;
  // Adds the gradients of the batch's mean loss to the slots and returns the loss. Of several processes each has its
  // rows of the batch: gradients and losses are shares that add up to those of the whole. `seed`: of everything random
  // in the forward of this step.
  virtual double Accumulate(const Batch& batch, Trainable& trainable, uint64_t seed) const = 0;
  // Runs over the loader, and writes what it measured into `metrics`; returns the score that decides which model is
  // best, higher is better. `metric`: its name.
  virtual double Validate(Loader& loader, nlohmann::ordered_json& metrics) = 0;
  virtual std::string metric() const = 0;
  // Computes (or opens) the features of what is frozen, which Accumulate then reads instead of the towers. Throws
  // kInvalidArgument when nothing is frozen, or when pictures would have to be augmented.
  virtual void CacheFeatures(const FeatureCache::Options& options, Trainable& trainable) = 0;
  // False when Accumulate reads no pixels.
  virtual bool NeedsPixels() const { return true; }
  // Examples of the last validation as HTML, "" when there are none.
  virtual std::string ExamplesHtml() const { return ""; }
};

// Throws kUnimplemented when the network cannot do the recipe's task. The arguments must outlive the objective.
std::unique_ptr<Objective> MakeObjective(const Recipe& recipe, const Network& network, const Processes& processes);

// Rows [begin, end) of a batch's pictures.
Tensor RowsOf(const Tensor& x, int64_t begin, int64_t end);

}  // namespace fovea::train
