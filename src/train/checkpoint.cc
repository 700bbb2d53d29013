#include "train/checkpoint.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/safetensors.h"

namespace fovea::train {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "fovea-train-2";

// Names of the keys that change how often something is written, not what is computed.
bool IsBookkeeping(const std::string& key) {
  return key == "output" || key == "log_every" || key == "checkpoint_every" || key == "keep_best";
}

void CheckRecipe(const std::string& path, const std::string& stored, const std::string& asked) {
  const json before = base::ParseJson(stored, path), now = base::ParseJson(asked, "recipe");
  for (const json* side : {&before, &now}) {
    for (const auto& [key, value] : side->items()) {
      if (IsBookkeeping(key) || before.value(key, json()) == now.value(key, json())) continue;
      Fail(ErrorCode::kInvalidArgument, "[train] ", base::PrintableUtf8(path), " was made with \"", key,
           "\": ", before.value(key, json()).dump(), ", the recipe says ", now.value(key, json()).dump(),
           "; hint: resuming goes on with the same recipe; give another output to train differently");
    }
  }
}

void CopyInto(const formats::SafetensorsFile& file, const std::string& name, Tensor target) {
  RequireData(file.Has(name), "[train] the checkpoint has no ", name);
  const Tensor stored = file.Get(name);
  RequireData(stored.shape() == target.shape() && stored.dtype() == target.dtype(), "[train] the checkpoint has ", name,
              stored.shape(), ", expected ", target.shape());
  target.CopyFrom(stored);
}

}  // namespace

void SaveCheckpoint(const std::string& path, const std::string& recipe, const RunState& state, Trainable& trainable) {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, value] : trainable.State()) tensors.push_back({"value/" + name, value});
  for (const auto& [name, value] : state.averages) tensors.push_back({"average/" + name, value});
  json updates = json::array();
  for (const Slot& slot : trainable.slots()) {
    if (slot.moment1.defined()) tensors.push_back({"moment1/" + slot.name, slot.moment1});
    if (slot.moment2.defined()) tensors.push_back({"moment2/" + slot.name, slot.moment2});
    updates.push_back(slot.updates);
  }
  json best = json::array();
  for (const BestModel& model : state.best) best.push_back({{"score", model.score}, {"step", model.step}});
  json positions = json::array();
  for (const DataPosition& position : state.positions) {
    positions.push_back(position.epoch);
    positions.push_back(position.taken);
  }
  const json run = {{"step", state.step},
                    {"positions", positions},
                    {"updates", updates},
                    {"best", best},
                    {"window_loss", state.window_loss},
                    {"window_norm", state.window_norm},
                    {"window_steps", state.window_steps},
                    {"first_loss", state.first_loss},
                    {"seconds", state.seconds}};
  formats::WriteSafetensors(path, tensors, {{"format", kFormat}, {"recipe", recipe}, {"run", run.dump()}});
}

void LoadCheckpoint(const std::string& path, const std::string& recipe, RunState& state, Trainable& trainable) {
  const auto file = formats::SafetensorsFile::Open(path);
  const auto& metadata = file.metadata();
  RequireData(metadata.contains("format") && metadata.at("format") == kFormat && metadata.contains("recipe") &&
                  metadata.contains("run"),
              "[train] ", base::PrintableUtf8(path), " is no checkpoint of a training run");
  CheckRecipe(path, metadata.at("recipe"), recipe);
  const base::Config run = base::Config::Parse(metadata.at("run"), path);
  state.step = run.Require<int64_t>("step");
  state.positions.clear();
  const auto positions = run.Require<std::vector<int64_t>>("positions");  // epoch and taken of each process
  RequireData(!positions.empty() && positions.size() % 2 == 0, "[train] ", base::PrintableUtf8(path), " has ",
              positions.size(), " numbers as positions");
  for (size_t i = 0; i < positions.size(); i += 2)
    state.positions.push_back({.epoch = positions[i], .taken = positions[i + 1]});
  state.window_loss = run.Require<double>("window_loss");
  state.window_norm = run.Require<double>("window_norm");
  state.window_steps = run.Require<int64_t>("window_steps");
  state.first_loss = run.Require<double>("first_loss");
  state.seconds = run.Require<double>("seconds");
  state.best.clear();
  for (const auto& stored : run.json().at("best")) {
    const base::Config best = base::Config::Parse(stored.dump(), path);
    state.best.push_back({.score = best.Require<double>("score"), .step = best.Require<int64_t>("step")});
  }
  for (const auto& [name, value] : trainable.State()) CopyInto(file, "value/" + name, value);
  for (auto& [name, value] : state.averages) CopyInto(file, "average/" + name, value);
  const auto updates = run.Require<std::vector<int64_t>>("updates");
  RequireData(updates.size() == trainable.slots().size(), "[train] ", base::PrintableUtf8(path), " has ",
              updates.size(), " trained tensors, expected ", trainable.slots().size());
  for (size_t i = 0; i < updates.size(); ++i) {
    Slot& slot = trainable.slots()[i];
    slot.updates = updates[i];
    for (const auto& [prefix, moment] : {std::pair{"moment1/", &slot.moment1}, std::pair{"moment2/", &slot.moment2}}) {
      if (!file.Has(prefix + slot.name)) continue;
      *moment = Tensor::Empty(slot.value.shape());
      CopyInto(file, prefix + slot.name, *moment);
    }
  }
  trainable.Refresh();
}

}  // namespace fovea::train
