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

std::string ProcessorType(const base::Config& config) {
  auto type = config.Require<std::string>("image_processor_type");
  for (const std::string_view suffix : {"Fast", "Pil"}) {
    if (type.ends_with(suffix)) type.resize(type.size() - suffix.size());
  }
  return type;
}

// What is left when the keys about patches are taken out is a processor of whole pictures with the same defaults;
// neither size nor crop has a meaning here.
PreprocessSpec PixelsOf(const base::Config& config, std::initializer_list<const char*> others,
                        const nlohmann::json& changes) {
  nlohmann::json rest = config.json();
  for (const char* key : others) rest.erase(key);
  rest.update(changes);
  PreprocessSpec spec = PreprocessSpec::FromConfig(base::Config::Parse(rest.dump(), config.source()));
  if (spec.do_center_crop || spec.crop_first_pct > 0)
    Fail(ErrorCode::kUnimplemented, "[patches] ", config.source(), ": a crop before the patches is not supported");
  return spec;
}

PatchSpec Siglip2Spec(const base::Config& config) {
  PatchSpec spec;
  config.Read("patch_size", spec.patch_size, 1, 1024);
  config.Read("max_num_patches", spec.max_num_patches, 1, 65536);
  Require(spec.max_num_patches * spec.patch_size * spec.patch_size * 3 <= kMaxValues, "[patches] ", config.source(),
          ": expected at most ", kMaxValues, " values a picture, got ", spec.max_num_patches, " patches of ",
          spec.patch_size, "x", spec.patch_size, " px");
  spec.pixels = PixelsOf(config, {"patch_size", "max_num_patches", "size", "default_to_square"},
                         {{"image_processor_type", "ViTImageProcessor"}});
  return spec;
}

PatchSpec Qwen2VlSpec(const base::Config& config) {
  PatchSpec spec{.patch_size = 14, .max_num_patches = 0};
  spec.merge_size = 2;
  spec.min_pixels = 56 * 56;
  spec.max_pixels = 28 * 28 * 1280;
  int64_t temporal_patch_size = 2;
  config.Read("patch_size", spec.patch_size, 1, 1024);
  config.Read("merge_size", spec.merge_size, 1, 64);
  config.Read("temporal_patch_size", temporal_patch_size, 1,
              64);  // a picture is repeated so often: the model's business
  if (config.Has("size")) {
    const base::Config size = config.Object("size");
    size.Read("shortest_edge", spec.min_pixels, 1, kMaxValues);
    size.Read("longest_edge", spec.max_pixels, 1, kMaxValues);
    size.Read("min_pixels", spec.min_pixels, 1, kMaxValues);
    size.Read("max_pixels", spec.max_pixels, 1, kMaxValues);
  }
  config.Read("min_pixels", spec.min_pixels, 1, kMaxValues);
  config.Read("max_pixels", spec.max_pixels, 1, kMaxValues);
  const int64_t square = spec.patch_size * spec.merge_size;
  Require(spec.min_pixels <= spec.max_pixels && square * square <= spec.max_pixels, "[patches] ", config.source(),
          ": expected min_pixels and a square of ", square, " px to be at most max_pixels, got ", spec.min_pixels,
          " and ", spec.max_pixels);
  nlohmann::json changes = {{"image_processor_type", "CLIPImageProcessor"}};
  if (!config.Has("do_center_crop")) changes["do_center_crop"] = false;
  spec.pixels = PixelsOf(
      config, {"patch_size", "merge_size", "temporal_patch_size", "size", "min_pixels", "max_pixels"}, changes);
  return spec;
}

// A side in patches: the nearest number of whole squares, even where two are as near.
int64_t Squares(int64_t side, int64_t square) {
  return std::llrint(static_cast<double>(side) / static_cast<double>(square));
}

// smart_resize of the reference.
PatchGrid GridByArea(const PatchSpec& spec, int64_t width, int64_t height) {
  Require(std::max(width, height) <= 200 * std::min(width, height), "[patches] expected a picture that is at most 200 ",
          "times as long as it is wide, got ", width, "x", height, " px");
  const int64_t square = spec.patch_size * spec.merge_size;
  int64_t rows = Squares(height, square), columns = Squares(width, square);
  const double Y = static_cast<double>(height), X = static_cast<double>(width), side = static_cast<double>(square);
  if (rows * columns * square * square > spec.max_pixels) {
    const double beta = std::sqrt(Y * X / static_cast<double>(spec.max_pixels));
    rows = std::max<int64_t>(1, static_cast<int64_t>(std::floor(Y / beta / side)));
    columns = std::max<int64_t>(1, static_cast<int64_t>(std::floor(X / beta / side)));
  } else if (rows * columns * square * square < spec.min_pixels) {
    const double beta = std::sqrt(static_cast<double>(spec.min_pixels) / (Y * X));
    rows = static_cast<int64_t>(std::ceil(Y * beta / side));
    columns = static_cast<int64_t>(std::ceil(X * beta / side));
  }
  return {rows * spec.merge_size, columns * spec.merge_size};
}

}  // namespace

PatchSpec PatchSpec::FromConfig(const base::Config& config) {
  if (config.Has("image_processor")) return FromConfig(config.Object("image_processor"));
  const std::string type = ProcessorType(config);
  if (type == "Siglip2ImageProcessor") return Siglip2Spec(config);
  if (type == "Qwen2VLImageProcessor") return Qwen2VlSpec(config);
  Fail(ErrorCode::kUnimplemented, "[patches] ", config.source(),
       ": expected Siglip2ImageProcessor or Qwen2VLImageProcessor, got ", base::PrintableUtf8(type.substr(0, 200)));
}

std::string PatchSpec::ToString() const {
  const std::string size = base::StrCat(patch_size, "x", patch_size, " px, ");
  if (max_num_patches > 0) return base::StrCat("at most ", max_num_patches, " patches of ", size, pixels.ToString());
  PreprocessSpec rest = pixels;
  rest.do_resize = false;
  const std::string resized = pixels.do_resize ? base::StrCat("resized ", FilterName(pixels.resample), " to ",
                                                              min_pixels, " to ", max_pixels, " pixels, ")
                                               : "";
  return base::StrCat(resized, "patches of ", size, merge_size, "x", merge_size, " of them together, ",
                      rest.ToString());
}

PatchGrid GridOf(const PatchSpec& spec, int64_t width, int64_t height) {
  Require(width >= 1 && height >= 1, "[patches] expected a picture, got ", width, "x", height, " px");
  const int64_t P = spec.patch_size, N = spec.max_num_patches;
  if (!spec.pixels.do_resize) {
    const PatchGrid grid = {height / P, width / P};
    if (N == 0) {
      const int64_t square = P * spec.merge_size;
      Require(height % square == 0 && width % square == 0, "[patches] expected whole squares of ", square,
              " px, as the picture is not resized, got ", width, "x", height, " px");
      return grid;
    }
    Require(height % P == 0 && width % P == 0 && grid.rows * grid.columns <= N, "[patches] expected whole patches of ",
            P, " px, at most ", N, ", as the picture is not resized, got ", width, "x", height, " px");
    return grid;
  }
  if (N == 0) return GridByArea(spec, width, height);
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

int64_t LengthOf(const PatchSpec& spec, int64_t width, int64_t height) {
  if (spec.max_num_patches > 0) return spec.max_num_patches;
  const PatchGrid grid = GridOf(spec, width, height);
  return grid.rows * grid.columns;
}

Patches MakePatches(const Image& image, const PatchSpec& spec) {
  const PatchGrid grid = GridOf(spec, image.width, image.height);
  const int64_t P = spec.patch_size, count = grid.rows * grid.columns;
  const int64_t N = LengthOf(spec, image.width, image.height);
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
