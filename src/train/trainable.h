// What of a network is trained, and how it is bound to the tape: whole parameters, or low-rank updates beside frozen
// ones (LoRA).
//
// LoRA here is a way to make the weight, not another layer: before each step the parameter is given W + alpha/rank B A
// as a value that is derived on the tape, so the gradient flows on to A and B whatever the layer does with its weight
// (Linear, Conv2d, Embedding). The layers know nothing of it, and what is saved is merged already.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nn/entry.h"
#include "tensor/tape.h"
#include "train/optimizer.h"
#include "train/recipe.h"

namespace fovea::train {

class Trainable {
 public:
  // `head`: parameters that LoRA leaves alone and trains whole. Throws kInvalidArgument when a rule or a target matches
  // nothing, or when nothing is left to train.
  Trainable(models::Model& model, const Recipe& recipe, const std::vector<std::string>& head);

  std::vector<Slot>& slots() { return slots_; }

  // Watches the trained tensors on the active tape and gives LoRA's parameters their derived values. Once per tape.
  void Bind(Tape& tape);
  // Adds the gradients to those in the slots.
  void Collect(const Gradients& gradients);
  void DropGradients();
  // After the trained tensors changed: tells the layers, and gives LoRA's parameters their merged values.
  void Refresh();

  // Everything that a checkpoint holds of the network: parameters (for LoRA those before the update), statistics, and
  // LoRA's own tensors. Shared memory: writing into these changes the network.
  std::map<std::string, Tensor> State() const;

 private:
  struct Adapter {
    nn::Parameter* parameter;
    Tensor base;  // W
    size_t slot_a, slot_b;
    float scale;
  };
  Tensor Merged(const Adapter& adapter) const;

  models::Model& model_;
  std::vector<Slot> slots_;
  std::vector<nn::Parameter*> whole_;
  std::vector<Adapter> adapters_;
};

}  // namespace fovea::train
