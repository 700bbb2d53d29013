// MakeTiles, and MakePatches for Qwen2-VL, against the image processors of transformers, to the bit
// (tools/dump_tiles_golden.py).
#include "media/tiles.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "media/golden_testing.h"
#include "media/patches.h"
#include "testing/testing.h"

namespace fovea::media {
namespace {

constexpr int64_t kSamples = 32;

base::Config ConfigOf(const std::string& json) { return base::Config::Parse(json, "preprocessor_config.json"); }

void ExpectValues(const Tensor& values, const std::vector<uint8_t>& expected) {
  float worst = 0;
  for (int64_t k = 0; k < kSamples; ++k) {
    float sample = 0;
    std::memcpy(&sample, expected.data() + 4 + 4 * k, 4);
    const auto at =
        static_cast<int64_t>(static_cast<uint64_t>(k) * 2654435761u % static_cast<uint64_t>(values.numel()));
    worst = std::max(worst, std::abs(values.data<float>()[at] - sample));
  }
  EXPECT_EQ(worst, 0.0f);
  uint32_t crc = 0;
  std::memcpy(&crc, expected.data(), 4);
  EXPECT_EQ(crc32(0, values.raw(), static_cast<uInt>(values.size_bytes())), crc);
}

TEST(Tiles, EqualTransformers) {
  const auto configs = nlohmann::json::parse(base::ReadTextFile(testing::SourcePath("tests/golden/media/tiles.json")));
  int compared = 0;
  for (const GoldenRecord& record : ReadGolden(testing::SourcePath("tests/golden/media/tiles.bin"))) {
    SCOPED_TRACE(record.name);
    const std::vector<std::string> words = Words(record.name);
    const base::Config config = ConfigOf(configs.at(words[0]).dump());
    const Image image = Pattern(std::stoi(words[1]), std::stoi(words[2]));
    const auto& [count, rows, columns, height, width] = record.numbers;
    const std::vector<uint8_t> expected = record.Unpack(4 + 4 * kSamples);
    ++compared;
    if (words[0].starts_with("qwen2_vl")) {
      const Patches patches = MakePatches(image, PatchSpec::FromConfig(config));
      ASSERT_EQ(patches.values.shape(), (Shape{count, height}));
      EXPECT_EQ(patches.grid.rows, rows);
      EXPECT_EQ(patches.grid.columns, columns);
      ExpectValues(patches.values, expected);
      continue;
    }
    const Tiles tiles = MakeTiles(image, TileSpec::FromConfig(config));
    ASSERT_EQ(tiles.pixels.shape(), (Shape{count, height, width, 3}));
    EXPECT_EQ(tiles.rows, rows);
    EXPECT_EQ(tiles.columns, columns);
    ExpectValues(tiles.pixels, expected);
  }
  EXPECT_EQ(compared, 132);
}

TEST(Tiles, LongThinPicturesAreBounded) {
  const TileSpec spec =
      TileSpec::FromConfig(ConfigOf(R"({"image_processor_type": "Idefics3ImageProcessor", "do_resize": false,
                   "max_image_size": {"longest_edge": 8}})"));
  EXPECT_EQ(MakeTiles(Pattern(8 * 1024, 1), spec).columns, 1024);
  EXPECT_THROW(MakeTiles(Pattern(8 * 1024 + 1, 1), spec), Error);
  const PatchSpec patches = PatchSpec::FromConfig(ConfigOf(R"({"image_processor_type": "Qwen2VLImageProcessorFast"})"));
  EXPECT_EQ(GridOf(patches, 4000, 20).rows, 2);
  EXPECT_THROW(GridOf(patches, 4001, 20), Error);
}

TEST(Tiles, RefuseWhatTheyDoNotCover) {
  for (const char* json :
       {"{}", R"({"image_processor_type": "ViTImageProcessor"})",
        R"({"image_processor_type": "LlavaNextImageProcessor"})",  // pinpoints of 336, tiles of 224
        R"({"image_processor_type": "LlavaNextImageProcessor", "size": 336, "crop_size": 224})",
        R"({"image_processor_type": "LlavaNextImageProcessor", "size": {"height": 8, "width": 9}, "crop_size": 8})",
        R"({"image_processor_type": "LlavaNextImageProcessor", "size": 8, "crop_size": 8, "image_grid_pinpoints": 8})",
        R"({"image_processor_type": "LlavaNextImageProcessor", "size": 8, "crop_size": 8,
            "image_grid_pinpoints": []})",
        R"({"image_processor_type": "LlavaNextImageProcessor", "size": 8, "crop_size": 8,
            "image_grid_pinpoints": [[8, 17]]})",
        R"({"image_processor_type": "LlavaNextImageProcessor", "size": 8, "crop_size": 8,
            "image_grid_pinpoints": [[8, 16, 8]]})",
        R"({"image_processor_type": "LlavaNextImageProcessor", "size": 336, "crop_size": 336, "do_resize": false})",
        R"({"image_processor_type": "Idefics3ImageProcessor", "size": {"height": 364, "width": 364}})",
        R"({"image_processor_type": "Idefics3ImageProcessor", "size": {"longest_edge": 0}})",
        R"({"image_processor_type": "SmolVLMImageProcessor", "max_image_size": {"longest_edge": 4, "width": 3}})",
        R"({"image_processor_type": "SmolVLMImageProcessor", "do_center_crop": true, "crop_size": 4})",
        R"({"image_processor_type": "SmolVLMImageProcessor", "do_flip": true})"})
    EXPECT_THROW(TileSpec::FromConfig(ConfigOf(json)), Error) << json;
  for (const char* json :
       {R"({"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 10, "max_pixels": 9})",
        R"({"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 1, "max_pixels": 783})",
        R"({"image_processor_type": "Qwen2VLImageProcessor", "merge_size": 0})",
        R"({"image_processor_type": "Qwen2VLImageProcessor", "size": 5})",
        R"({"image_processor_type": "Qwen2VLImageProcessor", "do_center_crop": true, "crop_size": 4})"})
    EXPECT_THROW(PatchSpec::FromConfig(ConfigOf(json)), Error) << json;
}

}  // namespace
}  // namespace fovea::media
