#include "train/data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace fovea::train {
namespace {

uint8_t Clamped(double value) { return static_cast<uint8_t>(std::clamp(value + 0.5, 0.0, 255.0)); }

// Pillow's convert("L").
int Grey(const uint8_t* p) { return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16; }

template <typename Function>
void ForEachPixel(Image& image, Function&& function) {
  uint8_t* p = image.rgb.get();
  for (int64_t i = 0; i < image.width * image.height; ++i, p += 3) function(p);
}

void ForEachValue(Image& image, const std::array<uint8_t, 256>& table) {
  for (int64_t i = 0; i < image.size_bytes(); ++i) image.rgb.get()[i] = table[image.rgb.get()[i]];
}

template <typename Function>
std::array<uint8_t, 256> Table(Function&& function) {
  std::array<uint8_t, 256> table{};
  for (int i = 0; i < 256; ++i) table[static_cast<size_t>(i)] = function(i);
  return table;
}

// Away from black, from the mean grey, from the pixel's own grey: 0 gives that, 1 the picture itself.
void Brightness(Image& image, double factor) {
  ForEachValue(image, Table([&](int v) { return Clamped(v * factor); }));
}
void Contrast(Image& image, double factor) {
  double sum = 0;
  ForEachPixel(image, [&](const uint8_t* p) { sum += Grey(p); });
  const double mean = std::floor(sum / static_cast<double>(image.width * image.height) + 0.5);
  ForEachValue(image, Table([&](int v) { return Clamped(mean + factor * (v - mean)); }));
}
void Saturation(Image& image, double factor) {
  ForEachPixel(image, [&](uint8_t* p) {
    const double grey = Grey(p);
    for (int c = 0; c < 3; ++c) p[c] = Clamped(grey + factor * (p[c] - grey));
  });
}

// Away from Pillow's SMOOTH filter (5 in the middle, 1 around, of 13); the rim stays.
void Sharpness(Image& image, double factor) {
  const int64_t stride = image.width * 3;
  std::vector<uint8_t> before(image.data(), image.data() + image.size_bytes());
  for (int64_t y = 1; y + 1 < image.height; ++y) {
    for (int64_t x = 3; x + 3 < stride; ++x) {
      const uint8_t* p = before.data() + y * stride + x;
      int sum = 4 * p[0];
      for (const int64_t row : {-stride, int64_t{0}, stride}) sum += p[row - 3] + p[row] + p[row + 3];
      const double smooth = std::floor(sum / 13.0 + 0.5);
      image.mutable_row(y)[x] = Clamped(smooth + factor * (p[0] - smooth));
    }
  }
}

void AutoContrast(Image& image) {
  for (int c = 0; c < 3; ++c) {
    int low = 255, high = 0;
    ForEachPixel(image, [&](const uint8_t* p) {
      low = std::min<int>(low, p[c]);
      high = std::max<int>(high, p[c]);
    });
    if (high <= low) continue;
    ForEachPixel(image, [&](uint8_t* p) { p[c] = static_cast<uint8_t>((p[c] - low) * 255 / (high - low)); });
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

// Result pixel (x, y), counted from the middle, is taken from (a x + b y + c, d x + e y + f); grey where that is
// outside.
void Affine(Image& image, const std::array<double, 6>& m) {
  const Image before = image;
  image = Image::Allocate(before.width, before.height);
  const double middle_x = static_cast<double>(before.width - 1) / 2,
               middle_y = static_cast<double>(before.height - 1) / 2;
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      const double dx = static_cast<double>(x) - middle_x, dy = static_cast<double>(y) - middle_y;
      const double sx = m[0] * dx + m[1] * dy + m[2] + middle_x, sy = m[3] * dx + m[4] * dy + m[5] + middle_y;
      uint8_t* out = image.mutable_row(y) + x * 3;
      const auto x0 = static_cast<int64_t>(std::floor(sx)), y0 = static_cast<int64_t>(std::floor(sy));
      if (x0 < 0 || y0 < 0 || x0 + 1 >= before.width || y0 + 1 >= before.height) {
        std::memset(out, 128, 3);
        continue;
      }
      const double u = sx - static_cast<double>(x0), v = sy - static_cast<double>(y0);
      const uint8_t *above = before.row(y0) + x0 * 3, *below = before.row(y0 + 1) + x0 * 3;
      for (int c = 0; c < 3; ++c) {
        out[c] =
            Clamped((1 - v) * ((1 - u) * above[c] + u * above[c + 3]) + v * ((1 - u) * below[c] + u * below[c + 3]));
      }
    }
  }
}

// One of RandAugment's operations at strength 0..1, with the ranges of the paper.
void RandomOperation(Image& image, double strength, Random& random) {
  const int64_t which = random.Below(14);
  const double sign = random.Below(2) == 0 ? 1.0 : -1.0;
  const double factor = 1.0 + sign * 0.9 * strength;
  switch (which) {
    case 0: break;
    case 1: return AutoContrast(image);
    case 2: return Equalize(image);
    case 3: return Brightness(image, factor);
    case 4: return Contrast(image, factor);
    case 5: return Saturation(image, factor);
    case 6: return Sharpness(image, factor);
    case 7: {
      const int mask = 0xFF << std::lround(4 * strength);
      return ForEachValue(image, Table([&](int v) { return static_cast<uint8_t>(v & mask); }));
    }
    case 8: {
      const double threshold = 256 * (1 - strength);
      return ForEachValue(image, Table([&](int v) { return static_cast<uint8_t>(v < threshold ? v : 255 - v); }));
    }
    case 9: {
      const double angle = sign * strength * 30 * M_PI / 180;
      return Affine(image, {std::cos(angle), std::sin(angle), 0, -std::sin(angle), std::cos(angle), 0});
    }
    case 10: return Affine(image, {1, sign * 0.3 * strength, 0, 0, 1, 0});
    case 11: return Affine(image, {1, 0, 0, sign * 0.3 * strength, 1, 0});
    case 12: return Affine(image, {1, 0, sign * 0.3 * strength * static_cast<double>(image.width), 0, 1, 0});
    default: return Affine(image, {1, 0, 0, 0, 1, sign * 0.3 * strength * static_cast<double>(image.height)});
  }
}

void Jitter(Image& image, const AugmentOptions& options, Random& random) {
  std::array<int, 3> order = {0, 1, 2};
  for (int64_t i = 2; i > 0; --i)
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(random.Below(i + 1))]);
  for (const int which : order) {
    const double most = which == 0 ? options.brightness : which == 1 ? options.contrast : options.saturation;
    if (most <= 0) continue;
    const double factor = random.Uniform(std::max(0.0, 1 - most), 1 + most);
    if (which == 0) Brightness(image, factor);
    if (which == 1) Contrast(image, factor);
    if (which == 2) Saturation(image, factor);
  }
}

void Flip(Image& image) {
  for (int64_t y = 0; y < image.height; ++y) {
    uint8_t* row = image.mutable_row(y);
    for (int64_t x = 0; x < image.width / 2; ++x)
      std::swap_ranges(row + x * 3, row + x * 3 + 3, row + (image.width - 1 - x) * 3);
  }
}

}  // namespace

media::Rectangle RandomCrop(int64_t width, int64_t height, const AugmentOptions& options, Random& random) {
  const double area = static_cast<double>(width) * static_cast<double>(height);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random.Uniform(options.crop_scale_low, options.crop_scale_high);
    const double ratio = std::exp(random.Uniform(std::log(options.crop_ratio_low), std::log(options.crop_ratio_high)));
    const int64_t w = std::llround(std::sqrt(target * ratio)), h = std::llround(std::sqrt(target / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    return {.left = random.Below(width - w + 1), .top = random.Below(height - h + 1), .width = w, .height = h};
  }
  // The middle, with the nearest ratio that is allowed.
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  int64_t w = width, h = height;
  if (ratio < options.crop_ratio_low) h = std::llround(static_cast<double>(w) / options.crop_ratio_low);
  if (ratio > options.crop_ratio_high) w = std::llround(static_cast<double>(h) * options.crop_ratio_high);
  w = std::clamp<int64_t>(w, 1, width);
  h = std::clamp<int64_t>(h, 1, height);
  return {.left = (width - w) / 2, .top = (height - h) / 2, .width = w, .height = h};
}

Image Augment(const Image& image, int64_t width, int64_t height, media::Filter filter, const AugmentOptions& options,
              Random& random) {
  const media::Rectangle part = RandomCrop(image.width, image.height, options, random);
  Image result = Image::Allocate(width, height);
  media::ResizeInto(media::Cropped(media::ViewOf(image), part), {.width = width, .height = height, .filter = filter},
                    result.rgb.get());
  if (random.Uniform() < options.flip) Flip(result);
  Jitter(result, options, random);
  for (int64_t i = 0; i < options.operations; ++i) RandomOperation(result, options.magnitude / 10, random);
  return result;
}

}  // namespace fovea::train
