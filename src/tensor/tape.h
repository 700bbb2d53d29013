// The autograd tape: reverse-mode differentiation of whatever the operators of src/ops do while a Tape lives.
//
//   Tape tape;                                    // active on this thread until it goes out of scope
//   tape.Watch(weight);
//   Tensor loss = CrossEntropy(MatMul(x, weight), labels);
//   Gradients gradients = tape.Backward(loss);
//   gradients[weight];                            // dLoss/dWeight, same shape
//
// One forward serves inference and training: an operator computes its output and calls Record, which does nothing
// unless a tape is active and an input is watched or derived from a watched tensor. The vjp (vector-Jacobian product)
// stands beside the forward in the operator's file. Order of accumulation is the reverse order of recording, so
// gradients are deterministic. First derivatives only: vjps run with the tape off.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <unordered_map>
#include <vector>

#include "tensor/tensor.h"

namespace fovea {

// Gradient of the output for each input of one recorded operator, in the order of its inputs. An entry that nobody
// needs may be left undefined.
using InputGradients = std::vector<Tensor>;

// Which inputs of a recorded operator need a gradient; asked by vjps to skip work.
class Needs {
 public:
  explicit Needs(std::vector<bool> needed) : needed_(std::move(needed)) {}
  bool operator[](int input) const { return needed_[input]; }

 private:
  std::vector<bool> needed_;
};

// From the gradient of the operator's output (same shape as the output, contiguous) to those of its inputs (same shapes
// as the inputs).
using Vjp = std::function<InputGradients(const Tensor& dy, const Needs& needs)>;

// Gradients by tensor.
class Gradients {
 public:
  // The gradient of a watched tensor or recorded output; undefined when the loss does not depend on it.
  Tensor operator[](const Tensor& tensor) const;

 private:
  friend class Tape;
  std::unordered_map<uint64_t, Tensor> by_id_;
};

class Tape {
 public:
  struct Options {
    // Layers that behave differently while training (batch norm statistics, dropout) ask Tape::IsTraining().
    bool is_training = true;
    // Of everything random in the forward (dropout). The same seed gives the same masks, in the order of the calls.
    uint64_t seed = 0;
    // Recomputed() keeps nothing of its function and runs it again in the backward pass: less memory, a second forward.
    bool recomputes = false;
    // Adds up the given numbers over all processes of a run, in place; nullptr when there is one process. Batch norms
    // use it while training, so every process must run the same operators in the same order.
    const std::function<void(std::span<double>)>* sum_across = nullptr;
  };

  Tape() : Tape(Options{}) {}
  explicit Tape(Options options);
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // Asks for the gradient of `leaf`. Floating-point tensors only.
  void Watch(const Tensor& leaf);
  bool IsTracked(const Tensor& tensor) const {
    return tracked_.contains(tensor.id()) || (probed_ != nullptr && probed_->IsTracked(tensor));
  }

  // Gradients of the one-element `output` (or of sum(output * seed)). Frees what was recorded on the way: once per
  // tape. Gradients of intermediate tensors are dropped as soon as they are used, unless they were watched.
  Gradients Backward(const Tensor& output, const Tensor& seed = {});

  // The innermost active tape of this thread, nullptr when none is or when paused.
  static Tape* Active();
  static bool IsTraining();
  // A new number for each call, from the seed of the active tape. Only while a tape is active.
  static uint64_t NextRandomSeed();

  // function(x), where what is recorded inside is dropped and made again when the gradient comes by (gradient
  // checkpointing; Chen et al. 2016, arXiv 1604.06174), if the active tape asks for that. `function` is a block of a
  // network: copyable, the same result each time, and what it refers to must live until Backward. Random masks repeat,
  // statistics move once, gradients are those of the plain computation.
  template <typename Function>
  static Tensor Recomputed(const Tensor& x, Function&& function) {
    if (Active() == nullptr || !Active()->options_.recomputes) return function(x);
    return RecomputedBlock(x, std::forward<Function>(function));
  }
  // Calls of Recomputed that this tape will run again.
  int64_t recomputed_blocks() const { return recomputed_blocks_; }
  // True while a block runs for the second time: what a first pass leaves behind besides its result (moved statistics)
  // must be left alone.
  static bool IsRecomputing();
  // Options::sum_across of the active tape, nullptr without one.
  static const std::function<void(std::span<double>)>* SumAcross();

  // Nothing is recorded on this thread while in scope.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Tape* previous_;
  };

  // Used by Record below.
  bool AnyTracked(std::span<const Tensor* const> tensors) const;
  void Append(std::span<const Tensor* const> inputs, const Tensor& output, Vjp vjp);

 private:
  struct Node {
    std::vector<uint64_t> inputs;
    uint64_t output;
    Vjp vjp;
  };
  enum class Kind : uint8_t { kLeaf, kDerived };
  static Tensor RecomputedBlock(const Tensor& x, const std::function<Tensor(const Tensor&)>& function);

  Options options_;
  uint64_t random_calls_ = 0;
  Tape* outer_;
  std::vector<Node> nodes_;
  std::unordered_map<uint64_t, Kind> tracked_;
  // Of the first pass over a block: it keeps nothing, and notes which tensors of the outer tape the block needs.
  const Tape* probed_ = nullptr;
  std::vector<uint64_t> needed_;
  bool is_recomputing_ = false;
  int64_t recomputed_blocks_ = 0;
};

// Puts one operator on the active tape, if there is one and it concerns any of `inputs`; returns `output`. Undefined
// inputs (optional arguments) are allowed and never need a gradient.
template <typename VjpFunction>
Tensor Record(std::initializer_list<const Tensor*> inputs, Tensor output, VjpFunction&& vjp) {
  Tape* tape = Tape::Active();
  const std::span<const Tensor* const> span(inputs.begin(), inputs.size());
  if (tape != nullptr && tape->AnyTracked(span)) [[unlikely]]
    tape->Append(span, output, Vjp(std::forward<VjpFunction>(vjp)));
  return output;
}

}  // namespace fovea
