// The inner product is bound by memory: four accumulators hide the latency of the multiply-add, nothing more is to be
// won.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "library/dot_hwy.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep

#include "hwy/highway.h"

#include "base/simd.h"
#include "library/dot.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::library {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void DotRowsSimd(const float* HWY_RESTRICT query, const float* HWY_RESTRICT rows, int64_t count, int64_t dim,
                 float* HWY_RESTRICT scores) {
  const hn::ScalableTag<float> tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t i = 0; i < count; ++i, rows += dim) {
    auto sum0 = hn::Zero(tag), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    int64_t d = 0;
    for (; d + 4 * lanes <= dim; d += 4 * lanes) {
      sum0 = hn::MulAdd(hn::LoadU(tag, query + d), hn::LoadU(tag, rows + d), sum0);
      sum1 = hn::MulAdd(hn::LoadU(tag, query + d + lanes), hn::LoadU(tag, rows + d + lanes), sum1);
      sum2 = hn::MulAdd(hn::LoadU(tag, query + d + 2 * lanes), hn::LoadU(tag, rows + d + 2 * lanes), sum2);
      sum3 = hn::MulAdd(hn::LoadU(tag, query + d + 3 * lanes), hn::LoadU(tag, rows + d + 3 * lanes), sum3);
    }
    for (; d + lanes <= dim; d += lanes) sum0 = hn::MulAdd(hn::LoadU(tag, query + d), hn::LoadU(tag, rows + d), sum0);
    float score = hn::GetLane(hn::SumOfLanes(tag, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
    for (; d < dim; ++d) score += query[d] * rows[d];
    scores[i] = score;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::library
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::library {

HWY_EXPORT(DotRowsSimd);

void DotRows(const float* query, const float* rows, int64_t count, int64_t dim, float* scores) {
  FOVEA_DISPATCH(DotRowsSimd)(query, rows, count, dim, scores);
}

}  // namespace fovea::library
#endif
