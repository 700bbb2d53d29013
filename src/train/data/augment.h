// Random changes to a training picture, on 8-bit RGB: crop and resize, flip, colour, and RandAugment's set of
// operations.
//
// Crop, colour and operations follow torchvision's RandomResizedCrop, ColorJitter and RandAugment on Pillow pictures
// (picture_ops.h). Everything is drawn from the given generator, in one order.
#pragma once

#include <cstdint>

#include "fovea/image.h"
#include "media/resize.h"
#include "train/data/random.h"

namespace fovea::train {

struct AugmentOptions {
  bool is_on = true;
  double crop_scale_low = 0.35, crop_scale_high = 1.0;  // share of the area
  double crop_ratio_low = 0.75, crop_ratio_high = 4.0 / 3;
  double flip = 0.5;                                    // probability
  double brightness = 0, contrast = 0, saturation = 0;  // largest change of the factor 1
  double hue = 0;                                       // largest turn, as a share of the circle: 0..0.5
  int64_t operations = 0;                               // RandAugment (Cubuk et al. 2020): how many operations
  double magnitude = 9;                                 // and how strong, 0..10
};

// A random part of `image` at width x height px, changed as `options` say.
Image Augment(const Image& image, int64_t width, int64_t height, media::Filter filter, const AugmentOptions& options,
              Random& random);

// The part that Augment would cut out; exposed for tests.
media::Rectangle RandomCrop(int64_t width, int64_t height, const AugmentOptions& options, Random& random);

}  // namespace fovea::train
