#include "train/data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "train/data/picture_ops.h"

namespace fovea::train {
namespace {

// torchvision's ColorJitter: each change by a factor of its own, in a random order.
void Jitter(Image& image, const AugmentOptions& options, Random& random) {
  std::array<int, 4> order = {0, 1, 2, 3};
  const int64_t changes = options.hue > 0 ? 4 : 3;
  for (int64_t i = changes - 1; i > 0; --i)
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(random.Below(i + 1))]);
  const std::array<double, 4> most = {options.brightness, options.contrast, options.saturation, options.hue};
  for (int64_t i = 0; i < changes; ++i) {
    const int which = order[static_cast<size_t>(i)];
    const double largest = most[static_cast<size_t>(which)];
    if (largest <= 0) continue;
    if (which == 3) {
      AdjustHue(image, random.Uniform(-largest, largest));
      continue;
    }
    const double factor = random.Uniform(std::max(0.0, 1 - largest), 1 + largest);
    if (which == 0) AdjustBrightness(image, factor);
    if (which == 1) AdjustContrast(image, factor);
    if (which == 2) AdjustSaturation(image, factor);
  }
}

void RandomOperation(Image& image, double strength, Random& random) {
  const auto operation = static_cast<PictureOperation>(random.Below(kPictureOperations));
  ApplyOperation(image, operation, random.Below(2) == 0 ? strength : -strength);
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
