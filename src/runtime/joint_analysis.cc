// Texts beside regions of pictures, padded into one batch for the models that read both (Model::AnalyzeJointly).
#include <algorithm>

#include "base/strings.h"
#include "ops/norm.h"
#include "runtime/loaded_model.h"

namespace fovea {
namespace {

void Check(std::span<const Regions> regions) {
  const int64_t count = regions[0].count;
  Require(count >= 1 && !regions[0].features.empty(), "[joint] expected regions with features");
  const auto width = static_cast<int64_t>(regions[0].features.size()) / count;
  for (const Regions& r : regions) {
    Require(r.count >= 1 && static_cast<int64_t>(r.features.size()) == r.count * width, "[joint] expected regions of ",
            width, " features each, got ", r.features.size(), " numbers for ", r.count, " regions");
    Require(static_cast<int64_t>(r.boxes.size()) == (regions[0].boxes.empty() ? 0 : r.count * 4),
            "[joint] expected 4 numbers for the box of each region, in all pictures or in none, got ", r.boxes.size(),
            " for ", r.count, " regions");
  }
}

// Regions as the network takes them, filled up to the most that a picture has.
void AddRegions(std::span<const Regions> regions, models::JointInputs& inputs) {
  const auto B = static_cast<int64_t>(regions.size());
  const auto F = static_cast<int64_t>(regions[0].features.size()) / regions[0].count;
  int64_t R = 0;
  for (const Regions& r : regions) R = std::max(R, r.count);
  inputs.regions = Tensor::Zeros({B, R, F});
  inputs.region_mask = Tensor::Zeros({B, R}, DType::kBool);
  if (!regions[0].boxes.empty()) inputs.boxes = Tensor::Zeros({B, R, 4});
  for (int64_t b = 0; b < B; ++b) {
    const Regions& r = regions[static_cast<size_t>(b)];
    std::ranges::copy(r.features, inputs.regions.mutable_data<float>() + b * R * F);
    std::fill_n(inputs.region_mask.mutable_data<bool>() + b * R, r.count, true);
    if (inputs.boxes.defined()) std::ranges::copy(r.boxes, inputs.boxes.mutable_data<float>() + b * R * 4);
  }
}

// Row `b` of a tensor whose first dimension are the rows of the batch.
std::vector<float> Row(const Tensor& tensor, int64_t b) {
  const Tensor row = tensor.Sliced(0, b, b + 1).To(DType::kF32).Contiguous();
  return {row.values<float>().begin(), row.values<float>().end()};
}

}  // namespace

std::vector<JointAnalysis> Model::AnalyzeJointly(std::span<const std::string> texts,
                                                 std::span<const Regions> regions) const {
  const models::Model& network = impl_->network();
  if (!network.CanEncodeJointly()) {
    Fail(ErrorCode::kUnimplemented, "[joint] the model ", base::PrintableUtf8(info().name),
         " does not read texts beside regions of pictures");
  }
  Require(texts.size() == regions.size(), "[joint] expected as many texts as pictures, got ", texts.size(), " and ",
          regions.size());
  if (texts.empty()) return {};
  Check(regions);
  models::JointInputs inputs{.text = impl_->texts().Prepare(network, texts)};
  AddRegions(regions, inputs);
  const models::JointOutputs outputs = network.EncodeJointly(inputs);
  const Tensor unit = L2Normalize(outputs.features);  // [B,D]
  std::vector<JointAnalysis> analyses(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto b = static_cast<int64_t>(i);
    analyses[i].embedding = Row(unit, b);
    for (const NamedTensor& head : outputs.heads) analyses[i].heads[head.name] = Row(head.tensor, b);
  }
  return analyses;
}

}  // namespace fovea
