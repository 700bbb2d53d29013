// What MakePatches refuses, and the grid at its limits. Its values are compared with the reference in parity_test.cc.
#include "media/patches.h"

#include <gtest/gtest.h>

#include "media/golden_testing.h"

namespace fovea::media {
namespace {

PatchSpec SpecOf(const std::string& json) {
  return PatchSpec::FromConfig(base::Config::Parse(json, "preprocessor_config.json"));
}

TEST(Patches, GridHoldsWhatTheLimitAllows) {
  const PatchSpec spec = SpecOf(R"({"image_processor_type": "Siglip2ImageProcessor"})");
  const auto expect_grid = [&](int64_t width, int64_t height, int64_t rows, int64_t columns) {
    const PatchGrid grid = GridOf(spec, width, height);
    EXPECT_EQ(grid.rows, rows) << width << "x" << height;
    EXPECT_EQ(grid.columns, columns) << width << "x" << height;
  };
  // get_image_size_for_max_num_patches of transformers, divided by 16
  expect_grid(500, 500, 16, 16);
  expect_grid(1000, 500, 11, 22);
  expect_grid(1, 1000000, 256, 1);
  expect_grid(1, 1, 7, 7);  // enlarged a hundredfold at most
}

TEST(Patches, WithoutResizingThePictureMustFit) {
  const PatchSpec spec = SpecOf(
      R"({"image_processor": {"image_processor_type": "Siglip2ImageProcessorFast", "do_resize": false, "patch_size": 8, "max_num_patches": 6}})");
  const Patches patches = MakePatches(Pattern(24, 16), spec);
  EXPECT_EQ(patches.values.shape(), (Shape{6, 192}));
  EXPECT_EQ(patches.grid.columns, 3);
  EXPECT_THROW(MakePatches(Pattern(25, 16), spec), Error);
  EXPECT_THROW(MakePatches(Pattern(32, 16), spec), Error);
}

TEST(Patches, RefusesWhatItDoesNotCover) {
  for (const char* json :
       {"{}", R"({"image_processor_type": "ViTImageProcessor"})",
        R"({"image_processor_type": "Siglip2ImageProcessor", "patch_size": 0})",
        R"({"image_processor_type": "Siglip2ImageProcessor", "patch_size": 1024, "max_num_patches": 65536})",
        R"({"image_processor_type": "Siglip2ImageProcessor", "do_pad": true})",
        R"({"image_processor_type": "Siglip2ImageProcessor", "do_center_crop": true, "crop_size": 4})"})
    EXPECT_THROW(SpecOf(json), Error) << json;
}

}  // namespace
}  // namespace fovea::media
