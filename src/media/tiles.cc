// Tiles: the size that a picture gets before it is cut, and the cutting.
#include "media/tiles.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace fovea::media {
namespace {

constexpr int64_t kMostTiles = 1024;
constexpr int64_t kMostSide = 4096;  // MAX_IMAGE_SIZE of the reference, px

int64_t UpTo(int64_t side, int64_t multiple) { return (side + multiple - 1) / multiple * multiple; }

// ---- config

std::string ProcessorType(const base::Config& config) {
  auto type = config.Require<std::string>("image_processor_type");
  for (const std::string_view suffix : {"Fast", "Pil"}) {
    if (type.ends_with(suffix)) type.resize(type.size() - suffix.size());
  }
  return type;
}

// The edge of {"longest_edge": px}, which is all that the key may say.
int64_t LongestEdge(const base::Config& config, std::string_view key, int64_t fallback) {
  if (!config.Has(key)) return fallback;
  const base::Config size = config.Object(key);
  int64_t edge = 0;
  size.Read("longest_edge", edge, 1, 16384);
  Require(edge > 0 && size.Keys().size() == 1, "[tiles] ", config.source(), ": expected ", key,
          " with longest_edge alone");
  return edge;
}

// What is left to do with a tile is another processor's, without the keys that are about tiles.
PreprocessSpec PixelsOf(const base::Config& config, std::initializer_list<const char*> others,
                        const nlohmann::json& changes) {
  nlohmann::json rest = config.json();
  for (const char* key : others) rest.erase(key);
  rest.update(changes);
  return PreprocessSpec::FromConfig(base::Config::Parse(rest.dump(), config.source()));
}

void ReadCanvases(const base::Config& config, TileSpec& spec) {
  // "aspect_ratio_setting" of published files says what is the only way here.
  const auto aspect_ratio = config.Get<std::string>("aspect_ratio_setting", "anyres");
  if (aspect_ratio != "anyres")
    Fail(ErrorCode::kUnimplemented, "[tiles] ", config.source(), ": aspect_ratio_setting \"",
         base::PrintableUtf8(aspect_ratio.substr(0, 200)), "\" is not supported; expected anyres");
  spec.pixels = PixelsOf(config, {"image_grid_pinpoints", "do_pad", "aspect_ratio_setting"},
                         {{"image_processor_type", "CLIPImageProcessor"}});
  const PreprocessSpec& pixels = spec.pixels;
  // The reference cuts by the size of the crop and resizes what it has cut; where the two differ, tiles are no tiles.
  spec.tile_px = pixels.size.shortest_edge > 0 ? pixels.size.shortest_edge : pixels.size.height;
  const bool is_square = pixels.size.shortest_edge > 0 || pixels.size.height == pixels.size.width;
  const bool is_cropped_alike =
      !pixels.do_center_crop || (pixels.crop_height == spec.tile_px && pixels.crop_width == spec.tile_px);
  if (!pixels.do_resize || !is_square || !is_cropped_alike || pixels.size.longest_edge > 0 || pixels.crop_first_pct > 0)
    Fail(ErrorCode::kUnimplemented, "[tiles] ", config.source(),
         ": only square tiles are supported, of one size in size and crop_size, with do_resize");
  nlohmann::json sizes = {{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};
  if (config.Has("image_grid_pinpoints")) sizes = config.json().at("image_grid_pinpoints");
  Require(sizes.is_array() && !sizes.empty() && sizes.size() <= 1000, "[tiles] ", config.source(),
          ": expected a list of 1 to 1000 sizes in image_grid_pinpoints");
  const auto is_multiple = [&](const nlohmann::json& side) {
    return side.is_number_integer() && side >= 1 && side <= 65536 && side.get<int64_t>() % spec.tile_px == 0;
  };
  for (const nlohmann::json& size : sizes) {
    Require(size.is_array() && size.size() == 2 && is_multiple(size[0]) && is_multiple(size[1]), "[tiles] ",
            config.source(), ": expected image_grid_pinpoints of pairs of multiples of the tile's ", spec.tile_px,
            " px");
    spec.canvases.push_back({size[0].get<int64_t>(), size[1].get<int64_t>()});
  }
}

void ReadMultiples(const base::Config& config, TileSpec& spec) {
  spec.tiling = Tiling::kMultiples;
  nlohmann::json changes = {{"image_processor_type", "ViTImageProcessor"}};
  if (!config.Has("resample")) changes["resample"] = static_cast<int>(Filter::kLanczos);
  // "video_sampling" is about films.
  spec.pixels = PixelsOf(
      config,
      {"do_pad", "do_image_splitting", "max_image_size", "return_row_col_info", "size", "do_resize", "video_sampling"},
      changes);
  if (spec.pixels.do_center_crop || spec.pixels.crop_first_pct > 0)
    Fail(ErrorCode::kUnimplemented, "[tiles] ", config.source(), ": a crop is not supported");
  spec.pixels.do_resize = false;
  spec.tile_px = LongestEdge(config, "max_image_size", 364);
  if (config.Get<bool>("do_resize", true)) spec.longest_edge = LongestEdge(config, "size", 4 * 364);
  spec.is_split = config.Get<bool>("do_image_splitting", true);
}

// IDEFICS: the picture is stretched to a square.
void ReadWhole(const base::Config& config, TileSpec& spec) {
  spec.tiling = Tiling::kMultiples;
  spec.is_split = false;
  nlohmann::json changes = {{"image_processor_type", "BlipImageProcessor"}};
  if (!config.Has("size")) changes["size"] = config.Get<int64_t>("image_size", 224);
  spec.pixels = PixelsOf(config, {"image_size", "image_num_channels"}, changes);
  const bool is_square = spec.pixels.size.height > 0 && spec.pixels.size.height == spec.pixels.size.width;
  if (!spec.pixels.do_resize || !is_square || spec.pixels.do_center_crop || spec.pixels.crop_first_pct > 0)
    Fail(ErrorCode::kUnimplemented, "[tiles] ", config.source(),
         ": only square pictures are supported, with do_resize and without a crop");
  spec.tile_px = spec.pixels.size.height;
  spec.pixels.do_resize = false;
}

// ---- LLaVA-NeXT

// select_best_resolution: the most of the picture's pixels, then the least border.
PixelSize BestCanvas(const std::vector<PixelSize>& canvases, int64_t width, int64_t height) {
  const auto X = static_cast<double>(width), Y = static_cast<double>(height);
  PixelSize best = canvases[0];
  int64_t most = 0, least_wasted = std::numeric_limits<int64_t>::max();
  for (const PixelSize& canvas : canvases) {
    const double scale = std::min(static_cast<double>(canvas.width) / X, static_cast<double>(canvas.height) / Y);
    const int64_t seen = std::min(static_cast<int64_t>(X * scale) * static_cast<int64_t>(Y * scale), width * height);
    const int64_t wasted = canvas.width * canvas.height - seen;
    if (seen < most || (seen == most && wasted >= least_wasted)) continue;
    most = seen;
    least_wasted = wasted;
    best = canvas;
  }
  return best;
}

// get_patch_output_size: as large as fits, rounded up.
PixelSize FittingSize(const PixelSize& canvas, int64_t width, int64_t height) {
  const double across = static_cast<double>(canvas.width) / static_cast<double>(width);
  const double down = static_cast<double>(canvas.height) / static_cast<double>(height);
  const auto scaled = [](int64_t side, double scale, int64_t most) {
    return std::min(static_cast<int64_t>(std::ceil(static_cast<double>(side) * scale)), most);
  };
  if (across < down) return {scaled(height, across, canvas.height), canvas.width};
  return {canvas.height, scaled(width, down, canvas.width)};
}

// The picture in the middle of a black canvas.
Image OnCanvas(const Image& image, const PixelSize& canvas, Filter filter) {
  const PixelSize size = FittingSize(canvas, image.width, image.height);
  const Image resized = Resize(image, {.width = size.width, .height = size.height, .filter = filter});
  Image whole = Image::Allocate(canvas.width, canvas.height);
  const int64_t left = (canvas.width - size.width) / 2, top = (canvas.height - size.height) / 2;
  for (int64_t y = 0; y < canvas.height; ++y) {
    uint8_t* to = whole.mutable_row(y);
    std::fill_n(to, 3 * canvas.width, uint8_t{0});
    if (y >= top && y < top + size.height) std::copy_n(resized.row(y - top), 3 * size.width, to + 3 * left);
  }
  return whole;
}

// ---- Idefics 3

// The long side becomes longest_edge, the short one follows, even; neither is above kMostSide.
PixelSize SizeByLongEdge(int64_t longest_edge, int64_t width, int64_t height) {
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  const bool is_wide = width >= height;
  const auto other = [&](int64_t edge) {
    return static_cast<int64_t>(is_wide ? static_cast<double>(edge) / ratio : static_cast<double>(edge) * ratio);
  };
  int64_t small = other(longest_edge);
  small = std::max<int64_t>(1, small + small % 2);
  PixelSize size = is_wide ? PixelSize{small, longest_edge} : PixelSize{longest_edge, small};
  const double new_ratio = static_cast<double>(size.width) / static_cast<double>(size.height);
  if (size.width >= size.height && size.width > kMostSide) {
    size = {static_cast<int64_t>(kMostSide / new_ratio), kMostSide};
  } else if (size.height > size.width && size.height > kMostSide) {
    size = {kMostSide, static_cast<int64_t>(kMostSide * new_ratio)};
  }
  return {std::max<int64_t>(1, size.height), std::max<int64_t>(1, size.width)};
}

// Multiples of the tile: the long side rounded up, the short one after it.
PixelSize SizeInTiles(int64_t tile, int64_t width, int64_t height) {
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  if (width >= height) {
    const int64_t across = UpTo(width, tile);
    return {UpTo(static_cast<int64_t>(static_cast<double>(across) / ratio), tile), across};
  }
  const int64_t down = UpTo(height, tile);
  return {down, UpTo(static_cast<int64_t>(static_cast<double>(down) * ratio), tile)};
}

// ---- both

void CheckCount(int64_t rows, int64_t columns) {
  if (rows * columns <= kMostTiles) return;
  Fail(ErrorCode::kResourceExhausted, "[tiles] a picture would become ", rows, "x", columns, " tiles, more than ",
       kMostTiles, "; hint: a picture that is less long and thin");
}

// Tile (row, column) of `whole`.
Image Cut(const Image& whole, int64_t tile, int64_t row, int64_t column) {
  Image part = Image::Allocate(tile, tile);
  for (int64_t y = 0; y < tile; ++y)
    std::copy_n(whole.row(row * tile + y) + 3 * column * tile, 3 * tile, part.mutable_row(y));
  return part;
}

// The tiles' pixels, one below the other: [R,Y,X,3].
Tensor PixelsOf(const std::vector<Image>& parts, const PreprocessSpec& spec) {
  const PixelSize size = OutputSize(spec, parts[0].width, parts[0].height);
  const Tensor pixels = Tensor::Empty({static_cast<int64_t>(parts.size()), size.height, size.width, 3});
  for (size_t i = 0; i < parts.size(); ++i) PreprocessInto(parts[i], spec, pixels, static_cast<int64_t>(i));
  return pixels;
}

}  // namespace

TileSpec TileSpec::FromConfig(const base::Config& config) {
  if (config.Has("image_processor")) return FromConfig(config.Object("image_processor"));
  const std::string type = ProcessorType(config);
  TileSpec spec;
  if (type == "LlavaNextImageProcessor") {
    ReadCanvases(config, spec);
  } else if (type == "Idefics3ImageProcessor" || type == "SmolVLMImageProcessor") {
    ReadMultiples(config, spec);
  } else if (type == "IdeficsImageProcessor") {
    ReadWhole(config, spec);
  } else {
    Fail(ErrorCode::kUnimplemented, "[tiles] ", config.source(),
         ": expected LlavaNextImageProcessor, Idefics3ImageProcessor, SmolVLMImageProcessor or IdeficsImageProcessor, ",
         "got ", base::PrintableUtf8(type.substr(0, 200)));
  }
  return spec;
}

std::string TileSpec::ToString() const {
  std::string how;
  if (tiling == Tiling::kCanvas) {
    how = base::StrCat("on ", canvases.size(), " canvases, ");
  } else if (!is_split) {
    how = "one a picture, ";
  } else if (longest_edge > 0) {
    how = base::StrCat("the long side ", longest_edge, ", ");
  }
  return base::StrCat("tiles of ", tile_px, "x", tile_px, " px, ", how, pixels.ToString());
}

Tiles MakeTiles(const Image& image, const TileSpec& spec) {
  const int64_t tile = spec.tile_px;
  const Filter filter = spec.pixels.resample;
  const auto resized = [&](const Image& from, const PixelSize& size) {
    return Resize(from, {.width = size.width, .height = size.height, .filter = filter});
  };
  if (spec.tiling == Tiling::kMultiples && !spec.is_split) {
    const Image first =
        spec.longest_edge > 0 ? resized(image, SizeByLongEdge(spec.longest_edge, image.width, image.height)) : image;
    return {PixelsOf({resized(first, {tile, tile})}, spec.pixels), 0, 0};
  }
  std::vector<Image> parts;
  Image whole;
  if (spec.tiling == Tiling::kCanvas) {
    const PixelSize canvas = BestCanvas(spec.canvases, image.width, image.height);
    CheckCount(canvas.height / tile, canvas.width / tile);
    parts.push_back(resized(image, {tile, tile}));
    whole = OnCanvas(image, canvas, filter);
  } else {
    const PixelSize first = spec.longest_edge > 0 ? SizeByLongEdge(spec.longest_edge, image.width, image.height)
                                                  : PixelSize{image.height, image.width};
    const PixelSize size = SizeInTiles(tile, first.width, first.height);
    CheckCount(size.height / tile, size.width / tile);
    whole = resized(resized(image, first), size);
    if (size.height == tile && size.width == tile) return {PixelsOf({whole}, spec.pixels), 0, 0};
  }
  const int64_t rows = whole.height / tile, columns = whole.width / tile;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) parts.push_back(Cut(whole, tile, row, column));
  }
  if (spec.tiling == Tiling::kMultiples) parts.push_back(resized(whole, {tile, tile}));
  return {PixelsOf(parts, spec.pixels), rows, columns};
}

}  // namespace fovea::media
