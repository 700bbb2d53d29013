// Resize: Pillow's filter weights, its two passes, and how the work is split over threads. The loops are in
// resize_hwy.cc.
//
// Weights are computed exactly as in Pillow's Resample.c, in double precision from a box in single precision, since the
// last bit of a weight can decide the rounding of a pixel.
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
  return std::sin(x) / x * (0.54f + 0.46f * std::cos(x));  // single precision constants, as in Pillow
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

void ResizeNearest(const ImageView& view, const ResizePlan& plan, uint8_t* out) {
  const std::vector<int32_t> columns = NearestPositions(plan.across), rows = NearestPositions(plan.down);
  const int64_t row_bytes = static_cast<int64_t>(columns.size()) * 3;
  base::ParallelFor(static_cast<int64_t>(rows.size()), RowsPerThread(row_bytes), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      const uint8_t* in = view.row(rows[y]);
      uint8_t* pixel = out + y * row_bytes;
      for (const int32_t column : columns) {
        std::memcpy(pixel, in + int64_t{3} * column, 3);
        pixel += 3;
      }
    }
  });
}

// Every row of `view` resized across, into `out` without padding.
void ResizeAcross(const ImageView& view, const FixedWeights& weights, uint8_t* out) {
  const int64_t width = static_cast<int64_t>(weights.first.size());
  const int64_t readable = ReadableBytes(weights);
  const uint8_t* end_of_view = view.row(view.height - 1) + 3 * view.width;
  base::ParallelFor(
      (view.height + 3) / 4, RowsPerThread(static_cast<int64_t>(weights.weight.size())) / 4,
      [&](int64_t begin, int64_t end) {
        std::array<std::vector<uint8_t>, 4> padded;
        for (int64_t block = begin; block < end; ++block) {
          const uint8_t* in[4];
          uint8_t* rows_out[4];
          for (int64_t r = 0; r < 4; ++r) {
            const int64_t y = std::min(block * 4 + r, view.height - 1);  // the last block may repeat the last row
            in[r] = view.row(y);
            rows_out[r] = out + y * width * 3;
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

// Every column of `view` resized down, into `out` without padding.
void ResizeDown(const ImageView& view, const FixedWeights& weights, uint8_t* out) {
  const ColumnJob job = {view.rgb, view.stride_bytes, view.width * 3, view.height};
  const int64_t height = static_cast<int64_t>(weights.first.size());
  const int64_t taps = static_cast<int64_t>(weights.weight.size()) / (2 * height);
  base::ParallelFor(height, RowsPerThread(job.row_bytes * taps), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) ResizeColumns(job, weights, y, out + y * job.row_bytes);
  });
}

// One axis made ready: its weights, and the source positions [from, to) they use, from which their `first` counts.
struct ReadyAxis {
  FixedWeights weights;
  int64_t from, to;

  ReadyAxis(const Axis& axis, bool is_needed, Filter filter, int group_taps) : from(axis.begin), to(axis.end) {
    if (!is_needed) return;
    const AxisWeights exact = MakeAxisWeights(axis, filter);
    from = exact.first.front();
    to = exact.first.back() + exact.count.back();
    weights = MakeFixedWeights(exact, group_taps);
    for (int32_t& first : weights.first) first -= static_cast<int32_t>(from);
  }
};

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
  Require(part.left >= 0 && part.top >= 0 && part.width >= 1 && part.height >= 1 &&
              part.width <= view.width - part.left && part.height <= view.height - part.top,
          "[crop] expected a part of ", view.width, "x", view.height, " px, got ", part.width, "x", part.height,
          " at (", part.left, ",", part.top, ")");
  return {view.row(part.top) + part.left * 3, part.width, part.height, view.stride_bytes};
}

ResizePlan PlanResize(const ImageView& view, const ResizeOptions& options) {
  const int64_t width = options.width, height = options.height;
  Require(width >= 1 && height >= 1 && width <= (1 << 24) && height <= (1 << 24),
          "[resize] expected a result of 1 to 16777216 px a side, got ", width, "x", height);
  const auto in_width = static_cast<float>(view.width), in_height = static_cast<float>(view.height);
  const Box box = options.box.value_or(Box{0, 0, in_width, in_height});
  Require(box.left >= 0 && box.top >= 0 && box.right <= in_width && box.bottom <= in_height && box.left < box.right &&
              box.top < box.bottom,
          "[resize] expected a box within ", view.width, "x", view.height, " px, got (", box.left, ",", box.top, ")-(",
          box.right, ",", box.bottom, ")");
  const Rectangle window = options.window.value_or(Rectangle{0, 0, width, height});
  Require(window.left >= 0 && window.top >= 0 && window.width >= 1 && window.height >= 1 &&
              window.width <= width - window.left && window.height <= height - window.top,
          "[resize] expected a window within ", width, "x", height, " px, got ", window.width, "x", window.height,
          " at (", window.left, ",", window.top, ")");
  ResizePlan plan;
  plan.across = {view.width, box.left, box.right, width, window.left, window.left + window.width};
  plan.down = {view.height, box.top, box.bottom, height, window.top, window.top + window.height};
  plan.needs_across = width != view.width || box.left != 0 || box.right != in_width;
  plan.needs_down = height != view.height || box.top != 0 || box.bottom != in_height;
  // Pillow 13 goes down first when that shrinks the picture clearly more than going across.
  plan.is_down_first = height < view.height && view.height - height > 2 * (view.width - width);
  return plan;
}

AxisWeights MakeAxisWeights(const Axis& axis, Filter filter) {
  const FilterShape shape = ShapeOf(filter);
  const double scale = static_cast<double>(axis.to - axis.from) / static_cast<double>(axis.out_size);
  const double filter_scale = std::max(scale, 1.0);
  const double support = shape.support * filter_scale;
  const double inverse = 1.0 / filter_scale;
  const auto count = static_cast<size_t>(axis.end - axis.begin);
  AxisWeights weights;
  weights.most_taps = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  weights.first.resize(count);
  weights.count.resize(count);
  weights.weight.resize(count * static_cast<size_t>(weights.most_taps));
  for (size_t i = 0; i < count; ++i) {
    const double center = axis.from + (static_cast<double>(axis.begin + static_cast<int64_t>(i)) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min<int64_t>(axis.in_size, static_cast<int64_t>(center + support + 0.5));
    double* weight = weights.weight.data() + i * static_cast<size_t>(weights.most_taps);
    double sum = 0.0;
    for (int64_t k = 0; k < end - first; ++k) {
      weight[k] = shape.function((static_cast<double>(k + first) - center + 0.5) * inverse);
      sum += weight[k];
    }
    for (int64_t k = 0; k < end - first && sum != 0.0; ++k) weight[k] /= sum;
    weights.first[i] = static_cast<int32_t>(first);
    weights.count[i] = static_cast<int32_t>(end - first);
  }
  return weights;
}

std::vector<int32_t> NearestPositions(const Axis& axis) {
  const double scale = static_cast<double>(axis.to - axis.from) / static_cast<double>(axis.out_size);
  std::vector<int32_t> positions;
  positions.reserve(static_cast<size_t>(axis.end - axis.begin));
  double position = axis.from + scale * 0.5;  // summed up, not multiplied, as in Pillow
  for (int64_t i = 0; i < axis.end; ++i, position += scale) {
    if (i >= axis.begin)
      positions.push_back(static_cast<int32_t>(std::min<int64_t>(static_cast<int64_t>(position), axis.in_size - 1)));
  }
  return positions;
}

void ResizeInto(const ImageView& view, const ResizeOptions& options, uint8_t* out) {
  const ResizePlan plan = PlanResize(view, options);
  if (options.filter == Filter::kNearest) return ResizeNearest(view, plan, out);
  const ReadyAxis across(plan.across, plan.needs_across, options.filter, 4),
      down(plan.down, plan.needs_down, options.filter, 2);
  const int64_t width = plan.across.end - plan.across.begin, height = plan.down.end - plan.down.begin;
  const ImageView used = Cropped(view, {across.from, down.from, across.to - across.from, down.to - down.from});
  if (!plan.needs_across && !plan.needs_down) {
    for (int64_t y = 0; y < height; ++y) std::memcpy(out + y * width * 3, used.row(y), static_cast<size_t>(width * 3));
  } else if (!plan.needs_down) {
    ResizeAcross(used, across.weights, out);
  } else if (!plan.needs_across) {
    ResizeDown(used, down.weights, out);
  } else if (plan.is_down_first) {
    const auto between = Storage::Allocate(height * used.width * 3);
    ResizeDown(used, down.weights, between->mutable_data());
    ResizeAcross({between->data(), used.width, height, used.width * 3}, across.weights, out);
  } else {
    const auto between = Storage::Allocate(used.height * width * 3);
    ResizeAcross(used, across.weights, between->mutable_data());
    ResizeDown({between->data(), width, used.height, width * 3}, down.weights, out);
  }
}

Image Resize(const Image& image, const ResizeOptions& options) {
  const ImageView view = ViewOf(image);
  const ResizePlan plan = PlanResize(view, options);
  Image out = Image::Allocate(plan.across.end - plan.across.begin, plan.down.end - plan.down.begin);
  ResizeInto(view, options, out.mutable_row(0));
  return out;
}

}  // namespace fovea::media
