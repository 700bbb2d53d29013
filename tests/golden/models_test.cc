// Parity of every architecture with its reference implementation, from the files that tools/dump_golden.py wrote:
// stages, outputs, loss, gradients, training mode; and what must hold of any model: rows of a batch do not see each
// other, loading is strict, malformed configurations are refused.
//
// A new model needs no new test: its golden files are found by name.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "eval/golden.h"
#include "formats/safetensors.h"
#include "nn/entry.h"
#include "nn/stage.h"
#include "ops/arithmetic.h"
#include "ops/loss.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "runtime/loaded_model.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using eval::TensorsByName;
using testing::ExpectClose;

// The inputs that a gradient is stored for.
constexpr const char* kDifferentiated[] = {"pixels", "patches", "regions", "memory"};

std::vector<std::string> GoldenFiles() {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(testing::SourcePath("tests/golden/models"))) {
    const std::string name = file.path().stem().string();
    if (file.path().extension() == ".safetensors" && name.find("reference") == std::string::npos) files.push_back(name);
  }
  std::sort(files.begin(), files.end());
  return files;
}

float LargestMagnitude(const Tensor& tensor) {
  float largest = 0;
  const Tensor dense = tensor.Contiguous();
  for (const float value : dense.values<float>()) largest = std::max(largest, std::fabs(value));
  return largest;
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  Golden()
      : file_(
            formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + GetParam() + ".safetensors"))),
        config_(base::Config::Parse(file_.metadata().at("config"), GetParam())),
        entry_(runtime::FindEntry(config_)) {
    for (const auto& info : file_.tensors()) {
      if (info.name.starts_with("weights.")) weights_.push_back({info.name.substr(8), file_.Get(info.name)});
    }
    if (entry_.adapt != nullptr) entry_.adapt(weights_, config_);
  }

  std::unique_ptr<models::Model> Build() const { return eval::BuildGolden(file_); }

  // Compares with a stored tensor of the same number of elements: within `tolerance` of the largest magnitude, which is
  // taken to be at least `floor`.
  void ExpectStored(const Tensor& actual, const std::string& name, float tolerance = 1e-4f, float floor = 1e-3f) const {
    const Tensor expected = file_.Get(name);
    ASSERT_EQ(actual.numel(), expected.numel()) << name;
    ExpectClose(actual.To(DType::kF32).Contiguous().View(expected.shape()), expected,
                tolerance * std::max(floor, LargestMagnitude(expected)), name);
  }

  static Tensor LossTerm(const std::string& kind, const Tensor& output, const Tensor& target) {
    if (kind == "cross_entropy")
      return CrossEntropy(Reshape(output, {-1, output.dim(-1)}), target.View({target.numel()}));
    if (kind == "contrastive") return ContrastiveLoss(output);
    if (kind == "sigmoid") return SigmoidContrastiveLoss(output);
    if (kind == "smooth_l1") return SmoothL1Loss(output, target);
    if (kind == "projection") return Sum(Reshape(output, {-1}) * target.View({target.numel()}));
    ADD_FAILURE() << "no such loss: " << kind;
    return {};
  }

  // The loss that the file names: the sum of its terms.
  Tensor Loss(const TensorsByName& outputs, const TensorsByName& inputs) const {
    const auto stored = file_.metadata().find("loss");
    const std::string terms = stored != file_.metadata().end()
                                  ? stored->second
                                  : R"([{"kind": "cross_entropy", "output": "logits", "target": "labels"}])";
    Tensor loss;
    for (const auto& term : base::ParseJson(terms, GetParam())) {
      const std::string target_name = term.value("target", ""), rows_name = term.value("rows", "");
      Tensor output = outputs.at(term["output"].get<std::string>());
      Tensor target = target_name.empty() ? Tensor() : inputs.at(target_name);
      if (!rows_name.empty()) {
        const Tensor rows = Unsqueeze(inputs.at(rows_name), -1);
        output = output * rows;
        target = target * rows;
      }
      const Tensor part = LossTerm(term["kind"].get<std::string>(), output, target) * term.value("scale", 1.0f);
      loss = loss.defined() ? loss + part : part;
    }
    return loss;
  }

  // Loss and gradients under a tape, against the stored ones with this prefix.
  void ExpectGradients(models::Model& model, bool is_training, const std::string& prefix) const {
    const TensorsByName inputs = eval::GoldenInputs(file_);
    Tape tape(Tape::Options{.is_training = is_training});
    for (const char* name : kDifferentiated) {
      if (inputs.contains(name)) tape.Watch(inputs.at(name));
    }
    nn::ForEachParameter(model, [&](const std::string&, nn::Parameter& parameter) {
      if (parameter.kind() == nn::Parameter::Kind::kTrained) tape.Watch(parameter.value());
    });
    const TensorsByName outputs = eval::RunCapabilities(model, inputs);
    const Tensor loss = Loss(outputs, inputs);
    const Gradients gradients = tape.Backward(loss);
    if (is_training) ExpectStored(outputs.at("logits"), prefix + "output.logits");
    ExpectStored(loss, prefix + "loss");
    // A gradient has passed the network twice, and sums over the batch and the picture cancel: more of the rounding is
    // left over.
    constexpr float kGradientTolerance = 5e-4f;
    // Some are zero by construction (a bias of attention's keys moves all scores alike): what is left is rounding.
    constexpr float kGradientFloor = 1e-2f;
    for (const char* name : kDifferentiated) {
      if (inputs.contains(name))
        ExpectStored(gradients[inputs.at(name)], prefix + "grad.input." + name, kGradientTolerance, kGradientFloor);
    }
    int64_t compared = 0;
    nn::ForEachParameter(model, [&](const std::string& path, nn::Parameter& parameter) {
      if (parameter.kind() != nn::Parameter::Kind::kTrained) return;
      const Tensor gradient = gradients[parameter.value()];
      ASSERT_TRUE(gradient.defined()) << path << " got no gradient";
      ExpectStored(gradient, prefix + "grad." + path, kGradientTolerance, kGradientFloor);
      ++compared;
    });
    EXPECT_GT(compared, 0);
  }

  formats::SafetensorsFile file_;
  base::Config config_;
  const models::Entry& entry_;
  std::vector<NamedTensor> weights_;
};

TEST_P(Golden, StagesAndOutputsEqualTheReference) {
  const auto model = Build();
  TensorsByName found;
  const nn::StageWatch watch([&](const std::string& name, const Tensor& value) { found["stage." + name] = value; });
  for (const auto& [name, value] : eval::RunCapabilities(*model, eval::GoldenInputs(file_)))
    found["output." + name] = value;
  int64_t outputs = 0;
  for (const auto& info : file_.tensors()) {
    if (!info.name.starts_with("stage.") && !info.name.starts_with("output.")) continue;
    ASSERT_TRUE(found.contains(info.name)) << "the model gives no " << info.name;
    ExpectStored(found[info.name], info.name);
    outputs += info.name.starts_with("output.");
  }
  EXPECT_GT(outputs, 0);
}

TEST_P(Golden, LossAndGradientsEqualTheReference) { ExpectGradients(*Build(), /*is_training=*/false, ""); }

TEST_P(Golden, TrainingModeEqualsTheReference) {
  if (!file_.Has("train.loss")) GTEST_SKIP() << "no training mode in this file";
  const auto model = Build();
  ExpectGradients(*model, /*is_training=*/true, "train.");
  nn::ForEachParameter(*model, [&](const std::string& path, nn::Parameter& parameter) {
    if (!file_.Has("train.after." + path)) return;
    if (parameter.kind() == nn::Parameter::Kind::kCounter) {
      EXPECT_EQ(parameter.value().data<int64_t>()[0], file_.Get("train.after." + path).data<int64_t>()[0]) << path;
    } else {
      ExpectStored(parameter.value(), "train.after." + path);
    }
  });
}

TEST_P(Golden, RowsOfABatchDoNotSeeEachOther) {
  const auto model = Build();
  const TensorsByName inputs = eval::GoldenInputs(file_);
  const TensorsByName together = eval::RunCapabilities(*model, inputs);
  const bool has_tiles = inputs.contains("tile_shapes");  // one picture for each text
  const bool is_shown = inputs.contains("pixels") && !has_tiles;
  const bool is_told = is_shown && model->CanDecode() && inputs.contains("ids");
  const int64_t each = is_told ? inputs.at("pixels").dim(0) / inputs.at("ids").dim(0) : 1;  // pictures of a text
  const int64_t batch = is_shown                     ? inputs.at("pixels").dim(0) / each
                        : inputs.contains("patches") ? inputs.at("patches").dim(0)
                                                     : inputs.at("ids").dim(0);
  int64_t tile = 0;
  for (int64_t row = 0; row < batch; ++row) {
    TensorsByName one;
    for (const auto& [name, value] : inputs) {
      if (value.rank() > 0 && value.dim(0) == batch) one[name] = value.Sliced(0, row, row + 1).Contiguous();
    }
    if (each > 1) one["pixels"] = inputs.at("pixels").Sliced(0, row * each, (row + 1) * each).Contiguous();
    if (has_tiles) {
      const int64_t count = one.at("tile_shapes").data<int64_t>()[0];
      one["pixels"] = inputs.at("pixels").Sliced(0, tile, tile + count).Contiguous();
      tile += count;
    }
    for (const auto& [name, alone] : eval::RunCapabilities(*model, one)) {
      if (name == "logits_per_image") continue;  // pairs, compared in the features they are made of
      if (name == "pictures" && alone.dim(0) != together.at(name).dim(0) / batch) continue;  // they follow each other
      const int64_t count = name == "pictures" ? each : 1;
      ExpectClose(alone, together.at(name).Sliced(0, row * count, (row + 1) * count),
                  1e-5f * LargestMagnitude(together.at(name)), name);
    }
  }
}

// |actual - expected| / |expected| over all numbers.
double RelativeDistance(const Tensor& actual, const Tensor& expected) {
  const Tensor a = actual.To(DType::kF32).Contiguous(), b = expected.To(DType::kF32).Contiguous();
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.values<float>()[i], y = b.values<float>()[i];
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return std::sqrt(difference / std::max(norm, 1e-12));
}

// A checkpoint stored in f16 or bf16, and one in f32 that is loaded with precision bf16. f16 keeps 11 bits of a number,
// bf16 keeps 8: a network that moves by e with matrices in f16 moves by about 8 e with matrices in bf16, and by about
// sqrt(2) times that when the inputs of linear layers are rounded too. How large e is belongs to the network (tiny ones
// with weights from a seed magnify errors), so that e is bounded loosely and the others by what they are of e.
TEST_P(Golden, CompactWeightsChangeLittle) {
  const auto moved = [&](DType type, DType precision) {  // root mean square over the outputs
    std::vector<NamedTensor> stored;
    for (const NamedTensor& weight : weights_)
      stored.push_back({weight.name, weight.tensor.rank() >= 2 ? weight.tensor.To(type) : weight.tensor});
    const auto model = entry_.create(config_);
    runtime::AssignParameters(*model, entry_, stored, GetParam(), {.precision = precision});
    double sum = 0;
    int outputs = 0;
    for (const auto& [name, actual] : eval::RunCapabilities(*model, eval::GoldenInputs(file_))) {
      if (!file_.Has("output." + name)) continue;
      sum += std::pow(RelativeDistance(actual, file_.Get("output." + name)), 2);
      ++outputs;
    }
    EXPECT_GT(outputs, 0);
    return std::sqrt(sum / outputs);
  };
  const double half = moved(DType::kF16, DType::kF32);
  EXPECT_LT(half, 0.02);
  EXPECT_LT(moved(DType::kBF16, DType::kF32), 3 * 8 * half);
  EXPECT_LT(moved(DType::kF32, DType::kBF16), 3 * 8 * std::sqrt(2) * half);
}

TEST_P(Golden, LoadingIsStrict) {
  const auto message_of = [&](const std::vector<NamedTensor>& weights) -> std::string {
    const auto model = entry_.create(config_);
    try {
      runtime::AssignParameters(*model, entry_, weights, "the file");
    } catch (const Error& error) {
      return error.message();
    }
    return "";
  };
  EXPECT_EQ(message_of(weights_), "");
  const std::string last = models::Renamed(weights_.back().name, entry_.renames);
  auto changed = weights_;
  changed.pop_back();
  EXPECT_NE(message_of(changed).find("missing"), std::string::npos);
  EXPECT_NE(message_of(changed).find(last), std::string::npos);
  changed = weights_;
  changed.push_back({"no.such.part", Tensor::Zeros({2})});
  EXPECT_NE(message_of(changed).find("no.such.part"), std::string::npos);
  changed = weights_;
  changed.back().tensor = Tensor::Zeros({1, 2, 3});
  EXPECT_NE(message_of(changed).find("[1,2,3]"), std::string::npos);
}

TEST_P(Golden, EveryConfigurationKeyOfTheWrongTypeIsRefusedOrUnused) {
  for (const std::string& key : config_.Keys()) {
    for (const std::string value : {"\"nonsense\"", "-7", "[0,-1]", "1e300", "{}", "[]", "99999999999"}) {
      const base::Config changed =
          base::Config::Parse("{\"" + key + "\": " + value + "}", "changed").MergedOver(config_);
      try {
        const auto model = entry_.create(changed);
        runtime::AssignParameters(*model, entry_, weights_, "the file");
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::kInternal) << key << " = " << value << ": " << error.message();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, ::testing::ValuesIn(GoldenFiles()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace fovea
