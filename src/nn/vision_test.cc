#include "nn/vision.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "tensor/tape.h"
#include "testing/testing.h"

namespace fovea::nn {
namespace {

constexpr Architectures kNames = {"ViTModel", "ViTForImageClassification"};

int64_t Count(const std::string& json) { return ClassCount(base::Config::Parse(json, "config.json"), "vit", kNames); }

std::string ErrorOf(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

TEST(ClassCount, FollowsTheArchitectureAndTheNamesOfTheClasses) {
  EXPECT_EQ(Count(R"({"architectures": ["ViTModel"], "id2label": {"0": "a", "1": "b"}})"), 0);
  EXPECT_EQ(Count(R"({"architectures": ["ViTForImageClassification"]})"), 2);  // as transformers
  EXPECT_EQ(Count(R"({"architectures": ["ViTForImageClassification"], "num_labels": 7})"), 7);
  EXPECT_EQ(Count(R"({"architectures": ["ViTForImageClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}})"),
            3);
  EXPECT_EQ(Count("{}"), 0);
  EXPECT_EQ(Count(R"({"id2label": {"0": "a", "1": "b", "2": "c"}})"), 3);
  const std::string error = ErrorOf([] { Count(R"({"architectures": ["ViTForMaskedImageModeling"]})"); });
  EXPECT_NE(error.find("ViTForMaskedImageModeling"), std::string::npos) << error;
  EXPECT_NE(ErrorOf([] { Count(R"({"architectures": ["ViTForImageClassification"], "num_labels": 0})"); }), "");
  EXPECT_NE(ErrorOf([] { Count(R"({"architectures": ["ViTForImageClassification"], "id2label": {}})"); }), "");
}

TEST(ReadSides, OneNumberOrTwo) {
  const auto sides = [](const std::string& json) {
    return ReadSides(base::Config::Parse(json, "config.json"), "image_size", 224, 1000);
  };
  EXPECT_EQ(sides("{}"), (std::array<int64_t, 2>{224, 224}));
  EXPECT_EQ(sides(R"({"image_size": 96})"), (std::array<int64_t, 2>{96, 96}));
  EXPECT_EQ(sides(R"({"image_size": [28, 20]})"), (std::array<int64_t, 2>{28, 20}));
  for (const char* bad : {"0", "1001", "[1, 2, 3]", "[]", "[28, -1]", "\"96\""}) {
    const std::string json = std::string("{\"image_size\": ") + bad + "}";
    EXPECT_NE(ErrorOf([&] { sides(json); }).find("image_size"), std::string::npos) << bad;
  }
  const auto oblong = base::Config::Parse(R"({"patch_size": [16, 8]})", "config.json");
  EXPECT_NE(ErrorOf([&] { ReadSquare(oblong, "vit", "patch_size", 16, 64); }).find("16x8"), std::string::npos);
}

TEST(ResizePositions, KeepsTheClassTokenAndAConstant) {
  Tensor positions = Tensor::Full({1, 7, 2}, 3.0f).Clone();
  positions.mutable_data<float>()[0] = -5.0f;
  const Tensor resized = ResizePositions(positions, {2, 3}, {5, 4});
  ASSERT_EQ(resized.shape(), (Shape{1, 21, 2}));
  EXPECT_EQ(resized.data<float>()[0], -5.0f);
  for (int64_t i = 2; i < resized.numel(); ++i) EXPECT_NEAR(resized.data<float>()[i], 3.0f, 1e-5f);
  EXPECT_EQ(ResizePositions(positions, {2, 3}, {2, 3}).raw(), positions.raw());
  EXPECT_NE(ErrorOf([&] { ResizePositions(positions, {3, 3}, {2, 3}); }).find("[1,7,2]"), std::string::npos);
}

TEST(DropPath, LeavesWholeRowsOutWhileTraining) {
  const Tensor x = Tensor::Full({2000, 3, 2}, 2.0f);
  EXPECT_EQ(DropPath(x, 0.4).raw(), x.raw());
  const Tape tape(Tape::Options{.is_training = true, .seed = 5});
  EXPECT_EQ(DropPath(x, 0.0).raw(), x.raw());
  const Tensor y = DropPath(x, 0.4);
  int64_t dropped = 0;
  for (int64_t row = 0; row < 2000; ++row) {
    const float first = y.data<float>()[row * 6];
    ASSERT_TRUE(first == 0.0f || std::abs(first - 2.0f / 0.6f) < 1e-5f) << first;
    for (int64_t i = 1; i < 6; ++i) ASSERT_EQ(y.data<float>()[row * 6 + i], first);
    dropped += first == 0.0f;
  }
  EXPECT_NEAR(static_cast<double>(dropped) / 2000, 0.4, 0.055);  // five standard deviations
}

}  // namespace
}  // namespace fovea::nn
