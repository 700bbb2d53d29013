#include "train/data/picture_ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

namespace fovea::train {
namespace {

constexpr uint8_t kOutside = 128;
constexpr double kLargestFactor = 0.9, kLargestShear = 0.3, kLargestAngle = 30, kLargestShift = 150.0 / 331.0;

// Pillow's convert("L").
int Grey(const uint8_t* p) { return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16; }

// Pillow's Image.blend: from `base` to `value` and beyond, in float, cut off to whole numbers.
uint8_t Blended(int base, int value, float factor) {
  const float mixed = static_cast<float>(base) + factor * static_cast<float>(value - base);
  return mixed <= 0.0f ? 0 : mixed >= 255.0f ? 255 : static_cast<uint8_t>(mixed);
}

template <typename Function>
void ForEachPixel(Image& image, Function&& function) {
  uint8_t* p = image.rgb.get();
  for (int64_t i = 0; i < image.width * image.height; ++i, p += 3) function(p);
}

template <typename Function>
void MapValues(Image& image, Function&& function) {
  std::array<uint8_t, 256> table{};
  for (int i = 0; i < 256; ++i) table[static_cast<size_t>(i)] = function(i);
  for (int64_t i = 0; i < image.size_bytes(); ++i) image.rgb.get()[i] = table[image.rgb.get()[i]];
}

void AutoContrast(Image& image) {
  for (int c = 0; c < 3; ++c) {
    int low = 255, high = 0;
    ForEachPixel(image, [&](const uint8_t* p) {
      low = std::min<int>(low, p[c]);
      high = std::max<int>(high, p[c]);
    });
    if (high <= low) continue;
    const double scale = 255.0 / (high - low), offset = -low * scale;
    ForEachPixel(image, [&](uint8_t* p) {
      p[c] = static_cast<uint8_t>(std::clamp(static_cast<int>(p[c] * scale + offset), 0, 255));
    });
  }
}

void Equalize(Image& image) {
  for (int c = 0; c < 3; ++c) {
    std::array<int64_t, 256> count{};
    ForEachPixel(image, [&](const uint8_t* p) { ++count[p[c]]; });
    int64_t last = 0, used = 0;
    for (const int64_t n : count) {
      if (n > 0) {
        last = n;
        ++used;
      }
    }
    const int64_t step = (image.width * image.height - last) / 255;
    if (used <= 1 || step == 0) continue;
    std::array<uint8_t, 256> table{};
    int64_t sum = step / 2;
    for (size_t i = 0; i < 256; ++i) {
      table[i] = static_cast<uint8_t>(std::min<int64_t>(255, sum / step));
      sum += count[i];
    }
    ForEachPixel(image, [&](uint8_t* p) { p[c] = table[p[c]]; });
  }
}

// The result's pixel (x, y) is taken from (m0 x + m1 y + m2, m3 x + m4 y + m5), middles of pixels at .5: Pillow's
// Image.transform(AFFINE, BILINEAR).
void Affine(Image& image, const std::array<double, 6>& m) {
  const Image before = image;
  image = Image::Allocate(before.width, before.height);
  const int64_t W = before.width, H = before.height;
  for (int64_t y = 0; y < H; ++y) {
    for (int64_t x = 0; x < W; ++x) {
      const double at_x = static_cast<double>(x) + 0.5, at_y = static_cast<double>(y) + 0.5;
      const double sx = m[0] * at_x + m[1] * at_y + m[2], sy = m[3] * at_x + m[4] * at_y + m[5];
      uint8_t* out = image.mutable_row(y) + x * 3;
      if (sx < 0 || sy < 0 || sx >= static_cast<double>(W) || sy >= static_cast<double>(H)) {
        std::memset(out, kOutside, 3);
        continue;
      }
      const auto x0 = static_cast<int64_t>(std::floor(sx - 0.5)), y0 = static_cast<int64_t>(std::floor(sy - 0.5));
      const double u = sx - 0.5 - static_cast<double>(x0), v = sy - 0.5 - static_cast<double>(y0);
      const int64_t left = std::clamp<int64_t>(x0, 0, W - 1) * 3, right = std::clamp<int64_t>(x0 + 1, 0, W - 1) * 3;
      const uint8_t *above = before.row(std::clamp<int64_t>(y0, 0, H - 1)),
                    *below = before.row(std::clamp<int64_t>(y0 + 1, 0, H - 1));
      for (int c = 0; c < 3; ++c) {
        const double upper = above[left + c] * (1.0 - u) + above[right + c] * u;
        const double lower = below[left + c] * (1.0 - u) + below[right + c] * u;
        out[c] = static_cast<uint8_t>(upper * (1.0 - v) + lower * v);
      }
    }
  }
}

// Counter-clockwise about the middle, degrees.
void Rotate(Image& image, double angle) {
  const double radians = -angle * M_PI / 180, c = std::cos(radians), s = std::sin(radians);
  const double x = static_cast<double>(image.width) / 2, y = static_cast<double>(image.height) / 2;
  Affine(image, {c, s, x - c * x - s * y, -s, c, y + s * x - c * y});
}

}  // namespace

void AdjustBrightness(Image& image, double factor) {
  MapValues(image, [f = static_cast<float>(factor)](int v) { return Blended(0, v, f); });
}

void AdjustContrast(Image& image, double factor) {
  double sum = 0;
  ForEachPixel(image, [&](const uint8_t* p) { sum += Grey(p); });
  const int mean = static_cast<int>(sum / static_cast<double>(image.width * image.height) + 0.5);
  MapValues(image, [&, f = static_cast<float>(factor)](int v) { return Blended(mean, v, f); });
}

void AdjustSaturation(Image& image, double factor) {
  const auto f = static_cast<float>(factor);
  ForEachPixel(image, [&](uint8_t* p) {
    const int grey = Grey(p);
    for (int c = 0; c < 3; ++c) p[c] = Blended(grey, p[c], f);
  });
}

// Pillow's SMOOTH filter: 5 in the middle, 1 around, of 13; the rim stays.
void AdjustSharpness(Image& image, double factor) {
  const int64_t stride = image.width * 3;
  const auto f = static_cast<float>(factor);
  const std::vector<uint8_t> before(image.data(), image.data() + image.size_bytes());
  for (int64_t y = 1; y + 1 < image.height; ++y) {
    for (int64_t x = 3; x + 3 < stride; ++x) {
      const uint8_t* p = before.data() + y * stride + x;
      int sum = 4 * p[0];
      for (const int64_t row : {-stride, int64_t{0}, stride}) sum += p[row - 3] + p[row] + p[row + 3];
      image.mutable_row(y)[x] = Blended(static_cast<int>(std::floor(sum / 13.0 + 0.5)), p[0], f);
    }
  }
}

// Pillow's conversions to HSV of 8 bits and back.
void AdjustHue(Image& image, double shift) {
  const auto turn = static_cast<uint8_t>(static_cast<int>(shift * 255));
  ForEachPixel(image, [&](uint8_t* p) {
    const int r = p[0], g = p[1], b = p[2], high = std::max({r, g, b}), low = std::min({r, g, b});
    uint8_t hue = 0;
    int saturation = 0;
    if (high != low) {
      const auto range = static_cast<float>(high - low);
      const float from_r = static_cast<float>(high - r) / range, from_g = static_cast<float>(high - g) / range,
                  from_b = static_cast<float>(high - b) / range;
      float h = r == high   ? from_b - from_g
                : g == high ? static_cast<float>(2.0 + from_r - from_b)
                            : static_cast<float>(4.0 + from_g - from_r);
      h = static_cast<float>(std::fmod(h / 6.0 + 1.0, 1.0));
      hue = static_cast<uint8_t>(static_cast<int>(h * 255.0));
      saturation = static_cast<int>(range / static_cast<float>(high) * 255.0);
    }
    hue = static_cast<uint8_t>(hue + turn);
    if (saturation == 0) {
      p[0] = p[1] = p[2] = static_cast<uint8_t>(high);
      return;
    }
    const int sector = static_cast<int>(std::floor(static_cast<float>(hue) * 6.0 / 255.0));
    const auto rest = static_cast<float>(static_cast<float>(hue) * 6.0 / 255.0 - static_cast<float>(sector));
    const auto fs = static_cast<float>(static_cast<float>(saturation) / 255.0);
    const auto value = [&](double keep) {
      return static_cast<uint8_t>(std::clamp(static_cast<int>(std::round(high * keep)), 0, 255));
    };
    const uint8_t v = static_cast<uint8_t>(high), x = value(1.0 - fs), y = value(1.0 - fs * rest),
                  z = value(1.0 - fs * (1.0 - rest));
    const std::array<std::array<uint8_t, 3>, 6> colours = {
        {{v, z, x}, {y, v, x}, {x, v, z}, {x, y, v}, {z, x, v}, {v, x, y}}};
    std::copy_n(colours[static_cast<size_t>(sector % 6)].begin(), 3, p);
  });
}

void ApplyOperation(Image& image, PictureOperation operation, double strength) {
  const double factor = 1.0 + kLargestFactor * strength, size = std::fabs(strength), shear = kLargestShear * strength;
  // torchvision cuts the shift to whole pixels, and moves the picture, not the place it is taken from.
  const double shift_x = -std::trunc(kLargestShift * static_cast<double>(image.width) * strength),
               shift_y = -std::trunc(kLargestShift * static_cast<double>(image.height) * strength);
  switch (operation) {
    case PictureOperation::kIdentity: return;
    case PictureOperation::kAutoContrast: return AutoContrast(image);
    case PictureOperation::kEqualize: return Equalize(image);
    case PictureOperation::kBrightness: return AdjustBrightness(image, factor);
    case PictureOperation::kContrast: return AdjustContrast(image, factor);
    case PictureOperation::kSaturation: return AdjustSaturation(image, factor);
    case PictureOperation::kSharpness: return AdjustSharpness(image, factor);
    case PictureOperation::kPosterize: {
      const int mask = 0xFF << static_cast<int>(std::nearbyint(4 * size));
      return MapValues(image, [&](int v) { return static_cast<uint8_t>(v & mask); });
    }
    case PictureOperation::kSolarize:
      return MapValues(image, [&](int v) { return static_cast<uint8_t>(v < 255 * (1 - size) ? v : 255 - v); });
    case PictureOperation::kRotate: return Rotate(image, kLargestAngle * strength);
    case PictureOperation::kShearX: return Affine(image, {1, shear, 0, 0, 1, 0});
    case PictureOperation::kShearY: return Affine(image, {1, 0, 0, shear, 1, 0});
    case PictureOperation::kTranslateX: return Affine(image, {1, 0, shift_x, 0, 1, 0});
    case PictureOperation::kTranslateY: return Affine(image, {1, 0, 0, 0, 1, shift_y});
  }
}

}  // namespace fovea::train
