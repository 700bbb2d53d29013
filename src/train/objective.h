// What a run minimises: the loss of a batch, its gradients, and the score on validation data.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "train/data/loader.h"
#include "train/network.h"
#include "train/trainable.h"

namespace fovea::train {

class Objective {
 public:
  virtual ~Objective() = default;
  // Adds the gradients of the batch's mean loss to the slots and returns the loss. `seed`: of everything random in the
  // forward of this step.
  virtual double Accumulate(const Batch& batch, Trainable& trainable, uint64_t seed) const = 0;
  // Runs over the loader, and writes what it measured into `metrics`; returns the score that decides which model is
  // best, higher is better. `metric`: its name.
  virtual double Validate(Loader& loader, nlohmann::ordered_json& metrics) const = 0;
  virtual std::string metric() const = 0;
};

// Throws kUnimplemented when the network cannot do the recipe's task.
std::unique_ptr<Objective> MakeObjective(const Recipe& recipe, const Network& network);

// Rows [begin, end) of a batch's pictures.
Tensor RowsOf(const Tensor& x, int64_t begin, int64_t end);

}  // namespace fovea::train
