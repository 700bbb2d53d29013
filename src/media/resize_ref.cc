// The reference of Resize: plain loops in double precision, rounded to 8 bits after each pass as Pillow does.
#include <algorithm>
#include <cmath>

#include "media/resize.h"

namespace fovea::media {
namespace {

// Resizes along one axis. `at(line, i, c)` is sample i of a line, `put(line, i, c, value)` stores a result.
template <typename At, typename Put>
void ResizeLines(int64_t lines, const AxisWeights& axis, At at, Put put) {
  for (int64_t line = 0; line < lines; ++line) {
    for (size_t i = 0; i < axis.first.size(); ++i) {
      for (int c = 0; c < 3; ++c) {
        double sum = 0;
        for (int32_t k = 0; k < axis.count[i]; ++k)
          sum += axis.weight[i * static_cast<size_t>(axis.most_taps) + k] * at(line, axis.first[i] + k, c);
        put(line, static_cast<int64_t>(i), c, static_cast<uint8_t>(std::clamp(std::floor(sum + 0.5), 0.0, 255.0)));
      }
    }
  }
}

}  // namespace

Image ResizeReference(const ImageView& view, const ResizeOptions& options) {
  const ResizePlan plan = PlanResize(view, options);
  const int64_t width = plan.across.end - plan.across.begin, height = plan.down.end - plan.down.begin;
  Image out = Image::Allocate(width, height);
  if (options.filter == Filter::kNearest) {
    const auto columns = NearestPositions(plan.across), rows = NearestPositions(plan.down);
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t i = 0; i < width * 3; ++i) out.mutable_row(y)[i] = view.row(rows[y])[columns[i / 3] * 3 + i % 3];
    }
    return out;
  }
  // An axis that keeps its size has weights of 1 here, where Resize copies: the same numbers.
  const AxisWeights across = MakeAxisWeights(plan.across, options.filter),
                    down = MakeAxisWeights(plan.down, options.filter);
  Image between = plan.is_down_first ? Image::Allocate(view.width, height) : Image::Allocate(width, view.height);
  const auto resize_across = [&](const ImageView& in, Image& to) {
    ResizeLines(
        in.height, across, [&](int64_t y, int64_t x, int c) { return in.row(y)[x * 3 + c]; },
        [&](int64_t y, int64_t x, int c, uint8_t value) { to.mutable_row(y)[x * 3 + c] = value; });
  };
  const auto resize_down = [&](const ImageView& in, Image& to) {
    ResizeLines(
        in.width, down, [&](int64_t x, int64_t y, int c) { return in.row(y)[x * 3 + c]; },
        [&](int64_t x, int64_t y, int c, uint8_t value) { to.mutable_row(y)[x * 3 + c] = value; });
  };
  if (plan.is_down_first) {
    resize_down(view, between);
    resize_across(ViewOf(between), out);
  } else {
    resize_across(view, between);
    resize_down(ViewOf(between), out);
  }
  return out;
}

}  // namespace fovea::media
