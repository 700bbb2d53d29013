#include "train/trainable.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "ops/arithmetic.h"
#include "ops/matmul.h"
#include "ops/shape.h"
#include "train/data/random.h"
#include "train/layer_decay.h"

namespace fovea::train {
namespace {

using Kind = nn::Parameter::Kind;

bool Contains(const std::string& path, const std::string& part) { return path.find(part) != std::string::npos; }

// Uniform in +-1/sqrt(I), as PyTorch's default for Linear, which the LoRA authors keep for A. [r,I]
Tensor InitialA(int64_t rank, int64_t inputs, const std::string& path, uint64_t seed) {
  Random random(MixSeeds(seed, std::stoull(base::ContentHasher().Add(path).Hex().substr(0, 16), nullptr, 16)));
  const double bound = 1.0 / std::sqrt(static_cast<double>(inputs));
  Tensor a = Tensor::Empty({rank, inputs});
  for (int64_t i = 0; i < a.numel(); ++i)
    a.mutable_data<float>()[i] = static_cast<float>(random.Uniform(-bound, bound));
  return a;
}

}  // namespace

Trainable::Trainable(models::Model& model, const Recipe& recipe, const std::vector<std::string>& head) : model_(model) {
  std::vector<int64_t> rule_matches(recipe.groups.size());
  std::vector<int64_t> target_matches(recipe.lora.targets.size());
  const std::map<std::string, double> layer_rates = LayerRates(model, recipe.layer_decay);
  nn::ForEachParameter(model, [&](const std::string& path, nn::Parameter& parameter) {
    if (parameter.kind() != Kind::kTrained) return;
    GroupRule rule;
    for (size_t i = 0; i < recipe.groups.size(); ++i) {
      if (!Contains(path, recipe.groups[i].match)) continue;
      ++rule_matches[i];
      rule = recipe.groups[i];
      break;
    }
    if (rule.is_frozen) return;
    rule.rate_scale *= layer_rates.at(path);
    const bool is_matrix = parameter.shape().rank() >= 2;
    const double decay = rule.weight_decay >= 0                 ? rule.weight_decay
                         : IsExemptFromDecay(parameter.shape()) ? 0.0
                                                                : recipe.optimizer.weight_decay;
    const bool is_head = std::ranges::find(head, path) != head.end();
    if (recipe.lora.rank == 0 || is_head) {
      whole_.push_back(&parameter);
      slots_.push_back(
          {.name = path, .value = parameter.value(), .rate_scale = rule.rate_scale, .weight_decay = decay});
      return;
    }
    if (!is_matrix) return;
    bool is_target = recipe.lora.targets.empty();
    for (size_t i = 0; i < recipe.lora.targets.size(); ++i) {
      if (!Contains(path, recipe.lora.targets[i])) continue;
      ++target_matches[i];
      is_target = true;
    }
    if (!is_target) return;
    const int64_t outputs = parameter.shape()[0], inputs = parameter.shape().numel() / std::max<int64_t>(1, outputs);
    adapters_.push_back({.parameter = &parameter,
                         .base = parameter.value(),
                         .slot_a = slots_.size(),
                         .slot_b = slots_.size() + 1,
                         .scale = static_cast<float>(recipe.lora.alpha / static_cast<double>(recipe.lora.rank))});
    slots_.push_back({.name = path + ".lora_A",
                      .value = InitialA(recipe.lora.rank, inputs, path, recipe.seed),
                      .rate_scale = rule.rate_scale,
                      .weight_decay = decay});
    slots_.push_back({.name = path + ".lora_B",
                      .value = Tensor::Zeros({outputs, recipe.lora.rank}),
                      .rate_scale = rule.rate_scale,
                      .weight_decay = decay});
  });
  for (size_t i = 0; i < recipe.groups.size(); ++i) {
    Require(rule_matches[i] > 0, "[recipe] no parameter of this model has \"", recipe.groups[i].match,
            "\" in its name (or an earlier group takes them all); hint: `fovea info` names the architecture");
  }
  for (size_t i = 0; i < recipe.lora.targets.size(); ++i) {
    Require(target_matches[i] > 0, "[recipe] no matrix or convolution that is not frozen has lora.targets \"",
            recipe.lora.targets[i], "\" in its name");
  }
  Require(!slots_.empty(), "[recipe] every parameter is frozen: there is nothing to train");
}

// W + scale B A
Tensor Trainable::Merged(const Adapter& adapter) const {
  const Tensor update = MatMul(slots_[adapter.slot_b].value, slots_[adapter.slot_a].value) * adapter.scale;  // [O,I]
  return adapter.base + Reshape(update, adapter.base.shape());
}

void Trainable::Bind(Tape& tape) {
  for (const Slot& slot : slots_) tape.Watch(slot.value);
  for (const Adapter& adapter : adapters_) adapter.parameter->Assign(Merged(adapter));
}

void Trainable::Collect(const Gradients& gradients) {
  for (Slot& slot : slots_) {
    const Tensor gradient = gradients[slot.value];
    if (!gradient.defined()) continue;
    if (!slot.gradient.defined()) {
      slot.gradient = gradient.Contiguous();
      continue;
    }
    if (!slot.gradient.is_sole_owner()) slot.gradient = slot.gradient.Clone();
    const Tensor dense = gradient.Contiguous();
    float* sum = slot.gradient.mutable_data<float>();
    const float* term = dense.data<float>();
    base::ParallelFor(dense.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sum[i] += term[i];
    });
  }
}

void Trainable::DropGradients() {
  for (Slot& slot : slots_) slot.gradient = {};
}

void Trainable::Refresh() {
  const Tape::Pause pause;
  for (nn::Parameter* parameter : whole_) parameter->MarkChanged();
  for (const Adapter& adapter : adapters_) adapter.parameter->Assign(Merged(adapter));
}

std::map<std::string, Tensor> Trainable::State() const {
  std::map<std::string, Tensor> state;
  nn::ForEachParameter(model_, [&](const std::string& path, nn::Parameter& p) { state.emplace(path, p.value()); });
  for (const Adapter& adapter : adapters_) {
    const std::string& name = slots_[adapter.slot_a].name;
    state.insert_or_assign(name.substr(0, name.size() - std::string(".lora_A").size()), adapter.base);
  }
  for (const Slot& slot : slots_) state.insert_or_assign(slot.name, slot.value);
  return state;
}

}  // namespace fovea::train
