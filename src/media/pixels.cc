// Steps between stored samples and upright RGB that several decoders share: limits, orientation, alpha, CMYK.
//
// The arithmetic of alpha and CMYK follows Pillow's rounding exactly, because models were trained on what Pillow gave.
#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "media/codec.h"
#include "tensor/allocator.h"

namespace fovea {

Image Image::Allocate(int64_t width, int64_t height) {
  Require(width >= 1 && height >= 1 && width <= (int64_t{1} << 31) && height <= (int64_t{1} << 31) / 3,
          "[image] expected a size of at least 1x1, got ", width, "x", height);
  auto storage = Storage::Allocate(width * height * 3);
  uint8_t* pixels = storage->mutable_data();
  return Image{width, height, std::shared_ptr<uint8_t>(std::move(storage), pixels)};
}

namespace media {

void CheckBudget(const Source& source, int64_t width, int64_t height) {
  if (width < 1 || height < 1) FailDamaged(source, "expected a size of at least 1x1 px, got ", width, "x", height);
  if (width > source.options.max_pixels / height) {
    Fail(ErrorCode::kResourceExhausted, "[image] ", base::PrintableUtf8(source.name), ": ", width, "x", height,
         " px are more than the limit of ", source.options.max_pixels,
         " pixels; hint: raise max_pixels if you trust this file");
  }
}

void SetGeometry(ImageInfo& info, int64_t stored_width, int64_t stored_height, int orientation) {
  info.orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
  info.original_width = info.width = stored_width;
  info.original_height = info.height = stored_height;
  if (info.orientation >= 5) std::swap(info.width, info.height);
}

namespace {

// Where the upright pixel (0,0) lies in the stored picture and how to step from it, in pixels.
struct Walk {
  int64_t start, step_x, step_y;
};

Walk WalkOf(int orientation, int64_t w, int64_t h) {
  switch (orientation) {
    case 2: return {w - 1, -1, w};
    case 3: return {h * w - 1, -1, -w};
    case 4: return {(h - 1) * w, 1, -w};
    case 5: return {0, w, 1};
    case 6: return {(h - 1) * w, -w, 1};
    case 7: return {h * w - 1, -w, -1};
    case 8: return {w - 1, w, -1};
    default: return {0, 1, w};
  }
}

}  // namespace

Image Upright(const Image& stored, int orientation) {
  if (orientation < 2 || orientation > 8) return stored;
  const bool is_turned = orientation >= 5;
  Image upright = Image::Allocate(is_turned ? stored.height : stored.width, is_turned ? stored.width : stored.height);
  const Walk walk = WalkOf(orientation, stored.width, stored.height);
  const uint8_t* in = stored.data();
  // Squares of 32x32 keep both the read and the written side in the first cache when rows become columns.
  constexpr int64_t kTile = 32;
  const int64_t bands = (upright.height + kTile - 1) / kTile;
  base::ParallelFor(bands, std::max<int64_t>(1, (1 << 18) / (kTile * upright.width)), [&](int64_t begin, int64_t end) {
    for (int64_t y0 = begin * kTile; y0 < std::min(end * kTile, upright.height); y0 += kTile) {
      for (int64_t x0 = 0; x0 < upright.width; x0 += kTile) {
        for (int64_t y = y0; y < std::min(y0 + kTile, upright.height); ++y) {
          uint8_t* out = upright.mutable_row(y);
          for (int64_t x = x0; x < std::min(x0 + kTile, upright.width); ++x) {
            const uint8_t* pixel = in + (walk.start + x * walk.step_x + y * walk.step_y) * 3;
            out[x * 3] = pixel[0];
            out[x * 3 + 1] = pixel[1];
            out[x * 3 + 2] = pixel[2];
          }
        }
      }
    }
  });
  return upright;
}

void LayOnWhite(const uint8_t* rgba, int64_t count, uint8_t* rgb) {
  for (int64_t i = 0; i < count; ++i, rgba += 4, rgb += 3) {
    const uint32_t alpha = rgba[3];
    if (alpha == 255) {
      std::memcpy(rgb, rgba, 3);
      continue;
    }
    for (int c = 0; c < 3; ++c) {
      // Seven extra bits of precision, then a rounded division by 255, as in Pillow's AlphaComposite.c.
      const uint32_t sum = (rgba[c] * alpha + 255 * (255 - alpha) + 128) << 7;
      rgb[c] = static_cast<uint8_t>(((sum >> 8) + sum) >> 15);
    }
  }
}

void CmykToRgb(const uint8_t* cmyk, int64_t count, uint8_t* rgb) {
  for (int64_t i = 0; i < count; ++i, cmyk += 4, rgb += 3) {
    const uint32_t light = 255u - cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const uint32_t product = cmyk[c] * light + 128;
      const uint32_t ink = ((product >> 8) + product) >> 8;
      rgb[c] = static_cast<uint8_t>(light > ink ? light - ink : 0);
    }
  }
}

}  // namespace media
}  // namespace fovea
