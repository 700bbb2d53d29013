// Preprocessing: crop, resize, crop or pad, and bytes to floats.
//
// The last step maps a byte to a float by one table of 256 entries for each colour, computed in the arithmetic of
// transformers (f64 product rounded to f32, then f32). That is exact by construction and faster than computing each
// pixel.
#include "media/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/parallel.h"

namespace fovea::media {
namespace {

constexpr std::array<float, 3> kHalf = {0.5f, 0.5f, 0.5f};
constexpr std::array<float, 3> kImageNetMean = {0.485f, 0.456f, 0.406f}, kImageNetStd = {0.229f, 0.224f, 0.225f};
constexpr std::array<float, 3> kClipMean = {0.48145466f, 0.4578275f, 0.40821073f},
                               kClipStd = {0.26862954f, 0.26130258f, 0.27577711f};

constexpr int64_t kMaxPixels = 178'956'970;  // of what a model sees; as many as a picture may have by default

// What transformers assumes where a config is silent, by processor. `is_square`: an integer "size" means both sides.
struct Defaults {
  std::string_view processor;
  ResizeRule size;
  bool is_square;
  Filter resample;
  int64_t crop;  // 0: no centre crop
  std::array<float, 3> mean, std;
  bool include_top;
};

constexpr Defaults kDefaults[] = {
    {"ViT", {.height = 224, .width = 224}, true, Filter::kBilinear, 0, kHalf, kHalf, false},
    {"DeiT", {.height = 256, .width = 256}, true, Filter::kBicubic, 224, kImageNetMean, kImageNetStd, false},
    {"CLIP", {.shortest_edge = 224}, false, Filter::kBicubic, 224, kClipMean, kClipStd, false},
    {"ChineseCLIP", {.height = 224, .width = 224}, true, Filter::kBicubic, 224, kClipMean, kClipStd, false},
    {"Blip", {.height = 384, .width = 384}, true, Filter::kBicubic, 0, kClipMean, kClipStd, false},
    {"Siglip", {.height = 224, .width = 224}, true, Filter::kBicubic, 0, kHalf, kHalf, false},
    {"Bit", {.shortest_edge = 224}, false, Filter::kBicubic, 224, kClipMean, kClipStd, false},
    {"EfficientNet", {.height = 346, .width = 346}, true, Filter::kBicubic, 0, kImageNetMean, kImageNetStd, true},
};

// The family of "CLIPImageProcessorFast", "CLIPFeatureExtractor", ...; ViT for none.
const Defaults& DefaultsOf(const base::Config& config) {
  const std::string type =
      config.Get<std::string>("image_processor_type", config.Get<std::string>("feature_extractor_type", ""));
  if (type.empty()) return kDefaults[0];
  for (const Defaults& defaults : kDefaults) {
    for (const std::string_view suffix :
         {"ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"}) {
      if (type == base::StrCat(defaults.processor, suffix)) return defaults;
    }
  }
  Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(), ": image_processor_type ", type,
       " is not supported");
}

// Refuses what would change the pixels and is not covered. Switches that are off, and keys that only describe, pass.
void RefuseUnknown(const base::Config& config) {
  constexpr std::string_view kKnown[] = {"do_resize",
                                         "size",
                                         "resample",
                                         "do_center_crop",
                                         "crop_size",
                                         "do_rescale",
                                         "rescale_factor",
                                         "rescale_offset",
                                         "do_normalize",
                                         "image_mean",
                                         "image_std",
                                         "include_top",
                                         "crop_first",
                                         "crop_pct",
                                         "do_convert_rgb",
                                         "image_processor_type",
                                         "feature_extractor_type",
                                         "default_to_square"};
  constexpr std::string_view kHarmful[] = {
      "pad_size",    "size_divisor",         "max_size", "min_pixels",   "max_pixels",       "patch_size", "tile_size",
      "max_patches", "image_grid_pinpoints", "offset",   "reducing_gap", "size_divisibility"};
  for (const std::string& key : config.Keys()) {
    if (!config.Has(key) || std::find(std::begin(kKnown), std::end(kKnown), key) != std::end(kKnown)) continue;
    const bool is_switch = key.starts_with("do_");
    const bool is_harmful = std::find(std::begin(kHarmful), std::end(kHarmful), key) != std::end(kHarmful);
    if ((is_switch && config.Get<bool>(key, false)) || is_harmful) {
      Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(), ": option \"", key, "\" is not supported");
    }
  }
}

// A side in pixels, or a count, from a config.
int64_t Side(const base::Config& config, std::string_view key, int64_t value) {
  Require(value >= 1 && value <= 16384, "[preprocess] ", config.source(), ": expected ", key, " from 1 to 16384, got ",
          value);
  return value;
}

ResizeRule ReadSize(const base::Config& config, const Defaults& defaults) {
  if (!config.Has("size")) return defaults.size;
  if (config.json().at("size").is_object()) {
    const base::Config size = config.Object("size");
    ResizeRule rule;
    for (const std::string& key : size.Keys()) {
      if (!size.Has(key)) continue;
      if (key == "height")
        rule.height = Side(size, key, size.Require<int64_t>(key));
      else if (key == "width")
        rule.width = Side(size, key, size.Require<int64_t>(key));
      else if (key == "shortest_edge")
        rule.shortest_edge = Side(size, key, size.Require<int64_t>(key));
      else if (key == "longest_edge")
        rule.longest_edge = Side(size, key, size.Require<int64_t>(key));
      else
        Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(), ": size by \"", key, "\" is not supported");
    }
    const bool is_fixed = rule.height > 0 && rule.width > 0 && rule.shortest_edge == 0 && rule.longest_edge == 0;
    const bool is_by_edge = rule.shortest_edge > 0 && rule.height == 0 && rule.width == 0;
    Require(is_fixed || is_by_edge, "[preprocess] ", config.source(),
            ": expected size with height and width, or with shortest_edge (and longest_edge)");
    return rule;
  }
  if (config.json().at("size").is_array()) {
    const auto size = config.Require<std::vector<int64_t>>("size");
    Require(size.size() == 2, "[preprocess] ", config.source(), ": expected size with 2 numbers, got ", size.size());
    return {.height = Side(config, "size", size[0]), .width = Side(config, "size", size[1])};
  }
  const int64_t size = Side(config, "size", config.Require<int64_t>("size"));
  if (config.Get<bool>("default_to_square", defaults.is_square)) return {.height = size, .width = size};
  return {.shortest_edge = size};
}

void ReadCrop(const base::Config& config, const Defaults& defaults, PreprocessSpec& spec) {
  if (config.Get<bool>("crop_first", false)) {
    spec.crop_first_pct = config.Get<double>("crop_pct", 1.0);
    Require(spec.crop_first_pct > 0 && spec.crop_first_pct <= 1, "[preprocess] ", config.source(),
            ": expected crop_pct in (0, 1], got ", spec.crop_first_pct);
    Require(spec.do_resize && config.Get<bool>("do_center_crop", true) && !config.Has("crop_size"), "[preprocess] ",
            config.source(), ": crop_first needs do_resize and do_center_crop, and takes no crop_size");
    return;
  }
  if (config.Has("crop_pct")) {
    Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(),
         ": option \"crop_pct\" without \"crop_first\" is not supported");
  }
  spec.do_center_crop = config.Get<bool>("do_center_crop", defaults.crop > 0);
  spec.crop_height = spec.crop_width = defaults.crop;
  if (config.Has("crop_size") && config.json().at("crop_size").is_object()) {
    const base::Config crop = config.Object("crop_size");
    spec.crop_height = Side(crop, "crop_size", crop.Require<int64_t>("height"));
    spec.crop_width = Side(crop, "crop_size", crop.Require<int64_t>("width"));
  } else if (config.Has("crop_size")) {
    spec.crop_height = spec.crop_width = Side(config, "crop_size", config.Require<int64_t>("crop_size"));
  }
  Require(!spec.do_center_crop || spec.crop_height > 0, "[preprocess] ", config.source(),
          ": do_center_crop needs crop_size");
}

std::array<float, 3> ReadColors(const base::Config& config, std::string_view key,
                                const std::array<float, 3>& fallback) {
  if (!config.Has(key)) return fallback;
  const auto values = config.Require<std::vector<double>>(key);
  Require(values.size() == 3, "[preprocess] ", config.source(), ": expected ", key, " with 3 numbers, got ",
          values.size());
  return {static_cast<float>(values[0]), static_cast<float>(values[1]), static_cast<float>(values[2])};
}

// Float of each byte, for each colour.
using ByteTable = std::array<std::array<float, 256>, 3>;

ByteTable MakeByteTable(const PreprocessSpec& spec) {
  ByteTable table;
  for (int c = 0; c < 3; ++c) {
    for (int byte = 0; byte < 256; ++byte) {
      float value = spec.do_rescale ? static_cast<float>(byte * spec.rescale_factor) : static_cast<float>(byte);
      if (spec.do_rescale && spec.rescale_offset) value -= 1.0f;
      if (spec.do_normalize) value = (value - spec.mean[c]) / spec.std[c];
      if (spec.include_top) value = value / spec.std[c];
      table[c][byte] = value;
    }
  }
  return table;
}

// Centre crop as in transformers: floor((size - crop) / 2), and for a picture that is smaller, black around it by
// ceil((crop - size) / 2).
struct CropPlace {
  int64_t from;   // first pixel of the picture that is used
  int64_t to;     // where it lands
  int64_t count;  // px
};

CropPlace PlaceCrop(int64_t size, int64_t crop) {
  if (crop <= size) return {(size - crop) / 2, 0, crop};
  return {0, (crop - size + 1) / 2, size};
}

PixelSize ResizedSize(const PreprocessSpec& spec, int64_t width, int64_t height) {
  if (!spec.do_resize) return {height, width};
  const ResizeRule& rule = spec.size;
  if (rule.shortest_edge == 0) return {rule.height, rule.width};
  const int64_t small = std::min(width, height), large = std::max(width, height);
  if (rule.longest_edge == 0) {
    const int64_t other =
        static_cast<int64_t>(static_cast<double>(rule.shortest_edge * large) / static_cast<double>(small));
    return width <= height ? PixelSize{other, rule.shortest_edge} : PixelSize{rule.shortest_edge, other};
  }
  // get_size_with_aspect_ratio of transformers, but never below 1 px.
  int64_t new_small = rule.shortest_edge;
  double exact = static_cast<double>(new_small);
  if (static_cast<double>(large) / static_cast<double>(small) * exact > static_cast<double>(rule.longest_edge)) {
    exact = static_cast<double>(rule.longest_edge) * static_cast<double>(small) / static_cast<double>(large);
    new_small = std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(exact)));
  }
  if (small == new_small) return {height, width};
  const int64_t new_large =
      std::max<int64_t>(1, static_cast<int64_t>(exact * static_cast<double>(large) / static_cast<double>(small)));
  return width < height ? PixelSize{new_large, new_small} : PixelSize{new_small, new_large};
}

// Size after resizing, before the crop that follows.
PixelSize SizeBeforeCrop(const PreprocessSpec& spec, int64_t width, int64_t height) {
  if (spec.crop_first_pct <= 0) return ResizedSize(spec, width, height);
  const int64_t side =
      std::max<int64_t>(1, std::llround(spec.crop_first_pct * static_cast<double>(std::min(width, height))));
  return ResizedSize(spec, side, side);
}

// The part that crop_first_pct leaves; none when it is 0.
std::optional<Box> FirstCrop(const PreprocessSpec& spec, const ImageView& view) {
  if (spec.crop_first_pct <= 0) return std::nullopt;
  const double width = static_cast<double>(view.width), height = static_cast<double>(view.height);
  const double side = std::min(width, height) * spec.crop_first_pct;
  const double left = (width - side) / 2, top = (height - side) / 2;
  return Box{static_cast<float>(left), static_cast<float>(top), static_cast<float>(left + side),
             static_cast<float>(top + side)};
}

// Bytes to floats, onto the place of the crop in `out` [out_size.height, out_size.width, 3]; around it black.
void WritePixels(const PreprocessSpec& spec, const ImageView& view, const CropPlace& rows, const CropPlace& columns,
                 const PixelSize& out_size, float* out) {
  const ByteTable table = MakeByteTable(spec);
  base::ParallelFor(out_size.height, std::max<int64_t>(1, (1 << 16) / out_size.width), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      float* to = out + y * out_size.width * 3;
      const bool is_inside = y >= rows.to && y < rows.to + rows.count;
      if (!is_inside || columns.count < out_size.width) {
        for (int64_t i = 0; i < out_size.width * 3; ++i) to[i] = table[i % 3][0];
      }
      if (!is_inside) continue;
      const uint8_t* from = view.row(y - rows.to);
      to += columns.to * 3;
      for (int64_t x = 0; x < columns.count; ++x, from += 3, to += 3) {
        to[0] = table[0][from[0]];
        to[1] = table[1][from[1]];
        to[2] = table[2][from[2]];
      }
    }
  });
}

void PreprocessTo(const Image& image, const PreprocessSpec& spec, float* out) {
  const ImageView view = ViewOf(image);
  const std::optional<Box> box = FirstCrop(spec, view);
  const PixelSize size = SizeBeforeCrop(spec, view.width, view.height);
  const PixelSize out_size = spec.do_center_crop ? PixelSize{spec.crop_height, spec.crop_width} : size;
  const CropPlace rows = PlaceCrop(size.height, out_size.height), columns = PlaceCrop(size.width, out_size.width);
  // Only what the crop keeps is resized: a picture of 1x20000 px, its short side enlarged to 224, would be a gigapixel.
  const Rectangle window = {columns.from, rows.from, columns.count, rows.count};
  if (!box && size.width == view.width && size.height == view.height) {
    return WritePixels(spec, Cropped(view, window), rows, columns, out_size, out);
  }
  Image resized = Image::Allocate(window.width, window.height);
  ResizeInto(view, {.width = size.width, .height = size.height, .filter = spec.resample, .box = box, .window = window},
             resized.mutable_row(0));
  WritePixels(spec, ViewOf(resized), rows, columns, out_size, out);
}

}  // namespace

PreprocessSpec PreprocessSpec::FromConfig(const base::Config& config) {
  RefuseUnknown(config);
  const Defaults& defaults = DefaultsOf(config);
  PreprocessSpec spec;
  spec.do_resize = config.Get<bool>("do_resize", true);
  spec.size = ReadSize(config, defaults);
  const int64_t resample = config.Get<int64_t>("resample", static_cast<int64_t>(defaults.resample));
  Require(resample >= 0 && resample <= 5, "[preprocess] ", config.source(), ": expected resample from 0 to 5, got ",
          resample);
  spec.resample = static_cast<Filter>(resample);
  ReadCrop(config, defaults, spec);
  spec.do_rescale = config.Get<bool>("do_rescale", true);
  spec.rescale_factor = config.Get<double>("rescale_factor", 1.0 / 255);
  spec.rescale_offset = config.Get<bool>("rescale_offset", false);
  spec.do_normalize = config.Get<bool>("do_normalize", true);
  spec.mean = ReadColors(config, "image_mean", defaults.mean);
  spec.std = ReadColors(config, "image_std", defaults.std);
  spec.include_top = config.Get<bool>("include_top", defaults.include_top);
  Require(std::isfinite(spec.rescale_factor), "[preprocess] ", config.source(), ": rescale_factor is not finite");
  for (int c = 0; c < 3; ++c) {
    Require(std::isfinite(spec.mean[c]) && std::isfinite(spec.std[c]) && spec.std[c] != 0, "[preprocess] ",
            config.source(), ": expected finite image_mean and image_std, image_std not 0");
  }
  return spec;
}

std::string PreprocessSpec::ToString() const {
  std::string text;
  if (crop_first_pct > 0) text += base::StrCat("centre square of ", crop_first_pct, " of the short side, ");
  if (do_resize && size.shortest_edge == 0)
    text += base::StrCat("resize to ", size.width, "x", size.height, " ", FilterName(resample), ", ");
  if (do_resize && size.shortest_edge > 0)
    text += base::StrCat("resize the short side to ", size.shortest_edge, " ", FilterName(resample), ", ");
  if (do_center_crop) text += base::StrCat("centre crop ", crop_width, "x", crop_height, ", ");
  if (do_rescale) text += base::StrCat("times ", rescale_factor, rescale_offset ? " minus 1, " : ", ");
  if (do_normalize) text += base::StrCat("mean ", base::Join(mean, "/"), ", std ", base::Join(std, "/"), ", ");
  if (include_top) text += "std again, ";
  return text.empty() ? "none" : text.substr(0, text.size() - 2);
}

PixelSize OutputSize(const PreprocessSpec& spec, int64_t width, int64_t height) {
  Require(width >= 1 && height >= 1, "[preprocess] expected a picture, got ", width, "x", height, " px");
  if (spec.do_center_crop) return {spec.crop_height, spec.crop_width};
  const PixelSize size = SizeBeforeCrop(spec, width, height);
  if (size.height > kMaxPixels / size.width) {
    Fail(ErrorCode::kResourceExhausted, "[preprocess] a picture of ", width, "x", height, " px would become ",
         size.width, "x", size.height, ", more than ", kMaxPixels, " pixels");
  }
  return size;
}

Tensor Preprocess(const Image& image, const PreprocessSpec& spec) {
  const PixelSize size = OutputSize(spec, image.width, image.height);
  Tensor pixels = Tensor::Empty({size.height, size.width, 3});
  PreprocessTo(image, spec, pixels.mutable_data<float>());
  return pixels;  // [Y,X,3]
}

void PreprocessInto(const Image& image, const PreprocessSpec& spec, const Tensor& batch, int64_t row) {
  const auto [B, Y, X, C] = batch.Dims<4>("pixels");
  const PixelSize size = OutputSize(spec, image.width, image.height);
  Require(batch.is_contiguous() && C == 3 && row >= 0 && row < B && Y == size.height && X == size.width,
          "[preprocess] expected a contiguous batch [B,", size.height, ",", size.width, ",3] with row ", row, ", got ",
          batch.shape());
  PreprocessTo(image, spec, batch.mutable_data<float>() + row * Y * X * C);
}

}  // namespace fovea::media
