// Training and fine-tuning, with the same forward that serves.
//
//   fovea::TrainReport report = fovea::Train("recipe.json", {});
//   fovea::Model model = fovea::Model::Load(report.folder);
//
// A recipe is a JSON file (docs/training.md). The output folder is a model like any other, beside what the run leaves:
// metrics.jsonl (one line a log step), report.html (curves), recipe.json, checkpoint.safetensors (to resume from) and
// best/ (the best models so far).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fovea/error.h"

namespace fovea {

struct TrainProgress {
  int64_t step;  // done so far
  int64_t total_steps;
  double samples_per_second;  // since the run (or its resumption) began, without validation
  double seconds_left;        // at that pace
  std::string metrics;        // one JSON object, the line that went to metrics.jsonl; "" between log steps
};

struct TrainOptions {
  std::vector<std::string> overrides;  // "optimizer.learning_rate=1e-4": wins over the file
  bool resume = false;  // go on from the checkpoint in the output folder; from the start when there is none yet
  // After each step.
  std::function<void(const TrainProgress&)> on_progress = {};
  // What a person should know: new layers, pictures that cannot be read.
  std::function<void(const std::string& note)> on_note = {};
  // Set it from anywhere to stop after the step in flight; a checkpoint is written.
  const std::atomic<bool>* cancel = nullptr;
};

struct TrainReport {
  std::string folder;  // the model
  int64_t steps = 0;   // of the whole run, resumed parts included
  bool interrupted = false;
  std::string metric;  // what "best" means: "top1", "recall_at_1", or "" without validation data
  double best = 0;     // 0..1
  int64_t best_step = 0;
  double seconds = 0;
  double wait_share = 0;  // of the time that the computation waited for data, 0..1
  int64_t process = 0;    // of several that share a run (mpirun), which one this is; the first alone reports and writes
};

// Throws what reading the recipe, the model and the data throws: kNotFound, kCorruptData, kInvalidArgument (unknown
// keys with the nearest known one), kUnimplemented, kIo; and kInvalidArgument when the output folder already holds
// another run, or when the loss is no longer finite: the message names the step and the keys of the batch. Resuming
// gives the same bits as a run that was never interrupted, on the same machine with the same number of threads.
TrainReport Train(const std::string& recipe_file, const TrainOptions& options = {});

}  // namespace fovea
