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

#include "formats/safetensors.h"
#include "nn/entry.h"
#include "nn/stage.h"
#include "ops/loss.h"
#include "runtime/loaded_model.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using testing::ExpectClose;

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
  for (const float value : tensor.values<float>()) largest = std::max(largest, std::fabs(value));
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
      // Clones: training mode writes into the running statistics.
      if (info.name.starts_with("weights.")) weights_.push_back({info.name.substr(8), file_.Get(info.name).Clone()});
    }
  }

  std::unique_ptr<models::Model> Build() const {
    auto model = entry_.create(config_);
    runtime::AssignParameters(*model, entry_, weights_, GetParam(), {.keeps_compact_weights = false});
    return model;
  }

  // Compares with a stored tensor of the same number of elements: within `tolerance` of the largest magnitude.
  void ExpectStored(const Tensor& actual, const std::string& name, float tolerance = 1e-4f) const {
    const Tensor expected = file_.Get(name);
    ASSERT_EQ(actual.numel(), expected.numel()) << name;
    ExpectClose(actual.Contiguous().View(expected.shape()), expected,
                tolerance * std::max(1e-3f, LargestMagnitude(expected)), name);
  }

  // Loss and gradients under a tape, against the stored ones with this prefix.
  void ExpectGradients(models::Model& model, bool is_training, const std::string& prefix) const {
    const Tensor pixels = file_.Get("input.pixels").Clone();
    Tape tape(Tape::Options{.is_training = is_training});
    tape.Watch(pixels);
    nn::ForEachParameter(model, [&](const std::string&, nn::Parameter& parameter) {
      if (parameter.kind() == nn::Parameter::Kind::kTrained) tape.Watch(parameter.value());
    });
    const Tensor logits = model.EncodeImages(pixels).logits;
    const Tensor loss = CrossEntropy(logits, file_.Get("input.labels"));
    const Gradients gradients = tape.Backward(loss);
    if (is_training) ExpectStored(logits, prefix + "output.logits");
    ExpectStored(loss, prefix + "loss");
    // A gradient has passed the network twice, and sums over the batch and the picture cancel: more of the rounding is
    // left over.
    constexpr float kGradientTolerance = 5e-4f;
    ExpectStored(gradients[pixels], prefix + "grad.input.pixels", kGradientTolerance);
    int64_t compared = 0;
    nn::ForEachParameter(model, [&](const std::string& path, nn::Parameter& parameter) {
      if (parameter.kind() != nn::Parameter::Kind::kTrained) return;
      const Tensor gradient = gradients[parameter.value()];
      ASSERT_TRUE(gradient.defined()) << path << " got no gradient";
      ExpectStored(gradient, prefix + "grad." + path, kGradientTolerance);
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
  std::map<std::string, Tensor> stages;
  const nn::StageWatch watch([&](const std::string& name, const Tensor& value) { stages["stage." + name] = value; });
  const models::ImageOutputs outputs = model->EncodeImages(file_.Get("input.pixels"));
  for (const auto& info : file_.tensors()) {
    if (!info.name.starts_with("stage.")) continue;
    ASSERT_TRUE(stages.contains(info.name)) << "the model passes no " << info.name;
    ExpectStored(stages[info.name], info.name);
  }
  ExpectStored(outputs.features, "output.features");
  ExpectStored(outputs.logits, "output.logits");
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
  const Tensor pixels = file_.Get("input.pixels");
  const Tensor together = model->EncodeImages(pixels).logits;
  for (int64_t row = 0; row < pixels.dim(0); ++row) {
    const Tensor alone = model->EncodeImages(pixels.Sliced(0, row, row + 1).Contiguous()).logits;
    ExpectClose(alone, together.Sliced(0, row, row + 1), 1e-5f * LargestMagnitude(together), "row");
  }
}

TEST_P(Golden, CompactWeightsChangeLittle) {
  std::vector<NamedTensor> halves;
  for (const NamedTensor& weight : weights_) {
    halves.push_back({weight.name, weight.tensor.rank() >= 2 ? weight.tensor.To(DType::kF16) : weight.tensor});
  }
  const auto model = entry_.create(config_);
  runtime::AssignParameters(*model, entry_, halves, GetParam());
  const Tensor expected = file_.Get("output.logits");
  ExpectClose(model->EncodeImages(file_.Get("input.pixels")).logits, expected, 2e-2f * LargestMagnitude(expected),
              "f16 weights");
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
  const std::string last = weights_.back().name;
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
