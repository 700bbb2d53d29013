#include "tensor/tape.h"

#include <algorithm>

#include "base/error.h"

namespace fovea {
namespace {

thread_local Tape* active_tape = nullptr;

template <typename T>
void AddElements(const T* from, T* into, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    into[i] = static_cast<T>(static_cast<float>(into[i]) + static_cast<float>(from[i]));
}

// Sum of two gradients of the same tensor. The first is written to only when nobody else can see it.
Tensor Accumulated(Tensor sum, const Tensor& term) {
  Require(sum.shape() == term.shape() && sum.dtype() == term.dtype(),
          "[tape] gradients of one tensor differ: ", sum.dtype(), sum.shape(), " and ", term.dtype(), term.shape());
  if (!sum.is_sole_owner() || !sum.is_contiguous()) sum = sum.Clone();
  const Tensor dense = term.Contiguous();
  switch (sum.dtype()) {
    case DType::kF32: AddElements(dense.data<float>(), sum.mutable_data<float>(), sum.numel()); break;
    case DType::kBF16: AddElements(dense.data<BF16>(), sum.mutable_data<BF16>(), sum.numel()); break;
    default: Fail(ErrorCode::kInternal, "[tape] gradient of type ", sum.dtype());
  }
  return sum;
}

}  // namespace

Tensor Gradients::operator[](const Tensor& tensor) const {
  const auto found = by_id_.find(tensor.id());
  return found == by_id_.end() ? Tensor() : found->second;
}

Tape::Tape(Options options) : options_(options), outer_(active_tape) { active_tape = this; }

Tape::~Tape() { active_tape = outer_; }

Tape* Tape::Active() { return active_tape; }

bool Tape::IsTraining() { return active_tape != nullptr && active_tape->options_.is_training; }

bool Tape::IsRecomputing() { return active_tape != nullptr && active_tape->is_recomputing_; }

const std::function<void(std::span<double>)>* Tape::SumAcross() {
  return active_tape == nullptr ? nullptr : active_tape->options_.sum_across;
}

uint64_t Tape::NextRandomSeed() {
  FOVEA_DCHECK(active_tape != nullptr);
  return active_tape->options_.seed * 0x9E3779B97F4A7C15u + ++active_tape->random_calls_;
}

Tape::Pause::Pause() : previous_(active_tape) { active_tape = nullptr; }

Tape::Pause::~Pause() { active_tape = previous_; }

void Tape::Watch(const Tensor& leaf) {
  Require(leaf.defined() && (leaf.dtype() == DType::kF32 || leaf.dtype() == DType::kBF16),
          "[tape] expected an f32 or bf16 tensor to watch, got ", leaf.dtype(), leaf.shape());
  tracked_.insert_or_assign(leaf.id(), Kind::kLeaf);
}

bool Tape::AnyTracked(std::span<const Tensor* const> tensors) const {
  for (const Tensor* tensor : tensors) {
    if (tensor->defined() && IsTracked(*tensor)) return true;
  }
  return false;
}

void Tape::Append(std::span<const Tensor* const> inputs, const Tensor& output, Vjp vjp) {
  if (probed_ != nullptr) {
    for (const Tensor* input : inputs) {
      if (!input->defined() || tracked_.contains(input->id()) || !probed_->IsTracked(*input)) continue;
      if (std::ranges::find(needed_, input->id()) == needed_.end()) needed_.push_back(input->id());
    }
    tracked_.emplace(output.id(), Kind::kDerived);
    return;
  }
  Node node{.inputs = {}, .output = output.id(), .vjp = std::move(vjp)};
  for (const Tensor* input : inputs) node.inputs.push_back(input->defined() ? input->id() : 0);
  tracked_.emplace(output.id(), Kind::kDerived);
  nodes_.push_back(std::move(node));
}

Tensor Tape::RecomputedBlock(const Tensor& x, const std::function<Tensor(const Tensor&)>& function) {
  Tape* outer = active_tape;
  if (outer->probed_ != nullptr) return function(x);  // inside another block
  const uint64_t random_calls = outer->random_calls_;
  std::vector<uint64_t> needed;
  Tensor y;
  {
    Tape probe(outer->options_);
    probe.random_calls_ = random_calls;
    probe.probed_ = outer;
    probe.is_recomputing_ = outer->is_recomputing_;
    y = function(x);
    outer->random_calls_ = probe.random_calls_;
    if (!probe.tracked_.contains(y.id())) return y;
    needed = std::move(probe.needed_);
  }
  ++outer->recomputed_blocks_;
  outer->tracked_.emplace(y.id(), Kind::kDerived);
  outer->nodes_.push_back(
      {.inputs = needed, .output = y.id(), .vjp = [=, options = outer->options_](const Tensor& dy, const Needs&) {
         Tape again(options);
         again.random_calls_ = random_calls;
         again.is_recomputing_ = true;
         for (const uint64_t id : needed) again.tracked_.emplace(id, Kind::kLeaf);
         const Gradients gradients = again.Backward(function(x), dy);
         InputGradients by_input;
         for (const uint64_t id : needed) {
           const auto found = gradients.by_id_.find(id);
           by_input.push_back(found == gradients.by_id_.end() ? Tensor() : found->second);
         }
         return by_input;
       }});
  return y;
}

Gradients Tape::Backward(const Tensor& output, const Tensor& seed) {
  const Pause pause;
  Require(IsTracked(output),
          "[tape] the output depends on no watched tensor; hint: Watch the parameters before the forward");
  Require(seed.defined() ? seed.shape() == output.shape() : output.numel() == 1,
          "[tape] expected a one-element output or a seed of its shape, got ", output.shape());
  Gradients gradients;
  gradients.by_id_.emplace(output.id(),
                           seed.defined() ? seed.Contiguous() : Tensor::Full(output.shape(), 1.0f, output.dtype()));
  while (!nodes_.empty()) {
    const Node node = std::move(nodes_.back());
    nodes_.pop_back();
    const auto found = gradients.by_id_.find(node.output);
    if (found == gradients.by_id_.end()) continue;
    const Tensor dy = found->second.Contiguous();
    if (tracked_.at(node.output) == Kind::kDerived) gradients.by_id_.erase(found);
    std::vector<bool> needed;
    for (const uint64_t input : node.inputs) needed.push_back(tracked_.contains(input));
    InputGradients input_gradients = node.vjp(dy, Needs(needed));
    FOVEA_DCHECK(input_gradients.size() == node.inputs.size());
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!needed[i] || !input_gradients[i].defined()) continue;
      auto [slot, is_first] = gradients.by_id_.try_emplace(node.inputs[i], input_gradients[i]);
      if (!is_first) slot->second = Accumulated(std::move(slot->second), input_gradients[i]);
    }
  }
  return gradients;
}

}  // namespace fovea
