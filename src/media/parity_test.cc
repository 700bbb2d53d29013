// Pixels of 50 pictures of odd sizes against the image processors of transformers, torchvision and open_clip, for every
// configuration that matters; stored by tools/dump_preprocess_golden.py.
//
// Where the reference works on bytes, ours must be the same to the bit, before rescaling and after normalisation.
// DINOv3 resizes floats: there ours must be within 1/255 of it.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "media/golden_testing.h"
#include "media/patches.h"
#include "media/preprocess.h"
#include "testing/testing.h"

namespace fovea::media {
namespace {

constexpr size_t kEarlySamples = 48, kSamples = 16;

struct Expected {
  int32_t height, width;
  uint32_t bytes_crc, values_crc;
  float early[kEarlySamples], values[kSamples];
};
static_assert(sizeof(Expected) == 272);

Image Edges(int64_t width, int64_t height) {
  Image image = Image::Allocate(width, height);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t i = 0; i < width * 3; ++i)
      image.mutable_row(y)[i] = (i / 3 * 7 + y * 13 + i % 3 * 5) % 16 < 8 ? 255 : 0;
  }
  return image;
}

Image Part(const Image& image, int64_t left, int64_t top, int64_t width, int64_t height) {
  const ImageView part = Cropped(ViewOf(image), {left, top, width, height});
  Image copy = Image::Allocate(width, height);
  for (int64_t y = 0; y < height; ++y) std::copy_n(part.row(y), width * 3, copy.mutable_row(y));
  return copy;
}

Image Picture(const std::string& name) {
  const std::vector<std::string> words = Words(name);
  const auto number = [&](size_t i) { return std::stoll(words.at(i)); };
  if (words[0] == "edges") return Edges(number(1), number(2));
  if (words[0] == "pattern") return Pattern(number(1), number(2));
  const Image whole = ReadImage(testing::SourcePath("samples/" + words.at(1) + ".jpg"));
  return Part(whole, number(2), number(3), number(4), number(5));
}

uint32_t Crc(const void* data, int64_t size) {
  return static_cast<uint32_t>(crc32(0, static_cast<const Bytef*>(data), static_cast<uInt>(size)));
}

// The largest difference at the places that were stored.
float WorstSample(const Tensor& values, const float* expected, size_t count) {
  float worst = 0;
  for (size_t k = 0; k < count; ++k) {
    const auto at = static_cast<int64_t>(k * 2654435761U % static_cast<uint64_t>(values.numel()));
    worst = std::max(worst, std::abs(values.data<float>()[at] - expected[k]));
  }
  return worst;
}

// What Preprocess gives with and without its last step.
struct Prepared {
  Tensor early, values;
  int64_t height, width;
};

Prepared Prepare(const Image& image, const base::Config& config, const std::string& name) {
  if (name.starts_with("naflex")) {
    const Patches patches = MakePatches(image, PatchSpec::FromConfig(config));
    const int32_t* mask = patches.mask.data<int32_t>();
    const int64_t count = patches.grid.rows * patches.grid.columns;
    for (int64_t i = 0; i < patches.mask.numel(); ++i) EXPECT_EQ(mask[i], i < count ? 1 : 0);
    return {Tensor::Zeros({1, 1, 3}), patches.values, patches.grid.rows, patches.grid.columns};
  }
  PreprocessSpec spec =
      name.starts_with("open_clip") ? PreprocessSpec::FromOpenClip(config) : PreprocessSpec::FromConfig(config);
  const Tensor values = Preprocess(image, spec);
  spec.do_rescale = spec.do_normalize = spec.include_top = false;
  return {Preprocess(image, spec), values, values.dim(0), values.dim(1)};
}

TEST(PreprocessParity, FiftyPicturesOfOddSizes) {
  const auto json = nlohmann::json::parse(base::ReadTextFile(testing::SourcePath("tests/golden/media/parity.json")));
  std::vector<Image> pictures;
  for (size_t i = 0; i < json.at("pictures").size(); ++i) {
    pictures.push_back(Picture(json.at("pictures")[i]));
    const Image& image = pictures.back();
    ASSERT_EQ(Crc(image.data(), image.width * image.height * 3), json.at("crc")[i]) << json.at("pictures")[i];
  }
  ASSERT_EQ(pictures.size(), 50u);
  int compared = 0, identical = 0;
  for (const GoldenRecord& record : ReadGolden(testing::SourcePath("tests/golden/media/parity.bin"))) {
    const base::Config config = base::Config::Parse(json.at("configs").at(record.name).dump(), record.name);
    const std::vector<uint8_t> data = record.Unpack(pictures.size() * sizeof(Expected));
    for (size_t i = 0; i < pictures.size(); ++i) {
      SCOPED_TRACE(record.name + " of " + json.at("pictures")[i].get<std::string>());
      Expected expected;
      std::memcpy(&expected, data.data() + i * sizeof(Expected), sizeof(Expected));
      const Prepared prepared = Prepare(pictures[i], config, record.name);
      ASSERT_EQ(prepared.height, expected.height);
      ASSERT_EQ(prepared.width, expected.width);
      ++compared;
      if (record.name.starts_with("dinov3")) {
        EXPECT_LE(WorstSample(prepared.early, expected.early, kEarlySamples), 0.01f);
        EXPECT_LE(WorstSample(prepared.values, expected.values, kSamples), 0.01f / 255 / 0.224f);
        continue;
      }
      EXPECT_EQ(WorstSample(prepared.early, expected.early, kEarlySamples), 0.0f);
      EXPECT_EQ(WorstSample(prepared.values, expected.values, kSamples), 0.0f);
      std::vector<uint8_t> bytes(static_cast<size_t>(prepared.early.numel()));
      for (size_t k = 0; k < bytes.size(); ++k) bytes[k] = static_cast<uint8_t>(prepared.early.data<float>()[k]);
      const bool is_same = Crc(bytes.data(), prepared.early.numel()) == expected.bytes_crc &&
                           Crc(prepared.values.data<float>(), prepared.values.size_bytes()) == expected.values_crc;
      EXPECT_TRUE(is_same);
      identical += is_same;
    }
  }
  EXPECT_EQ(compared, 39 * 50);
  EXPECT_EQ(identical, 37 * 50);
}

}  // namespace
}  // namespace fovea::media
