// The processes that share one training run: one, or as many as mpirun started, on one machine or many.
//
// MPI lives in a module that is loaded when the environment shows that a launcher started this process; every other run
// knows nothing of it. All processes must call the same functions in the same order.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "tensor/tensor.h"
#include "train/optimizer.h"

namespace fovea::train {

struct MpiModule;

class Processes {
 public:
  // Throws kUnimplemented when several processes were started and this build has no MPI, kInternal when MPI fails.
  Processes();

  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }
  bool is_first() const { return rank_ == 0; }

  // Sums over all processes, in place. The same bits in every process.
  void Sum(std::span<float> values) const;
  void Sum(std::span<double> values) const;
  // The gradients of all slots; one that came in any process is there in every process afterwards.
  void SumGradients(std::vector<Slot>& slots) const;
  // [R,D] in each process -> [size R,D], in order of rank.
  Tensor Gather(const Tensor& rows) const;
  void Barrier() const;
  // The last call of a run that succeeded. A process that ends without it makes the launcher end the others.
  void Finish() const;

  // For Tape::Options; nullptr when there is one process.
  const std::function<void(std::span<double>)>* sum_across() const { return size_ > 1 ? &sum_across_ : nullptr; }

 private:
  void Check(bool is_done, const char* error) const;

  const MpiModule* module_ = nullptr;
  int64_t rank_ = 0, size_ = 1;
  std::function<void(std::span<double>)> sum_across_;
};

}  // namespace fovea::train
