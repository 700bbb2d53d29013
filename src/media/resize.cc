// Resize: Pillow's filter weights, its two passes, and how the work is split over threads. The loops are in resize_hwy.cc.
//
// Weights are computed exactly as in Pillow's Resample.c, in double precision from a box in single precision, since the last bit of a
// weight can decide the rounding of a pixel.
#include "media/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "media/resize_hwy.h"
#include "tensor/allocator.h"

namespace fovea::media {
namespace {

double BoxFilter(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double BilinearFilter(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double HammingFilter(double x) {
  x = std::abs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= M_PI;
  return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
}

double BicubicFilter(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double Sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= M_PI;
  return std::sin(x) / x;
}

double LanczosFilter(double x) { return x >= -3.0 && x < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0; }

struct FilterShape {
  double (*function)(double);
  double support;  // px on either side at scale 1
};

FilterShape ShapeOf(Filter filter) {
  switch (filter) {
    case Filter::kLanczos: return {LanczosFilter, 3.0};
    case Filter::kBilinear: return {BilinearFilter, 1.0};
    case Filter::kBicubic: return {BicubicFilter, 2.0};
    case Filter::kBox: return {BoxFilter, 0.5};
    case Filter::kHamming: return {HammingFilter, 1.0};
    case Filter::kNearest: break;
  }
  Fail(ErrorCode::kInternal, "[resize] nearest has no weights");
}

// Fewest rows that are worth a thread, for rows that cost about `bytes` multiplications.
int64_t RowsPerThread(int64_t bytes) { return std::max<int64_t>(4, (1 << 18) / std::max<int64_t>(bytes, 1)); }

void ResizeNearest(const ImageView& view, const ResizeOptions& options, const Box& box, uint8_t* out) {
  const std::vector<int32_t> columns = NearestPositions(view.width, box.left, box.right, options.width);
  const std::vector<int32_t> rows = NearestPositions(view.height, box.top, box.bottom, options.height);
  base::ParallelFor(options.height, RowsPerThread(options.width * 3), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      const uint8_t* in = view.row(rows[y]);
      uint8_t* pixel = out + y * options.width * 3;
      for (int64_t x = 0; x < options.width; ++x, pixel += 3) std::memcpy(pixel, in + int64_t{3} * columns[x], 3);
    }
  });
}

// Rows [from, to) of `view` resized across to `width`, into `out` with rows `width * 3` bytes apart.
void ResizeAcross(const ImageView& view, int64_t from, int64_t to, const FixedWeights& weights, uint8_t* out) {
  const int64_t width = static_cast<int64_t>(weights.first.size());
  const int64_t readable = ReadableBytes(weights);
  const uint8_t* end_of_view = view.row(view.height - 1) + 3 * view.width;
  base::ParallelFor((to - from + 3) / 4, RowsPerThread(static_cast<int64_t>(weights.weight.size())) / 4, [&](int64_t begin, int64_t end) {
    std::array<std::vector<uint8_t>, 4> padded;
    for (int64_t block = begin; block < end; ++block) {
      const uint8_t* in[4];
      uint8_t* rows_out[4];
      for (int64_t r = 0; r < 4; ++r) {
        const int64_t y = std::min(from + block * 4 + r, to - 1);  // the last block may repeat the last row
        in[r] = view.row(y);
        rows_out[r] = out + (y - from) * width * 3;
        if (end_of_view - in[r] < readable) {  // the loop may read a few bytes past the end of the pixels
          padded[r].assign(static_cast<size_t>(readable), 0);
          std::memcpy(padded[r].data(), in[r], static_cast<size_t>(std::min(readable, 3 * view.width)));
          in[r] = padded[r].data();
        }
      }
      ResizeFourRows(in, weights, rows_out);
    }
  });
}

}  // namespace

std::string_view FilterName(Filter filter) {
  constexpr std::array<std::string_view, 6> kNames = {"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"};
  return kNames[static_cast<size_t>(filter)];
}

ImageView ViewOf(const Image& image) {
  Require(!image.empty(), "[resize] expected a picture, got an empty image");
  return {image.data(), image.width, image.height, image.width * 3};
}

ImageView Cropped(const ImageView& view, const Rectangle& part) {
  Require(part.left >= 0 && part.top >= 0 && part.width >= 1 && part.height >= 1 && part.width <= view.width - part.left &&
              part.height <= view.height - part.top,
          "[crop] expected a part of ", view.width, "x", view.height, " px, got ", part.width, "x", part.height, " at (", part.left, ",",
          part.top, ")");
  return {view.row(part.top) + part.left * 3, part.width, part.height, view.stride_bytes};
}

Box CheckedBox(const ImageView& view, const ResizeOptions& options) {
  Require(options.width >= 1 && options.height >= 1 && options.width <= (1 << 24) && options.height <= (1 << 24),
          "[resize] expected a result of 1 to 16777216 px a side, got ", options.width, "x", options.height);
  const Box box = options.box.value_or(Box{0, 0, static_cast<float>(view.width), static_cast<float>(view.height)});
  Require(box.left >= 0 && box.top >= 0 && box.right <= static_cast<float>(view.width) && box.bottom <= static_cast<float>(view.height) &&
              box.left < box.right && box.top < box.bottom,
          "[resize] expected a box within ", view.width, "x", view.height, " px, got (", box.left, ",", box.top, ")-(", box.right, ",",
          box.bottom, ")");
  return box;
}

AxisWeights MakeAxisWeights(int64_t in_size, float from, float to, int64_t out_size, Filter filter) {
  const FilterShape shape = ShapeOf(filter);
  const double scale = static_cast<double>(to - from) / static_cast<double>(out_size);
  const double filter_scale = std::max(scale, 1.0);
  const double support = shape.support * filter_scale;
  const double inverse = 1.0 / filter_scale;
  AxisWeights axis;
  axis.most_taps = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  axis.first.resize(static_cast<size_t>(out_size));
  axis.count.resize(static_cast<size_t>(out_size));
  axis.weight.resize(static_cast<size_t>(out_size * axis.most_taps));
  for (int64_t i = 0; i < out_size; ++i) {
    const double center = from + (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min<int64_t>(in_size, static_cast<int64_t>(center + support + 0.5));
    double* weight = axis.weight.data() + i * axis.most_taps;
    double sum = 0.0;
    for (int64_t k = 0; k < end - first; ++k) {
      weight[k] = shape.function((static_cast<double>(k + first) - center + 0.5) * inverse);
      sum += weight[k];
    }
    for (int64_t k = 0; k < end - first && sum != 0.0; ++k) weight[k] /= sum;
    axis.first[i] = static_cast<int32_t>(first);
    axis.count[i] = static_cast<int32_t>(end - first);
  }
  return axis;
}

std::vector<int32_t> NearestPositions(int64_t in_size, float from, float to, int64_t out_size) {
  const double scale = static_cast<double>(to - from) / static_cast<double>(out_size);
  std::vector<int32_t> positions(static_cast<size_t>(out_size));
  double position = from + scale * 0.5;  // summed up, not multiplied, as in Pillow
  for (int32_t& place : positions) {
    place = static_cast<int32_t>(std::clamp<int64_t>(static_cast<int64_t>(position), 0, in_size - 1));
    position += scale;
  }
  return positions;
}

void ResizeInto(const ImageView& view, const ResizeOptions& options, uint8_t* out) {
  const Box box = CheckedBox(view, options);
  const bool is_whole = box.left == 0 && box.top == 0 && box.right == static_cast<float>(view.width) && box.bottom == static_cast<float>(view.height);
  const int64_t row_bytes = options.width * 3;
  if (is_whole && options.width == view.width && options.height == view.height) {
    for (int64_t y = 0; y < view.height; ++y) std::memcpy(out + y * row_bytes, view.row(y), static_cast<size_t>(row_bytes));
    return;
  }
  if (options.filter == Filter::kNearest) return ResizeNearest(view, options, box, out);
  const bool needs_across = options.width != view.width || box.left != 0 || box.right != static_cast<float>(options.width);
  const bool needs_down = options.height != view.height || box.top != 0 || box.bottom != static_cast<float>(options.height);
  FixedWeights down;
  int64_t first_row = 0, end_row = view.height;
  if (needs_down) {
    const AxisWeights axis = MakeAxisWeights(view.height, box.top, box.bottom, options.height, options.filter);
    first_row = axis.first.front();
    end_row = axis.first.back() + axis.count.back();
    down = MakeFixedWeights(axis, 2);
  }
  ImageView narrow = view;  // resized across, if need be
  std::shared_ptr<Storage> storage;
  if (needs_across) {
    const FixedWeights across = MakeFixedWeights(MakeAxisWeights(view.width, box.left, box.right, options.width, options.filter), 4);
    if (!needs_down) return ResizeAcross(view, 0, view.height, across, out);
    storage = Storage::Allocate((end_row - first_row) * row_bytes);
    ResizeAcross(view, first_row, end_row, across, storage->mutable_data());
    narrow = {storage->data(), options.width, end_row - first_row, row_bytes};
    for (int32_t& first : down.first) first -= static_cast<int32_t>(first_row);
  }
  const ColumnJob job = {narrow.rgb, narrow.stride_bytes, row_bytes, narrow.height};
  const int64_t taps = static_cast<int64_t>(down.weight.size()) / options.height;
  base::ParallelFor(options.height, RowsPerThread(row_bytes * taps / 2), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) ResizeColumns(job, down, y, out + y * row_bytes);
  });
}

Image Resize(const Image& image, const ResizeOptions& options) {
  const ImageView view = ViewOf(image);
  CheckedBox(view, options);
  Image out = Image::Allocate(options.width, options.height);
  ResizeInto(view, options, out.mutable_row(0));
  return out;
}

}  // namespace fovea::media
