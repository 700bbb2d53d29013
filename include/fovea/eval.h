// Measuring models on labelled data.
//
//   fovea::ClassifyMetrics m = fovea::EvaluateClassify(model, {"imagenet.tar"}, {});
//   m.top1   // 0.870
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fovea/model.h"

namespace fovea {

struct ClassifyMetrics {
  int64_t n = 0;       // pictures that were judged
  int64_t failed = 0;  // pictures that could not be read or have no label of this model
  double top1 = 0;     // share of n whose class is the best one, 0..1
  double top5 = 0;     // share of n whose class is among the best five
  double seconds = 0;
};

struct EvaluateOptions {
  // Called now and then with the number of pictures done so far.
  std::function<void(int64_t done)> on_progress;
  // Called for each picture that is left out, with its key and the reason.
  std::function<void(const std::string& key, const std::string& reason)> on_failure;
};

// Top-1 and top-5 accuracy over WebDataset shards: KEY.(jpg|png|webp|...) with KEY.json holding {"labels":
// {"class_index": i}}, or
// {"labels": {"name": class name}}. Throws what Model::Classify throws, and kNotFound, kCorruptData for a shard.
ClassifyMetrics EvaluateClassify(const Model& model, const std::vector<std::string>& shards,
                                 const EvaluateOptions& options = {});

}  // namespace fovea
