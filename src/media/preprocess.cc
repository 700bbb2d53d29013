// Preprocessing: crop, resize, crop or pad, and bytes to floats. How configurations are read is in
// preprocess_config.cc.
//
// The last step maps a byte to a float by one table of 256 entries for each colour, computed in the arithmetic of
// transformers (f64 product rounded to f32, then f32). That is exact by construction and faster than computing each
// pixel.
#include "media/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/parallel.h"

namespace fovea::media {
namespace {

constexpr int64_t kMaxPixels = 178'956'970;  // of what a model sees; as many as a picture may have by default

// Float of each byte, for each colour.
using ByteTable = std::array<std::array<float, 256>, 3>;

// The last step for one value of colour c, 0 to 255.
float ToModel(const PreprocessSpec& spec, int c, double pixel) {
  auto value = static_cast<float>(spec.do_rescale ? pixel * spec.rescale_factor : pixel);
  if (spec.do_rescale && spec.rescale_offset) value -= 1.0f;
  if (spec.do_normalize) value = (value - spec.mean[c]) / spec.std[c];
  return spec.include_top ? value / spec.std[c] : value;
}

ByteTable MakeByteTable(const PreprocessSpec& spec) {
  ByteTable table;
  for (int c = 0; c < 3; ++c) {
    for (int byte = 0; byte < 256; ++byte) {
      table[c][byte] = ToModel(spec, c, byte);
    }
  }
  return table;
}

// One side of a centre crop, or of the border around a picture that is smaller.
struct CropPlace {
  int64_t from;   // first pixel of the picture that is used
  int64_t to;     // where it lands
  int64_t count;  // px
};

CropPlace PlaceCrop(int64_t size, int64_t crop, Centring centring) {
  const bool is_torchvision = centring == Centring::kTorchvision;
  if (crop > size) return {0, (crop - size + (is_torchvision ? 0 : 1)) / 2, size};
  const int64_t half_even = std::llrint(static_cast<double>(size - crop) / 2);
  return {is_torchvision ? half_even : (size - crop) / 2, 0, crop};
}

// ResizeKeepRatio of open_clip, but never below 1 px.
PixelSize FittingSize(const ResizeRule& rule, int64_t width, int64_t height) {
  const double across = static_cast<double>(width) / static_cast<double>(rule.width);
  const double down = static_cast<double>(height) / static_cast<double>(rule.height);
  const double ratio = rule.fit == Fit::kInside ? std::max(across, down) : std::min(across, down);
  return {std::max<int64_t>(1, std::llrint(static_cast<double>(height) / ratio)),
          std::max<int64_t>(1, std::llrint(static_cast<double>(width) / ratio))};
}

PixelSize ResizedSize(const PreprocessSpec& spec, int64_t width, int64_t height) {
  if (!spec.do_resize) return {height, width};
  const ResizeRule& rule = spec.size;
  if (rule.shortest_edge == 0 && rule.fit == Fit::kStretch) return {rule.height, rule.width};
  if (rule.shortest_edge == 0) return FittingSize(rule, width, height);
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

// Bytes to floats, onto the place of the crop in `out` [out_size.height, out_size.width, 3]; around it spec.fill.
void WritePixels(const PreprocessSpec& spec, const ImageView& view, const CropPlace& rows, const CropPlace& columns,
                 const PixelSize& out_size, float* out) {
  const ByteTable table = MakeByteTable(spec);
  base::ParallelFor(out_size.height, std::max<int64_t>(1, (1 << 16) / out_size.width), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      float* to = out + y * out_size.width * 3;
      const bool is_inside = y >= rows.to && y < rows.to + rows.count;
      if (!is_inside || columns.count < out_size.width) {
        for (int64_t i = 0; i < out_size.width * 3; ++i) to[i] = table[i % 3][spec.fill];
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
  const CropPlace rows = PlaceCrop(size.height, out_size.height, spec.centring),
                  columns = PlaceCrop(size.width, out_size.width, spec.centring);
  if (spec.resizes_floats) {
    ResizeFloat(view, {.width = size.width, .height = size.height, .filter = spec.resample}, out);
    for (int64_t i = 0; i < size.height * size.width * 3; ++i) out[i] = ToModel(spec, static_cast<int>(i % 3), out[i]);
    return;
  }
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

std::string PreprocessSpec::ToString() const {
  std::string text;
  if (crop_first_pct > 0) text += base::StrCat("centre square of ", crop_first_pct, " of the short side, ");
  if (do_resize && size.shortest_edge == 0)
    text += base::StrCat(size.fit == Fit::kStretch  ? "resize to "
                         : size.fit == Fit::kInside ? "resize to fit inside "
                                                    : "resize to cover ",
                         size.width, "x", size.height, " ", FilterName(resample), ", ");
  if (do_resize && size.shortest_edge > 0)
    text += base::StrCat("resize the short side to ", size.shortest_edge, " ", FilterName(resample), ", ");
  if (do_resize && size.longest_edge > 0) text += base::StrCat("the long side to ", size.longest_edge, " at most, ");
  if (do_resize && resizes_floats) text += "unrounded, ";
  if (do_center_crop) text += base::StrCat("centre crop ", crop_width, "x", crop_height, ", ");
  if (do_center_crop && centring == Centring::kTorchvision) text += "centred as torchvision does, ";
  if (do_center_crop && fill != 0) text += base::StrCat("border ", static_cast<int>(fill), ", ");
  if (do_rescale) text += base::StrCat("times ", rescale_factor, rescale_offset ? " minus 1, " : ", ");
  if (do_normalize) text += base::StrCat("mean ", base::Join(mean, "/"), ", std ", base::Join(std, "/"), ", ");
  if (include_top) text += "std again, ";
  return text.empty() ? "none" : text.substr(0, text.size() - 2);
}

PixelSize OutputSize(const PreprocessSpec& spec, int64_t width, int64_t height) {
  Require(width >= 1 && height >= 1, "[preprocess] expected a picture, got ", width, "x", height, " px");
  const PixelSize size =
      spec.do_center_crop ? PixelSize{spec.crop_height, spec.crop_width} : SizeBeforeCrop(spec, width, height);
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
