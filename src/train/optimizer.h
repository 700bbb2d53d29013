// Optimisers: AdamW, SGD with momentum, Lion. They update tensors in place, in the order of operations of PyTorch
// (Lion: of its authors' code), so that a run can be compared with one of PyTorch step by step.
//
// An optimiser knows tensors, not modules: the trainer collects the trained parameters by Visit and hands over one Slot
// each, with its share of the learning rate and its weight decay. State (moments) lives in the slot under fixed names,
// so that checkpoints list it without knowing the optimiser.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace fovea::train {

struct OptimizerOptions {
  enum class Type : uint8_t { kAdamW, kSgd, kLion };
  Type type = Type::kAdamW;
  double learning_rate = 1e-3;
  double weight_decay = 0.01;         // AdamW, Lion: decoupled; SGD: added to the gradient
  double beta1 = 0.9, beta2 = 0.999;  // AdamW, Lion
  double eps = 1e-8;                  // AdamW
  double momentum = 0.0;              // SGD
  bool is_nesterov = false;           // SGD
};

// One trained tensor.
struct Slot {
  std::string name;         // path in the checkpoint
  Tensor value;             // f32, contiguous, writable
  double rate_scale = 1.0;  // on the learning rate
  double weight_decay = 0.0;
  Tensor gradient = {};  // f32 of the same shape; undefined: nothing came, the slot is left alone (as PyTorch)
  Tensor moment1 = {}, moment2 = {};  // made at the first step; SGD and Lion use the first only
  int64_t updates = 0;                // steps that this slot took part in
};

// Updates every slot that has a gradient; `learning_rate` is that of this step. Gradients stay as they are.
void OptimizerStep(const OptimizerOptions& options, double learning_rate, std::vector<Slot>& slots);

// The 2-norm of all gradients together, in double.
double GradientNorm(const std::vector<Slot>& slots);
// Scales all gradients by max_norm / (norm + 1e-6) when that is below 1 (torch.nn.utils.clip_grad_norm_); returns the
// norm before. The norm may be infinite or NaN: nothing is scaled then.
double ClipGradients(double max_norm, std::vector<Slot>& slots);

// average += (1 - decay) (value - average), in place; f32 of one shape.
void MoveAverage(const Tensor& value, double decay, Tensor& average);

// True for parameters that are not decayed: vectors and scalars (norms, biases, scales), as timm.
inline bool IsExemptFromDecay(const Shape& shape) { return shape.rank() <= 1; }

}  // namespace fovea::train
