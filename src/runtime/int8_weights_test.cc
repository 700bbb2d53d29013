// Int8 storage of weights: numbers computed by hand, what quantize writes, and files that are refused.
#include "runtime/int8_weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "formats/safetensors.h"
#include "fovea/model.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea::runtime {
namespace {

using fovea::testing::ExpectError;

Tensor I8(const Shape& shape, std::initializer_list<int> values) {
  Tensor tensor = Tensor::Empty(shape, DType::kI8);
  auto* to = reinterpret_cast<int8_t*>(tensor.mutable_raw());
  for (const int value : values) *to++ = static_cast<int8_t>(value);
  return tensor;
}

TEST(Int8Weights, RoundsToTheNearestOf255Steps) {
  // Row 0 spans 127 steps of 1, row 1 of 0.5; row 2 is zero. 0.4 and -63.2 are rounded, so clipping would cost more.
  const Tensor weight = Tensor::FromValues<float>({3, 4}, {127, 0.4f, -63.2f, 2, -63.5f, 1, 0, 0.5f, 0, 0, 0, 0});
  const Int8Rows rows = QuantizeRows(weight, "w");
  EXPECT_FLOAT_EQ(rows.scale.data<float>()[0], 1.0f);
  EXPECT_FLOAT_EQ(rows.scale.data<float>()[1], 0.5f);
  EXPECT_FLOAT_EQ(rows.scale.data<float>()[2], 0.0f);
  const int expected[] = {127, 0, -63, 2, -127, 2, 0, 1, 0, 0, 0, 0};
  for (int i = 0; i < 12; ++i) EXPECT_EQ(reinterpret_cast<const int8_t*>(rows.values.raw())[i], expected[i]) << i;
  // sqrt(0.4^2 + 0.2^2) / sqrt(127^2 + 0.4^2 + 63.2^2 + 2^2 + 63.5^2 + 1 + 0.25)
  EXPECT_NEAR(rows.error, 0.4472136 / 155.4404, 1e-6);
}

TEST(Int8Weights, ExpandsWithTheScaleOfEachRow) {
  std::vector<NamedTensor> tensors = {{"a.weight_scale", Tensor::FromValues<float>({2}, {0.5f, 2.0f})},
                                      {"a.bias", Tensor::FromValues<float>({2}, {1, 2})},
                                      {"a.weight", I8({2, 3}, {-127, 0, 4, 1, 2, 127})},
                                      {"logit_scale", Tensor::Scalar(3)}};
  ExpandInt8(tensors, "the test");
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "a.bias");
  EXPECT_EQ(tensors[1].name, "a.weight");
  EXPECT_EQ(tensors[2].name, "logit_scale");
  const float expected[] = {-63.5f, 0, 2, 2, 4, 254};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(tensors[1].tensor.data<float>()[i], expected[i]);
}

TEST(Int8Weights, RefusesWhatDoesNotFit) {
  const auto expand = [](std::vector<NamedTensor> tensors) { ExpandInt8(tensors, "some.file"); };
  ExpectError([&] { expand({{"w", I8({1, 2}, {1, 2})}}); }, "has no w_scale");
  ExpectError([&] { expand({{"w", I8({1, 2}, {1, 2})}, {"w_scale", Tensor::Full({2}, 1)}}); }, "some.file");
  ExpectError([&] { expand({{"w", I8({1, 2}, {1, 2})}, {"w_scale", I8({1}, {1})}}); }, "w_scale");
  ExpectError([&] { expand({{"w", I8({1, 2}, {1, 2})}, {"w_scale", Tensor::Full({1}, NAN)}}); }, "not finite");
  ExpectError([&] { QuantizeRows(Tensor::FromValues<float>({1, 2}, {1, INFINITY}), "w"); }, "not finite");
}

TEST(Int8Weights, AQuantizedFolderLoadsAndComputesNearlyTheSame) {
  fovea::testing::TemporaryFolder folder, quantized;
  const auto golden = formats::SafetensorsFile::Open(
      fovea::testing::SourcePath("tests/golden/models/fovea_dual_encoder_base.safetensors"));
  base::WriteTextFileAtomically(folder.File("config.json"), golden.metadata().at("config"));
  base::WriteTextFileAtomically(folder.File("preprocessor_config.json"),
                                R"({"do_resize": true, "size": {"height": 24, "width": 20}, "resample": 2, "do_rescale":
      true, "rescale_factor": 0.004, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})");
  std::vector<NamedTensor> weights;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.")) weights.push_back({info.name.substr(8), golden.Get(info.name)});
  }
  formats::WriteSafetensors(folder.File("model.safetensors"), weights);
  const Model model = Model::Load(folder.path());
  const std::vector<TensorError> errors = model.Quantize(quantized.path(), "int8");
  double worst = 0;
  for (const TensorError& error : errors) {
    const bool is_matrix = error.type == "int8";
    EXPECT_TRUE(is_matrix || (error.type == "f32" && error.error == 0)) << error.tensor;
    if (is_matrix) EXPECT_GT(error.error, 0) << error.tensor;
    worst = std::max(worst, error.error);
  }
  EXPECT_LT(worst, 0.01);
  const auto file = formats::SafetensorsFile::Open(quantized.File("model.safetensors"));
  EXPECT_EQ(file.Get("visual_projection.fc1.weight").dtype(), DType::kI8);
  EXPECT_EQ(file.Get("visual_projection.fc1.weight_scale").shape(), Shape({20}));
  EXPECT_EQ(file.Get("visual_projection.fc1.bias").dtype(), DType::kF32);
  Image image = Image::Allocate(30, 30);
  for (int64_t i = 0; i < image.size_bytes(); ++i) image.rgb.get()[i] = static_cast<uint8_t>(i * 7);
  const auto before = model.EmbedImages(std::span(&image, 1))[0];
  const auto after = Model::Load(quantized.path()).EmbedImages(std::span(&image, 1))[0];
  double cosine = 0;
  for (size_t i = 0; i < before.size(); ++i) cosine += static_cast<double>(before[i]) * after[i];
  EXPECT_GT(cosine, 0.999);
  EXPECT_LT(cosine, 0.9999999);
  ExpectError([&] { model.Quantize(quantized.path(), "int4"); }, "int4");
}

}  // namespace
}  // namespace fovea::runtime
