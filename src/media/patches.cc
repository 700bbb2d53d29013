// Patches: the size that fits, the pixels of media/preprocess.h, and their order.
#include "media/patches.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace fovea::media {
namespace {

constexpr int64_t kMaxValues = int64_t{1} << 28;  // floats of one picture's sequence

int64_t SidePatches(double scale, int64_t side, int64_t patch_size) {
  return std::max<int64_t>(
      1, static_cast<int64_t>(std::ceil(static_cast<double>(side) * scale / static_cast<double>(patch_size))));
}

}  // namespace

PatchSpec PatchSpec::FromConfig(const base::Config& config) {
  if (config.Has("image_processor")) return FromConfig(config.Object("image_processor"));
  auto type = config.Require<std::string>("image_processor_type");
  for (const std::string_view suffix : {"Fast", "Pil"}) {
    if (type.ends_with(suffix)) type.resize(type.size() - suffix.size());
  }
  if (type != "Siglip2ImageProcessor") {
    Fail(ErrorCode::kUnimplemented, "[patches] ", config.source(), ": expected Siglip2ImageProcessor, got ",
         base::PrintableUtf8(type.substr(0, 200)));
  }
  PatchSpec spec;
  config.Read("patch_size", spec.patch_size, 1, 1024);
  config.Read("max_num_patches", spec.max_num_patches, 1, 65536);
  Require(spec.max_num_patches * spec.patch_size * spec.patch_size * 3 <= kMaxValues, "[patches] ", config.source(),
          ": expected at most ", kMaxValues, " values a picture, got ", spec.max_num_patches, " patches of ",
          spec.patch_size, "x", spec.patch_size, " px");
  // The rest is a ViTImageProcessor's, whose defaults are the same; neither size nor crop has a meaning here.
  nlohmann::json rest = config.json();
  for (const char* key : {"patch_size", "max_num_patches", "size", "default_to_square"}) rest.erase(key);
  rest["image_processor_type"] = "ViTImageProcessor";
  spec.pixels = PreprocessSpec::FromConfig(base::Config::Parse(rest.dump(), config.source()));
  if (spec.pixels.do_center_crop || spec.pixels.crop_first_pct > 0)
    Fail(ErrorCode::kUnimplemented, "[patches] ", config.source(), ": a crop before the patches is not supported");
  return spec;
}

PatchGrid GridOf(const PatchSpec& spec, int64_t width, int64_t height) {
  Require(width >= 1 && height >= 1, "[patches] expected a picture, got ", width, "x", height, " px");
  const int64_t P = spec.patch_size, N = spec.max_num_patches;
  if (!spec.pixels.do_resize) {
    const PatchGrid grid = {height / P, width / P};
    Require(height % P == 0 && width % P == 0 && grid.rows * grid.columns <= N, "[patches] expected whole patches of ",
            P, " px, at most ", N, ", as the picture is not resized, got ", width, "x", height, " px");
    return grid;
  }
  // The search of the reference, step by step: where it stops decides the size.
  constexpr double kEpsilon = 1e-5;
  double low = kEpsilon / 10, high = 100.0;
  while (high - low >= kEpsilon) {
    const double scale = (low + high) / 2;
    const bool fits = SidePatches(scale, height, P) * SidePatches(scale, width, P) <= N;
    (fits ? low : high) = scale;
  }
  return {SidePatches(low, height, P), SidePatches(low, width, P)};
}

Patches MakePatches(const Image& image, const PatchSpec& spec) {
  const PatchGrid grid = GridOf(spec, image.width, image.height);
  const int64_t P = spec.patch_size, N = spec.max_num_patches, count = grid.rows * grid.columns;
  Require(count <= N, "[patches] expected at most ", N, " patches, got ", count, " for a picture of ", image.width, "x",
          image.height, " px");
  PreprocessSpec pixel_spec = spec.pixels;
  pixel_spec.size = {.height = grid.rows * P, .width = grid.columns * P};
  const Tensor pixels = Preprocess(image, pixel_spec);  // [rows*P,columns*P,3]
  Patches patches = {Tensor::Zeros({N, P * P * 3}), Tensor::Zeros({N}, DType::kI32), grid};
  std::fill_n(patches.mask.mutable_data<int32_t>(), count, 1);
  const float* from = pixels.data<float>();
  float* values = patches.values.mutable_data<float>();
  for (int64_t y = 0; y < grid.rows * P; ++y) {
    for (int64_t column = 0; column < grid.columns; ++column, from += P * 3) {
      float* to = values + (((y / P) * grid.columns + column) * P + y % P) * P * 3;
      std::memcpy(to, from, static_cast<size_t>(P * 3) * sizeof(float));
    }
  }
  return patches;
}

}  // namespace fovea::media
