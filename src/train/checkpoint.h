// The state of a run in one safetensors file, replaced whole or not at all: a run that is killed at any moment goes on
// from the last one, bit for bit.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/data/loader.h"
#include "train/trainable.h"

namespace fovea::train {

struct BestModel {
  double score = 0;
  int64_t step = 0;
};

struct RunState {
  int64_t step = 0;                         // done
  DataPosition position;                    // of this process
  std::vector<DataPosition> positions;      // of all processes, when saved or loaded
  std::map<std::string, Tensor> averages;   // EMA by name; empty without
  std::vector<BestModel> best;              // best first
  double window_loss = 0, window_norm = 0;  // sums since the last log step
  int64_t window_steps = 0;
  double first_loss = 0;  // mean of the first window; 0 before
  double seconds = 0;     // spent in earlier parts of the run
};

void SaveCheckpoint(const std::string& path, const std::string& recipe, const RunState& state, Trainable& trainable);
// Fills state, parameters and moments. Throws kInvalidArgument when the recipe is another one (naming the first key
// that differs) or the tensors do not fit; kCorruptData.
void LoadCheckpoint(const std::string& path, const std::string& recipe, RunState& state, Trainable& trainable);

}  // namespace fovea::train
