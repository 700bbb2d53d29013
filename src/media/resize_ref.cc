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
        for (int32_t k = 0; k < axis.count[i]; ++k) sum += axis.weight[i * static_cast<size_t>(axis.most_taps) + k] * at(line, axis.first[i] + k, c);
        put(line, static_cast<int64_t>(i), c, static_cast<uint8_t>(std::clamp(std::floor(sum + 0.5), 0.0, 255.0)));
      }
    }
  }
}

}  // namespace

Image ResizeReference(const ImageView& view, const ResizeOptions& options) {
  const Box box = CheckedBox(view, options);
  Image out = Image::Allocate(options.width, options.height);
  if (options.filter == Filter::kNearest) {
    const auto columns = NearestPositions(view.width, box.left, box.right, options.width);
    const auto rows = NearestPositions(view.height, box.top, box.bottom, options.height);
    for (int64_t y = 0; y < options.height; ++y) {
      for (int64_t i = 0; i < options.width * 3; ++i) out.mutable_row(y)[i] = view.row(rows[y])[columns[i / 3] * 3 + i % 3];
    }
    return out;
  }
  const AxisWeights across = MakeAxisWeights(view.width, box.left, box.right, options.width, options.filter);
  const AxisWeights down = MakeAxisWeights(view.height, box.top, box.bottom, options.height, options.filter);
  Image narrow = Image::Allocate(options.width, view.height);
  ResizeLines(view.height, across, [&](int64_t y, int64_t x, int c) { return view.row(y)[x * 3 + c]; },
              [&](int64_t y, int64_t x, int c, uint8_t value) { narrow.mutable_row(y)[x * 3 + c] = value; });
  ResizeLines(options.width, down, [&](int64_t x, int64_t y, int c) { return narrow.row(y)[x * 3 + c]; },
              [&](int64_t x, int64_t y, int c, uint8_t value) { out.mutable_row(y)[x * 3 + c] = value; });
  return out;
}

}  // namespace fovea::media
