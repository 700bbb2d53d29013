// The operations on 8-bit RGB pictures that augmentation is made of, equal to Pillow's bit for bit where Pillow has
// them: ImageEnhance, ImageOps, Image.transform, and torchvision's adjust_hue on Pillow pictures.
#pragma once

#include <cstdint>

#include "fovea/image.h"

namespace fovea::train {

// Away from black, from the mean grey, from the pixel's own grey, from a smoothed copy: factor 0 gives that, 1 the
// picture itself, more exaggerates. factor >= 0.
void AdjustBrightness(Image& image, double factor);
void AdjustContrast(Image& image, double factor);
void AdjustSaturation(Image& image, double factor);
void AdjustSharpness(Image& image, double factor);
// Turns the hue by `shift` of the circle, -0.5..0.5.
void AdjustHue(Image& image, double shift);

// RandAugment's set (Cubuk et al. 2020), with the ranges of torchvision.
enum class PictureOperation : uint8_t {
  kIdentity,
  kAutoContrast,
  kEqualize,
  kBrightness,
  kContrast,
  kSaturation,
  kSharpness,
  kPosterize,
  kSolarize,
  kRotate,
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY
};
inline constexpr int64_t kPictureOperations = 14;

// `strength` -1..1: 0 changes nothing or little, 1 is the strongest of torchvision's RandAugment. Negative goes the
// other way where there is one (darker, to the left) and counts by its size elsewhere. What comes from outside the
// picture is grey (128); between pixels it is bilinear.
void ApplyOperation(Image& image, PictureOperation operation, double strength);

}  // namespace fovea::train
