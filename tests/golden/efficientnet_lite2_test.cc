// The bundled EfficientNet-Lite2 against PyTorch on real pictures: logits on the same pixels, prepared pixels, best
// classes, accuracy. The reference file is written by tools/dump_lite2_reference.py.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "formats/safetensors.h"
#include "fovea/eval.h"
#include "fovea/model.h"
#include "media/preprocess.h"
#include "runtime/loaded_model.h"
#include "testing/testing.h"

namespace fovea {
namespace {

class Lite2 : public ::testing::Test {
 protected:
  Lite2()
      : reference_(formats::SafetensorsFile::Open(
            testing::SourcePath("tests/golden/models/efficientnet_lite2_reference.safetensors"))),
        model_(Model::Load(testing::SourcePath("models/efficientnet-lite2"))),
        pictures_(nlohmann::json::parse(reference_.metadata().at("pictures")).get<std::vector<std::string>>()) {}

  Tensor Row(const std::string& name, size_t row) const {
    return reference_.Get(name).Sliced(0, static_cast<int64_t>(row), static_cast<int64_t>(row) + 1).Contiguous();
  }

  formats::SafetensorsFile reference_;
  Model model_;
  std::vector<std::string> pictures_;
};

TEST_F(Lite2, LogitsOnTheSamePixelsAreWithinAThousandthOfPyTorch) {
  for (size_t i = 0; i < pictures_.size(); ++i) {
    const std::string stem = pictures_[i].substr(0, pictures_[i].find('.'));
    if (!reference_.Has("pixels." + stem)) continue;
    const Tensor bytes = reference_.Get("pixels." + stem);
    Tensor pixels = Tensor::Empty({1, 260, 260, 3});
    for (int64_t k = 0; k < bytes.numel(); ++k)
      pixels.mutable_data<float>()[k] = (static_cast<float>(bytes.data<uint8_t>()[k]) - 127.0f) / 128.0f;
    const models::ImageOutputs outputs = model_.impl().network().EncodeImages(pixels);
    testing::ExpectClose(outputs.logits, Row("f16.logits", i), 1e-3f, stem + " logits, weights as stored");
    testing::ExpectClose(outputs.features, Row("f16.features", i), 1e-3f, stem + " features, weights as stored");
    // What storing the weights as f16 costs.
    testing::ExpectClose(outputs.logits, Row("f32.logits", i), 0.05f, stem + " logits, weights before rounding to f16");
  }
}

TEST_F(Lite2, PreparedPixelsAreThoseOfPillow) {
  for (size_t i = 0; i < pictures_.size(); ++i) {
    const Image image = ReadImage(testing::SourcePath("samples/" + pictures_[i]));
    const Tensor pixels = model_.impl().Prepare(std::span(&image, 1));
    const Tensor centre = pixels.Sliced(1, 114, 146).Sliced(2, 114, 146).Contiguous();
    const Tensor expected = Row("pixels.centre", i);
    for (int64_t k = 0; k < expected.numel(); ++k) {
      ASSERT_NEAR(centre.data<float>()[k] * 128 + 127, expected.data<uint8_t>()[k], 1.001) << pictures_[i];
    }
  }
}

TEST_F(Lite2, BestClassesOfThePicturesAreThoseOfPyTorch) {
  for (size_t i = 0; i < pictures_.size(); ++i) {
    const Image image = ReadImage(testing::SourcePath("samples/" + pictures_[i]));
    const auto labels = model_.Classify(std::span(&image, 1), {.top_k = 1})[0];
    EXPECT_EQ(labels[0].index, Row("top5.index", i).data<int64_t>()[0]) << pictures_[i];
    EXPECT_NEAR(labels[0].score, Row("top5.score", i).data<float>()[0], 0.01) << pictures_[i];
  }
}

TEST_F(Lite2, AccuracyIsWithinHalfAPointOfPyTorch) {
  const std::string shard = testing::ShardPath("imagenet1k-sample200.tar");
  if (shard.empty()) GTEST_SKIP() << "imagenet1k-sample200.tar is not beside the source tree";
  const ClassifyMetrics metrics = EvaluateClassify(model_, {shard});
  EXPECT_EQ(metrics.n, 200);
  EXPECT_NEAR(metrics.top1, 0.870, 0.0051);
  EXPECT_NEAR(metrics.top5, 0.990, 0.0051);
}

}  // namespace
}  // namespace fovea
