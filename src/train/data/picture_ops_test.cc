// Each operation against torchvision's on Pillow pictures, bit for bit (tools/dump_augment_golden.py).
#include "train/data/picture_ops.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "formats/safetensors.h"
#include "testing/testing.h"

namespace fovea::train {
namespace {

Image PictureOf(const Tensor& stored) {
  Image image = Image::Allocate(stored.dim(1), stored.dim(0));
  std::memcpy(image.rgb.get(), stored.raw(), static_cast<size_t>(stored.size_bytes()));
  return image;
}

TEST(PictureOperations, GiveThePixelsOfTorchvision) {
  const auto golden = formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/train/augment.safetensors"));
  const std::map<std::string, PictureOperation> operations = {
      {"Identity", PictureOperation::kIdentity},     {"AutoContrast", PictureOperation::kAutoContrast},
      {"Equalize", PictureOperation::kEqualize},     {"Brightness", PictureOperation::kBrightness},
      {"Contrast", PictureOperation::kContrast},     {"Color", PictureOperation::kSaturation},
      {"Sharpness", PictureOperation::kSharpness},   {"Posterize", PictureOperation::kPosterize},
      {"Solarize", PictureOperation::kSolarize},     {"Rotate", PictureOperation::kRotate},
      {"ShearX", PictureOperation::kShearX},         {"ShearY", PictureOperation::kShearY},
      {"TranslateX", PictureOperation::kTranslateX}, {"TranslateY", PictureOperation::kTranslateY}};
  const std::map<std::string, void (*)(Image&, double)> adjustments = {{"brightness", AdjustBrightness},
                                                                       {"contrast", AdjustContrast},
                                                                       {"saturation", AdjustSaturation},
                                                                       {"hue", AdjustHue}};
  int compared = 0;
  for (const auto& info : golden.tensors()) {
    const size_t at = info.name.find('@');
    if (at == std::string::npos) continue;
    const std::string name = info.name.substr(0, at);
    const double amount = std::stod(info.name.substr(at + 1));
    Image image = PictureOf(golden.Get("picture"));
    if (operations.contains(name)) {
      ApplyOperation(image, operations.at(name), amount);
    } else {
      adjustments.at(name)(image, amount);
    }
    const Tensor expected = golden.Get(info.name);
    int64_t differing = 0, largest = 0;
    for (int64_t i = 0; i < image.size_bytes(); ++i) {
      const int64_t error = std::abs(int64_t{image.data()[i]} - int64_t{expected.raw()[i]});
      largest = std::max(largest, error);
      differing += error > 0 ? 1 : 0;
    }
    EXPECT_EQ(differing, 0) << info.name << ": " << differing << " of " << image.size_bytes() << ", by up to "
                            << largest;
    ++compared;
  }
  EXPECT_EQ(compared, 56);
}

}  // namespace
}  // namespace fovea::train
