// From the JSON of transformers and open_clip to a PreprocessSpec.
//
// What a key means depends on the processor that the file names, so the defaults of each are a row of a table here. A
// key that is neither understood nor known to leave the pixels alone is refused by name, unless it is null or false.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "media/preprocess.h"

namespace fovea::media {
namespace {

using Colors = std::array<float, 3>;
constexpr Colors kHalf = {0.5f, 0.5f, 0.5f};
constexpr Colors kImageNetMean = {0.485f, 0.456f, 0.406f}, kImageNetStd = {0.229f, 0.224f, 0.225f};
constexpr Colors kClipMean = {0.48145466f, 0.4578275f, 0.40821073f}, kClipStd = {0.26862954f, 0.26130258f, 0.27577711f};

// What transformers assumes where a config is silent, by processor. `is_square`: an integer "size" means both sides.
struct Defaults {
  std::string_view processor;
  ResizeRule size;
  bool is_square;
  Filter resample;
  int64_t crop = 0;  // px; 0: none, a config that crops must say how large
  bool do_center_crop = false;
  Colors mean = kHalf, std = kHalf;
};

constexpr ResizeRule Square(int64_t side) { return {.height = side, .width = side}; }
constexpr ResizeRule Shortest(int64_t side) { return {.shortest_edge = side}; }

// IMAGENET_STANDARD_MEAN of transformers is one half; IMAGENET_DEFAULT_MEAN is ImageNet's.
constexpr Defaults kDefaults[] = {
    {"ViT", Square(224), true, Filter::kBilinear},
    {"DeiT", Square(256), true, Filter::kBicubic, 224, true},
    {"CLIP", Shortest(224), false, Filter::kBicubic, 224, true, kClipMean, kClipStd},
    {"ChineseCLIP", Shortest(224), false, Filter::kBicubic, 224, true, kClipMean, kClipStd},
    {"Blip", Square(384), true, Filter::kBicubic, 0, false, kClipMean, kClipStd},
    {"Siglip", Square(224), false, Filter::kBicubic},
    {"Bit", Shortest(224), false, Filter::kBicubic, 224, true, kClipMean, kClipStd},
    {"ViTHybrid", Shortest(224), false, Filter::kBicubic, 224, true, kClipMean, kClipStd},
    {"DINOv3ViT", Square(224), true, Filter::kBilinear, 0, false, kImageNetMean, kImageNetStd},
    {"ConvNext", Shortest(384), false, Filter::kBicubic},
    {"EfficientNet", Square(346), true, Filter::kBicubic, 289},
    {"Torchvision", Shortest(256), false, Filter::kBilinear, 224, true, kImageNetMean, kImageNetStd},
};

// The processor that transformers takes for a model_type.
struct ProcessorOfModel {
  std::string_view model_type, processor;
};
constexpr ProcessorOfModel kProcessors[] = {
    {"align", "EfficientNet"},
    {"alexnet", "Torchvision"},
    {"bit", "Bit"},
    {"blip", "Blip"},
    {"blip-2", "Blip"},
    {"chinese_clip", "ChineseCLIP"},
    {"clip", "CLIP"},
    {"convnext", "ConvNext"},
    {"convnextv2", "ConvNext"},
    {"deit", "DeiT"},
    {"dinov2", "Bit"},
    {"dinov2_with_registers", "Bit"},
    {"dinov3_vit", "DINOv3ViT"},
    {"efficientnet", "EfficientNet"},
    {"regnet", "ConvNext"},
    {"resnet", "ConvNext"},
    {"siglip", "Siglip"},
    {"siglip2", "Siglip2"},
    {"swin", "ViT"},
    {"swinv2", "ViT"},
    {"vgg", "Torchvision"},
    {"vit", "ViT"},
    {"vit-hybrid", "ViTHybrid"},
};

std::string_view ProcessorOf(std::string_view model_type) {
  for (const auto& [type, processor] : kProcessors) {
    if (type == model_type) return processor;
  }
  return "";
}

// The family of "CLIPImageProcessorFast", "CLIPFeatureExtractor", ...
const Defaults& DefaultsOf(const base::Config& config, std::string_view model_type) {
  auto type = config.Get<std::string>("image_processor_type", config.Get<std::string>("feature_extractor_type", ""));
  if (type.empty()) {
    const std::string_view processor = ProcessorOf(model_type);
    if (processor.empty()) return kDefaults[0];
    type = base::StrCat(processor, "ImageProcessor");
  }
  std::string_view family = type;
  for (const std::string_view suffix : {"Fast", "Pil"}) {
    if (family.ends_with(suffix)) family.remove_suffix(suffix.size());
  }
  for (const Defaults& defaults : kDefaults) {
    for (const std::string_view suffix : {"ImageProcessor", "FeatureExtractor"}) {
      if (family.starts_with(defaults.processor) && family.substr(defaults.processor.size()) == suffix) return defaults;
    }
  }
  const std::string_view hint =
      family == "Siglip2ImageProcessor" ? "; hint: it makes patches of varying number, see PatchSpec" : "";
  Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(), ": image_processor_type ",
       base::PrintableUtf8(type.substr(0, 200)), " is not supported", hint);
}

// Keys that are understood, and those that leave the pixels alone: what pictures come in, how results are handed over,
// who wrote the file. "data_format" is the order of the reference's result; ours is always [Y,X,3].
constexpr std::string_view kKnown[] = {
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor", "rescale_offset",
    "do_normalize", "image_mean", "image_std", "include_top", "crop_first", "crop_pct", "default_to_square",
    "image_processor_type", "feature_extractor_type",
    // of no consequence
    "do_convert_rgb", "data_format", "input_data_format", "return_tensors", "device", "disable_grouping",
    "image_seq_length", "model_input_names", "processor_class", "auto_map", "transformers_version", "num_channels",
    "name_or_path", "_name_or_path", "_commit_hash", "_processor_class", "_valid_processor_keys", "_valid_kwargs_names",
    "model_valid_processing_keys"};

void RefuseUnknown(const base::Config& config) {
  for (const std::string& key : config.Keys()) {
    const bool is_off = !config.Has(key) || config.json().at(key) == false;
    if (is_off || std::find(std::begin(kKnown), std::end(kKnown), key) != std::end(kKnown)) continue;
    Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(), ": option \"",
         base::PrintableUtf8(key.substr(0, 200)), "\" is not supported");
  }
}

// A side in pixels from a config.
int64_t Side(const base::Config& config, std::string_view key, int64_t value) {
  Require(value >= 1 && value <= 16384, "[preprocess] ", config.source(), ": expected ", key, " from 1 to 16384, got ",
          value);
  return value;
}

// [height, width] of a list of two, or of one for both.
ResizeRule ReadPair(const base::Config& config, std::string_view key) {
  const auto sides = config.Require<std::vector<int64_t>>(key);
  Require(sides.size() == 2, "[preprocess] ", config.source(), ": expected ", key, " with 2 numbers, got ",
          sides.size());
  return {.height = Side(config, key, sides[0]), .width = Side(config, key, sides[1])};
}

ResizeRule ReadSize(const base::Config& config, const Defaults& defaults) {
  if (!config.Has("size")) return defaults.size;
  if (config.json().at("size").is_array()) return ReadPair(config, "size");
  if (!config.json().at("size").is_object()) {
    const int64_t side = Side(config, "size", config.Require<int64_t>("size"));
    return config.Get<bool>("default_to_square", defaults.is_square) ? Square(side) : Shortest(side);
  }
  const base::Config size = config.Object("size");
  ResizeRule rule;
  for (const std::string& key : size.Keys()) {
    if (!size.Has(key)) continue;
    int64_t* field = key == "height"          ? &rule.height
                     : key == "width"         ? &rule.width
                     : key == "shortest_edge" ? &rule.shortest_edge
                     : key == "longest_edge"  ? &rule.longest_edge
                                              : nullptr;
    if (field == nullptr) {
      Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(), ": size by \"",
           base::PrintableUtf8(key.substr(0, 200)), "\" is not supported");
    }
    *field = Side(size, key, size.Require<int64_t>(key));
  }
  const bool is_fixed = rule.height > 0 && rule.width > 0 && rule.shortest_edge == 0 && rule.longest_edge == 0;
  const bool is_by_edge = rule.shortest_edge > 0 && rule.height == 0 && rule.width == 0;
  Require(is_fixed || is_by_edge, "[preprocess] ", config.source(),
          ": expected size with height and width, or with shortest_edge (and longest_edge)");
  return rule;
}

// Ours: the crop comes before resizing.
void ReadCropFirst(const base::Config& config, PreprocessSpec& spec) {
  spec.crop_first_pct = config.Get<double>("crop_pct", 1.0);
  Require(spec.crop_first_pct > 0 && spec.crop_first_pct <= 1, "[preprocess] ", config.source(),
          ": expected crop_pct in (0, 1], got ", spec.crop_first_pct);
  Require(spec.do_resize && config.Get<bool>("do_center_crop", true) && !config.Has("crop_size"), "[preprocess] ",
          config.source(), ": crop_first needs do_resize and do_center_crop, and takes no crop_size");
}

void ReadCrop(const base::Config& config, const Defaults& defaults, PreprocessSpec& spec) {
  spec.do_center_crop = config.Get<bool>("do_center_crop", defaults.do_center_crop);
  spec.crop_height = spec.crop_width = defaults.crop;
  if (config.Has("crop_size") && config.json().at("crop_size").is_object()) {
    const base::Config crop = config.Object("crop_size");
    spec.crop_height = Side(crop, "crop_size", crop.Require<int64_t>("height"));
    spec.crop_width = Side(crop, "crop_size", crop.Require<int64_t>("width"));
  } else if (config.Has("crop_size") && config.json().at("crop_size").is_array()) {
    const ResizeRule crop = ReadPair(config, "crop_size");
    spec.crop_height = crop.height;
    spec.crop_width = crop.width;
  } else if (config.Has("crop_size")) {
    spec.crop_height = spec.crop_width = Side(config, "crop_size", config.Require<int64_t>("crop_size"));
  }
  Require(!spec.do_center_crop || spec.crop_height > 0, "[preprocess] ", config.source(),
          ": do_center_crop needs crop_size");
}

// ConvNext: below 384 px the short side becomes size / crop_pct and the centre of that size is cropped out; from 384
// on the picture is stretched to the square.
void ApplyConvNext(const base::Config& config, PreprocessSpec& spec) {
  const double crop_pct = config.Get<double>("crop_pct", 224.0 / 256);
  const int64_t side = spec.size.shortest_edge;
  Require(crop_pct > 0 && crop_pct <= 1, "[preprocess] ", config.source(), ": expected crop_pct in (0, 1], got ",
          crop_pct);
  if (!spec.do_resize) return;
  Require(side > 0 && spec.size.longest_edge == 0, "[preprocess] ", config.source(),
          ": expected size with shortest_edge alone for ConvNext");
  if (side >= 384) {
    spec.size = Square(side);
    return;
  }
  if (spec.do_center_crop)
    Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(),
         ": ConvNext with \"do_center_crop\" besides its own crop is not supported");
  spec.size = Shortest(Side(config, "size / crop_pct", static_cast<int64_t>(static_cast<double>(side) / crop_pct)));
  spec.do_center_crop = true;
  spec.crop_height = spec.crop_width = side;
}

// DINOv3: rescaled first, so that floats are resized, as torchvision does it.
void ApplyDinoV3(const base::Config& config, PreprocessSpec& spec) {
  spec.resizes_floats = spec.do_resize;
  const bool is_fine = spec.resample == Filter::kBilinear || spec.resample == Filter::kBicubic;
  if (spec.do_resize && (!is_fine || spec.do_center_crop || spec.crop_first_pct > 0))
    Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(),
         ": DINOv3 is supported with resample 2 or 3 (bilinear, bicubic) and without a crop");
}

Colors ReadColors(const base::Config& config, std::string_view key, const Colors& fallback) {
  if (!config.Has(key)) return fallback;
  if (config.json().at(std::string(key)).is_number()) {
    const auto value = static_cast<float>(config.Require<double>(key));
    return {value, value, value};
  }
  const auto values = config.Require<std::vector<double>>(key);
  Require(values.size() == 3, "[preprocess] ", config.source(), ": expected ", key, " with 3 numbers, got ",
          values.size());
  return {static_cast<float>(values[0]), static_cast<float>(values[1]), static_cast<float>(values[2])};
}

void CheckNumbers(const base::Config& config, const PreprocessSpec& spec) {
  Require(std::isfinite(spec.rescale_factor), "[preprocess] ", config.source(), ": rescale_factor is not finite");
  for (int c = 0; c < 3; ++c) {
    Require(std::isfinite(spec.mean[c]) && std::isfinite(spec.std[c]) && spec.std[c] != 0, "[preprocess] ",
            config.source(), ": expected finite image_mean and image_std, image_std not 0");
  }
}

}  // namespace

PreprocessSpec PreprocessSpec::FromConfig(const base::Config& config, std::string_view model_type) {
  if (config.Has("image_processor")) return FromConfig(config.Object("image_processor"), model_type);
  const Defaults& defaults = DefaultsOf(config, model_type);
  RefuseUnknown(config);
  const bool is_efficientnet = defaults.processor == "EfficientNet", is_convnext = defaults.processor == "ConvNext";
  PreprocessSpec spec;
  spec.do_resize = config.Get<bool>("do_resize", true);
  spec.size = ReadSize(config, defaults);
  const int64_t resample = config.Get<int64_t>("resample", static_cast<int64_t>(defaults.resample));
  Require(resample >= 0 && resample <= 5, "[preprocess] ", config.source(), ": expected resample from 0 to 5, got ",
          resample);
  spec.resample = static_cast<Filter>(resample);
  if (config.Get<bool>("crop_first", false)) {
    ReadCropFirst(config, spec);
  } else {
    ReadCrop(config, defaults, spec);
    if (is_convnext) ApplyConvNext(config, spec);
    if (!is_convnext && config.Has("crop_pct"))
      Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(),
           ": option \"crop_pct\" is not supported without \"crop_first\", except for ConvNext");
  }
  if (defaults.processor == "Torchvision") spec.centring = Centring::kTorchvision;
  if (defaults.processor == "DINOv3ViT") ApplyDinoV3(config, spec);
  spec.do_rescale = config.Get<bool>("do_rescale", true);
  spec.rescale_factor = config.Get<double>("rescale_factor", 1.0 / 255);
  spec.do_normalize = config.Get<bool>("do_normalize", true);
  spec.mean = ReadColors(config, "image_mean", defaults.mean);
  spec.std = ReadColors(config, "image_std", defaults.std);
  spec.rescale_offset = config.Get<bool>("rescale_offset", false);
  spec.include_top = config.Get<bool>("include_top", is_efficientnet);
  if (!is_efficientnet && (spec.rescale_offset || spec.include_top))
    Fail(ErrorCode::kUnimplemented, "[preprocess] ", config.source(),
         ": options \"rescale_offset\" and \"include_top\" are supported for EfficientNet only");
  CheckNumbers(config, spec);
  return spec;
}

PreprocessSpec PreprocessSpec::OfModel(const base::Config& model_config) {
  const auto model_type = model_config.Get<std::string>("model_type", "");
  if (ProcessorOf(model_type).empty())
    Fail(ErrorCode::kUnimplemented, "[preprocess] ", model_config.source(), ": no default for model_type \"",
         base::PrintableUtf8(model_type.substr(0, 200)), "\"; hint: a preprocessor_config.json says how");
  return FromConfig(base::Config::Parse("{}", model_config.source()), model_type);
}

PreprocessSpec PreprocessSpec::FromOpenClip(const base::Config& config) {
  const bool is_whole = config.Has("model_cfg") || config.Has("preprocess_cfg");
  const base::Config empty = base::Config::Parse("{}", config.source());
  const base::Config cfg = !is_whole ? config : config.Has("preprocess_cfg") ? config.Object("preprocess_cfg") : empty;
  const base::Config model = config.Has("model_cfg") ? config.Object("model_cfg") : empty;
  const base::Config vision = model.Has("vision_cfg") ? model.Object("vision_cfg") : empty;
  Require(cfg.Get<std::string>("mode", "RGB") == "RGB", "[preprocess] ", cfg.source(), ": expected mode RGB");

  PreprocessSpec spec;
  const auto read_size = [](const base::Config& from, const char* key) {
    return from.json().at(key).is_array() ? ReadPair(from, key) : Square(Side(from, key, from.Require<int64_t>(key)));
  };
  spec.size = vision.Has("image_size") ? read_size(vision, "image_size")
              : cfg.Has("size")        ? read_size(cfg, "size")
                                       : Square(224);
  spec.crop_height = spec.size.height;
  spec.crop_width = spec.size.width;
  spec.centring = Centring::kTorchvision;
  spec.mean = ReadColors(cfg, "mean", kClipMean);
  spec.std = ReadColors(cfg, "std", kClipStd);
  const auto interpolation = cfg.Get<std::string>("interpolation", "bicubic");
  Require(interpolation == "bicubic" || interpolation == "bilinear" || interpolation == "random", "[preprocess] ",
          cfg.source(), ": expected interpolation bicubic, bilinear or random, got \"",
          base::PrintableUtf8(interpolation.substr(0, 200)), "\"");
  spec.resample = interpolation == "bilinear" ? Filter::kBilinear : Filter::kBicubic;  // random is for training only
  const auto resize_mode = cfg.Get<std::string>("resize_mode", "shortest");
  Require(resize_mode == "shortest" || resize_mode == "longest" || resize_mode == "squash", "[preprocess] ",
          cfg.source(), ": expected resize_mode shortest, longest or squash, got \"",
          base::PrintableUtf8(resize_mode.substr(0, 200)), "\"");
  spec.do_center_crop = resize_mode != "squash";
  if (resize_mode == "longest") {
    const auto fill = cfg.Get<int64_t>("fill_color", 0);
    Require(fill >= 0 && fill <= 255, "[preprocess] ", cfg.source(), ": expected fill_color from 0 to 255, got ", fill);
    spec.fill = static_cast<uint8_t>(fill);
    spec.size.fit = Fit::kInside;
  } else if (resize_mode == "shortest" && spec.size.height == spec.size.width) {
    spec.size = Shortest(spec.size.height);
  } else if (resize_mode == "shortest") {
    spec.size.fit = Fit::kCover;
    spec.resample = Filter::kBicubic;  // open_clip does not pass the interpolation on for sizes that are no square
  }
  CheckNumbers(cfg, spec);
  return spec;
}

}  // namespace fovea::media
