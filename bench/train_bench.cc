#include "train_bench.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <vector>

#include "formats/safetensors.h"
#include "ops/loss.h"
#include "train/contrastive.h"
#include "train/network.h"
#include "train/trainable.h"

namespace fovea {
namespace {

using Clock = std::chrono::steady_clock;

// VmHWM of /proc/self/status.
double PeakMegabytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024.0;
  }
  return 0;
}

}  // namespace

nlohmann::json TrainBench(const TrainBenchOptions& options) {
  const auto inputs = formats::SafetensorsFile::Open(options.inputs);
  const Tensor pixels = inputs.Get("pixels").Clone();
  const bool is_contrastive = inputs.Has("ids");
  train::Recipe recipe{.model = options.model};
  recipe.optimizer = {.learning_rate = 1e-5, .weight_decay = 0.01};
  train::Network network = train::BuildNetwork(recipe, {});
  train::Trainable trainable(*network.model, recipe, {});
  trainable.Refresh();
  const auto step = [&] {
    trainable.DropGradients();
    double loss = 0;
    if (is_contrastive) {
      loss = train::ContrastiveStep(
          *network.model, {.pixels = pixels, .texts = {.ids = inputs.Get("ids")}}, trainable,
          {.part = options.part, .recomputes = options.recomputes, .computes_bf16 = options.computes_bf16});
    } else {
      Tape tape({.recomputes = options.recomputes, .computes_bf16 = options.computes_bf16});
      trainable.Bind(tape);
      const Tensor value = CrossEntropy(network.model->EncodeImages(pixels).logits, inputs.Get("labels"));
      loss = value.item();
      trainable.Collect(tape.Backward(value));
    }
    OptimizerStep(recipe.optimizer, recipe.optimizer.learning_rate, trainable.slots());
    trainable.Refresh();
    return loss;
  };
  std::vector<double> losses = {step()}, seconds;
  for (int64_t i = 0; i < options.steps; ++i) {
    const auto before = Clock::now();
    losses.push_back(step());
    seconds.push_back(std::chrono::duration<double>(Clock::now() - before).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return {{"samples_per_s", static_cast<double>(pixels.dim(0)) / seconds[seconds.size() / 2]},
          {"loss", losses},
          {"peak_mb", PeakMegabytes()}};
}

}  // namespace fovea
