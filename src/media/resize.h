// Resizing of RGB pictures, bit for bit as Pillow's Image.resize does it.
//
// Models are trained on what Pillow makes of a picture, and a resize that is only similar costs accuracy. So the
// arithmetic is Pillow's (version 13): two passes, each a weighted sum in 22-bit fixed point rounded to 8 bits, with
// the filter widened when shrinking (antialias). Which pass is first decides the last bit of many pixels, so Pillow's
// rule for that is followed too. The loops are SIMD (resize_hwy.cc) and run on several threads when the picture is
// large.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "fovea/image.h"

namespace fovea::media {

// The numbers are Pillow's, which preprocessor_config.json uses as "resample".
enum class Filter { kNearest = 0, kLanczos = 1, kBilinear = 2, kBicubic = 3, kBox = 4, kHamming = 5 };

std::string_view FilterName(Filter filter);

// Pixels that belong to somebody else: a picture or a part of one.
struct ImageView {
  const uint8_t* rgb;    // first pixel; [height,width,3] with rows `stride_bytes` apart
  int64_t width;         // px
  int64_t height;        // px
  int64_t stride_bytes;  // at least 3 * width

  const uint8_t* row(int64_t y) const { return rgb + y * stride_bytes; }
};

ImageView ViewOf(const Image& image);

// The part [left, left+width) x [top, top+height), which must lie within `view`; throws kInvalidArgument otherwise.
// What is outside is invisible to a later Resize, unlike with a Box.
struct Rectangle {
  int64_t left, top, width, height;  // px
};
ImageView Cropped(const ImageView& view, const Rectangle& part);

// The region of the source that is mapped to the whole result, in pixels and fractions of them; filters reach beyond
// it. Pillow's `box`, single precision as there.
struct Box {
  float left, top, right, bottom;
};

struct ResizeOptions {
  int64_t width;   // px of the result
  int64_t height;  // px of the result
  Filter filter = Filter::kBicubic;
  std::optional<Box> box;           // default: the whole source
  std::optional<Rectangle> window;  // the part of the result that is wanted and computed; default: all of it
};

// Throws kInvalidArgument for sizes below 1, a box that is empty or reaches outside of the source, or a window outside
// of the result.
Image Resize(const Image& image, const ResizeOptions& options);
// As above, from a view into `out` [height, width, 3] of the result or its window, without padding.
void ResizeInto(const ImageView& view, const ResizeOptions& options, uint8_t* out);

// As above, but without rounding: f32 [height, width, 3], 0 to 255, and beyond where the filter sharpens. Not for
// nearest.
void ResizeFloat(const ImageView& view, const ResizeOptions& options, float* out);

// The boring twin in double precision, for tests: within 1/255 of Resize.
Image ResizeReference(const ImageView& view, const ResizeOptions& options);

// ---- shared by the implementations

// Pillow's weights of one axis: wanted result i is the sum over k < count[i] of weight[i * most_taps + k] *
// source[first[i] + k].
struct AxisWeights {
  int64_t most_taps = 0;
  std::vector<int32_t> first, count;  // [out]
  std::vector<double> weight;         // [out, most_taps], each row sums to 1
};
// One axis of a resize: source positions `from` to `to` (ends of the box) become `out_size` results, of which [begin,
// end) are wanted.
struct Axis {
  int64_t in_size;
  float from, to;
  int64_t out_size, begin, end;
};
AxisWeights MakeAxisWeights(const Axis& axis, Filter filter);  // not for kNearest

// Source positions that nearest-neighbour picks, [end - begin].
std::vector<int32_t> NearestPositions(const Axis& axis);

// `options` checked against the source and taken apart.
struct ResizePlan {
  Axis across, down;
  bool needs_across, needs_down;  // false: this axis is copied
  bool is_down_first;             // rows are added up before columns
};
ResizePlan PlanResize(const ImageView& view, const ResizeOptions& options);

}  // namespace fovea::media
