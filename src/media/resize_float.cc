// Resizing without rounding to bytes: Pillow's filters, two passes in single precision. This is what torchvision does
// with pictures of floats (antialias); used where a processor rescales before it resizes.
//
// Results may leave 0 to 255 where a filter sharpens, as there. Down goes first, row by row of the result, so that only
// one row lies between the passes.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "media/resize.h"

namespace fovea::media {

void ResizeFloat(const ImageView& view, const ResizeOptions& options, float* out) {
  Require(options.filter != Filter::kNearest, "[resize] expected a filter with weights, got nearest");
  const ResizePlan plan = PlanResize(view, options);
  const AxisWeights across = MakeAxisWeights(plan.across, options.filter),
                    down = MakeAxisWeights(plan.down, options.filter);
  const auto rows = static_cast<int64_t>(down.first.size()), columns = static_cast<int64_t>(across.first.size());
  base::ParallelFor(rows, 4, [&](int64_t begin, int64_t end) {
    std::vector<float> between(static_cast<size_t>(view.width * 3));  // a row between the passes
    for (int64_t y = begin; y < end; ++y) {
      std::fill(between.begin(), between.end(), 0.0f);
      for (int32_t k = 0; k < down.count[y]; ++k) {
        const auto weight = static_cast<float>(down.weight[y * down.most_taps + k]);
        const uint8_t* row = view.row(down.first[y] + k);
        for (int64_t i = 0; i < view.width * 3; ++i) between[i] += weight * static_cast<float>(row[i]);
      }
      float* to = out + y * columns * 3;
      for (int64_t x = 0; x < columns; ++x, to += 3) {
        const float* from = between.data() + int64_t{across.first[x]} * 3;
        to[0] = to[1] = to[2] = 0;
        for (int32_t k = 0; k < across.count[x]; ++k, from += 3) {
          const auto weight = static_cast<float>(across.weight[x * across.most_taps + k]);
          for (int c = 0; c < 3; ++c) to[c] += weight * from[c];
        }
      }
    }
  });
}

}  // namespace fovea::media
