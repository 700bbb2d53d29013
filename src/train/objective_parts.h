// What the objectives share. Not for others.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/hash.h"
#include "ops/arithmetic.h"
#include "runtime/loaded_model.h"
#include "train/data/random.h"
#include "train/objective.h"

namespace fovea::train {

inline constexpr int64_t kValidationBatch = 32;

// Seed of one process's random numbers; that of the only process is `seed` itself.
inline uint64_t OwnSeed(uint64_t seed, const Processes& processes) {
  return processes.is_first() ? seed : MixSeeds(seed, 0x50000 + static_cast<uint64_t>(processes.rank()));
}

// Runs `loss(begin, end)` on a tape for each part of the batch, weighted by its share.
template <typename Loss>
double AccumulateParts(const Recipe& recipe, const Processes& processes, int64_t rows, Trainable& trainable,
                       uint64_t seed, Loss&& loss) {
  const int64_t part = recipe.micro_batch_size > 0 ? std::min(recipe.micro_batch_size, rows) : rows;
  const auto all_rows = static_cast<float>(rows * processes.size());
  double sum = 0;
  for (int64_t begin = 0; begin < rows; begin += part) {
    const int64_t end = std::min(rows, begin + part);
    Tape tape({.is_training = !recipe.has_frozen_statistics,
               .seed = MixSeeds(OwnSeed(seed, processes), static_cast<uint64_t>(begin)),
               .recomputes = recipe.recomputes,
               .sum_across = processes.sum_across()});
    trainable.Bind(tape);
    const Tensor weighted = loss(begin, end) * (static_cast<float>(end - begin) / all_rows);
    if (recipe.recomputes && tape.recomputed_blocks() == 0) {
      Fail(ErrorCode::kUnimplemented, "[train] gradient_checkpointing: no block of ", recipe.model,
           " that is trained can be computed a second time; hint: micro_batch_size bounds the memory of a step");
    }
    sum += weighted.item();
    trainable.Collect(tape.Backward(weighted));
  }
  return sum;
}

// A hash of the values of a network (of its configuration and preparation, too) as they are now.
inline std::string ModelFingerprint(const models::Model& model, const std::string& more) {
  base::ContentHasher hasher;
  hasher.Add(more);
  nn::ForEachParameter(const_cast<models::Model&>(model), [&](const std::string& path, nn::Parameter& parameter) {
    if (!parameter.has_value() || parameter.kind() == nn::Parameter::Kind::kCounter) return;
    const Tensor value = parameter.value().Contiguous();
    hasher.Add(path).Add(std::span<const uint8_t>(value.raw(), static_cast<size_t>(value.size_bytes())));
  });
  return hasher.Hex();
}

// A model that only gives embeddings to learn from.
struct Teacher {
  // Throws kInvalidArgument unless it prepares pictures as `network` does.
  Teacher(const Recipe& recipe, const Network& network);
  std::string Fingerprint() const;

  std::shared_ptr<const runtime::LoadedModel> model;
};

std::unique_ptr<Objective> MakePairs(const Recipe& recipe, const Network& network, const Processes& processes);
std::unique_ptr<Objective> MakeDistillation(const Recipe& recipe, const Network& network, const Processes& processes);

}  // namespace fovea::train
