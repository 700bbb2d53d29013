// Walking several tensors of one shape and different strides together, as few and as long inner runs as possible.
//
// Broadcasting in disguise: a broadcast axis has stride 0. Neighbouring axes that are walked the same way by every
// tensor become one, so [B,Y,X,C] times [B,1,1,C] turns into B x YX runs of length C, and equal shapes into a single
// run.
#pragma once

#include <array>
#include <cstdint>

#include "tensor/tensor.h"

namespace fovea::kernels {

template <int N>
struct StridedLoop {
  int rank = 0;                                                 // outer axes, innermost last
  std::array<int64_t, Shape::kMaxRank> sizes{};                 // of the outer axes
  std::array<std::array<int64_t, Shape::kMaxRank>, N> steps{};  // of each tensor along them, in elements
  int64_t inner = 1;                                            // length of a run
  std::array<int64_t, N> inner_steps{};                         // of each tensor within a run
  int64_t runs = 1;                                             // product of sizes

  explicit StridedLoop(const std::array<const Tensor*, N>& tensors) {
    const Shape& shape = tensors[0]->shape();
    // Merged axes, innermost first.
    std::array<int64_t, Shape::kMaxRank> merged{};
    std::array<std::array<int64_t, N>, Shape::kMaxRank> merged_steps{};
    int count = 0;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      if (shape[axis] == 1) continue;
      bool continues = count > 0;
      for (int t = 0; t < N && continues; ++t) {
        continues = tensors[t]->strides()[axis] == merged_steps[count - 1][t] * merged[count - 1];
      }
      if (continues) {
        merged[count - 1] *= shape[axis];
        continue;
      }
      for (int t = 0; t < N; ++t) merged_steps[count][t] = tensors[t]->strides()[axis];
      merged[count++] = shape[axis];
    }
    if (count > 0) {
      inner = merged[0];
      inner_steps = merged_steps[0];
    } else {
      inner_steps.fill(1);
    }
    rank = count > 0 ? count - 1 : 0;
    for (int axis = 0; axis < rank; ++axis) {
      sizes[axis] = merged[rank - axis];
      for (int t = 0; t < N; ++t) steps[t][axis] = merged_steps[rank - axis][t];
      runs *= sizes[axis];
    }
  }

  // body(offsets, run) for runs begin <= run < end; `offsets` are those of the run's first elements.
  template <typename Body>
  void ForEachRun(int64_t begin, int64_t end, const Body& body) const {
    std::array<int64_t, Shape::kMaxRank> index{};
    std::array<int64_t, N> offsets{};
    int64_t rest = begin;
    for (int axis = rank - 1; axis >= 0; --axis) {
      index[axis] = rest % sizes[axis];
      rest /= sizes[axis];
      for (int t = 0; t < N; ++t) offsets[t] += index[axis] * steps[t][axis];
    }
    for (int64_t run = begin; run < end; ++run) {
      body(offsets, run);
      for (int axis = rank - 1; axis >= 0; --axis) {
        for (int t = 0; t < N; ++t) offsets[t] += steps[t][axis];
        if (++index[axis] < sizes[axis]) break;
        for (int t = 0; t < N; ++t) offsets[t] -= sizes[axis] * steps[t][axis];
        index[axis] = 0;
      }
    }
  }
};

}  // namespace fovea::kernels
