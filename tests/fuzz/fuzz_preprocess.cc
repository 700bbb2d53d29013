// preprocessor_config.json, processor_config.json and open_clip_config.json, and the preparation of a small picture as
// they say.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "fuzzing.h"
#include "media/patches.h"
#include "media/preprocess.h"
#include "media/tiles.h"

namespace {

constexpr int64_t kMostPixels = 1 << 20;  // larger results are only measured, to keep the fuzzer fast

fovea::Image SmallPicture() {
  fovea::Image image = fovea::Image::Allocate(13, 7);
  for (int64_t y = 0; y < 7; ++y) {
    for (int64_t i = 0; i < 39; ++i) image.mutable_row(y)[i] = static_cast<uint8_t>(i * 31 + y * 57);
  }
  return image;
}

void Use(const fovea::media::PreprocessSpec& spec) {
  const fovea::Image image = SmallPicture();
  if (spec.ToString().empty()) __builtin_trap();
  fovea::media::OutputSize(spec, 1, 16384);
  const auto [height, width] = fovea::media::OutputSize(spec, image.width, image.height);
  if (height > kMostPixels / width) return;
  const fovea::Tensor pixels = fovea::media::Preprocess(image, spec);
  if (pixels.dim(0) != height || pixels.dim(1) != width) __builtin_trap();
  fovea::fuzzing::Touch(pixels);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  fuzzing::Try([&] {
    const base::Config config = base::Config::Parse({reinterpret_cast<const char*>(data), size}, "input");
    fuzzing::Try([&] { Use(media::PreprocessSpec::FromConfig(config)); });
    fuzzing::Try([&] { Use(media::PreprocessSpec::FromConfig(config, "convnext")); });
    fuzzing::Try([&] { Use(media::PreprocessSpec::FromOpenClip(config)); });
    fuzzing::Try([&] { Use(media::PreprocessSpec::OfModel(config)); });
    fuzzing::Try([&] {
      const media::PatchSpec spec = media::PatchSpec::FromConfig(config);
      const Image image = SmallPicture();
      if (media::LengthOf(spec, image.width, image.height) * spec.patch_size * spec.patch_size > kMostPixels) return;
      fuzzing::Touch(media::MakePatches(image, spec).values);
    });
    fuzzing::Try([&] {
      const media::TileSpec spec = media::TileSpec::FromConfig(config);
      if (spec.ToString().empty()) __builtin_trap();
      const bool is_large = std::ranges::any_of(
          spec.canvases, [](const media::PixelSize& canvas) { return canvas.height > kMostPixels / canvas.width; });
      if (is_large || spec.tile_px > 64 || spec.longest_edge > 1024) return;
      fuzzing::Touch(media::MakeTiles(SmallPicture(), spec).pixels);
    });
  });
  return 0;
}
