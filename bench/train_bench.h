// Steps of training on inputs that are already there, for bench/train.py.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace fovea {

struct TrainBenchOptions {
  std::string model;   // folder
  std::string inputs;  // safetensors: "pixels" [B,Y,X,3] with "labels" [B], or with "ids" [B,T] of captions
  int64_t steps = 3;   // timed, after one that is not
  bool computes_bf16 = false;
  bool recomputes = false;
  int64_t part = 0;  // micro batch
};

// {"samples_per_s", "loss": [of each step], "peak_mb": of the whole process}
nlohmann::json TrainBench(const TrainBenchOptions& options);

}  // namespace fovea
