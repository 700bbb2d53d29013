#include "train/processes.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/module.h"
#include "train/mpi_module.h"

namespace fovea::train {
namespace {

constexpr size_t kSmallGradient = 1 << 18, kTogether = 1 << 20;  // elements

// How many processes the launcher started, as Open MPI, MPICH and its relatives, and PMIx say; 0: no launcher.
int64_t LaunchedProcesses() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"}) {
    if (const char* value = std::getenv(name)) return std::max<int64_t>(1, std::atoll(value));
  }
  return std::getenv("PMIX_RANK") != nullptr ? 2 : 0;
}

}  // namespace

Processes::Processes() {
  const int64_t launched = LaunchedProcesses();
  if (launched == 0) return;
  const auto entry = reinterpret_cast<MpiModuleEntry>(base::FindModuleEntry(kMpiModuleFile, kMpiModuleEntry, "", true));
  if (entry == nullptr || entry()->version != kMpiModuleVersion) {
    if (launched == 1) return;
    Fail(ErrorCode::kUnimplemented, "[train] a launcher started ", launched, " processes, but ", kMpiModuleFile,
         " is not there: this build has no MPI; hint: install libopenmpi-dev (./dev deps) and build again");
  }
  module_ = entry();
  int32_t rank = 0, size = 1;
  char error[kMpiErrorBytes] = "";
  Check(module_->start(&rank, &size, error), error);
  rank_ = rank;
  size_ = size;
  sum_across_ = [this](std::span<double> values) { Sum(values); };
}

void Processes::Check(bool is_done, const char* error) const {
  if (!is_done) Fail(ErrorCode::kInternal, "[train] MPI: ", error);
}

void Processes::Sum(std::span<float> values) const {
  if (size_ == 1) return;
  char error[kMpiErrorBytes] = "";
  Check(module_->sum_f32(values.data(), static_cast<int64_t>(values.size()), error), error);
}

void Processes::Sum(std::span<double> values) const {
  if (size_ == 1) return;
  char error[kMpiErrorBytes] = "";
  Check(module_->sum_f64(values.data(), static_cast<int64_t>(values.size()), error), error);
}

void Processes::SumGradients(std::vector<Slot>& slots) const {
  if (size_ == 1) return;
  std::vector<double> is_there;
  for (const Slot& slot : slots) is_there.push_back(slot.gradient.defined() ? 1 : 0);
  Sum(is_there);
  // Each call waits for every process: small gradients travel together.
  std::vector<float> together;
  std::vector<std::span<float>> parts;
  const auto send = [&] {
    Sum(std::span<float>(together));
    const float* sum = together.data();
    for (const std::span<float> part : parts) {
      std::copy_n(sum, part.size(), part.data());
      sum += part.size();
    }
    together.clear();
    parts.clear();
  };
  for (size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = slots[i];
    if (is_there[i] == 0) continue;
    if (!slot.gradient.defined()) slot.gradient = Tensor::Zeros(slot.value.shape());
    if (!slot.gradient.is_sole_owner()) slot.gradient = slot.gradient.Clone();
    const std::span<float> values(slot.gradient.mutable_data<float>(), static_cast<size_t>(slot.gradient.numel()));
    if (values.size() >= kSmallGradient) {
      Sum(values);
      continue;
    }
    parts.push_back(values);
    together.insert(together.end(), values.begin(), values.end());
    if (together.size() >= kTogether) send();
  }
  send();
}

Tensor Processes::Gather(const Tensor& rows) const {
  if (size_ == 1 || !rows.defined()) return rows;
  const Tensor mine = rows.Contiguous();
  Tensor all = Tensor::Empty(mine.shape().With(0, size_ * mine.dim(0)));
  char error[kMpiErrorBytes] = "";
  Check(module_->gather_f32(mine.data<float>(), mine.numel(), all.mutable_data<float>(), error), error);
  return all;
}

void Processes::Barrier() const {
  if (size_ == 1) return;
  char error[kMpiErrorBytes] = "";
  Check(module_->barrier(error), error);
}

void Processes::Finish() const {
  if (module_ != nullptr) module_->finish();
}

}  // namespace fovea::train
