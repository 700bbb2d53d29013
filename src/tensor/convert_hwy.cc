// f16 to f32 with the processor's own conversion where there is one (F16C), eight or sixteen at a time.
#include "tensor/convert.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/convert_hwy.cc"
#include "hwy/foreach_target.h"

#include "base/simd.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fovea {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void WidenLoop(const F16* source, float* target, int64_t count) {
  const hn::ScalableTag<float> wide;
  const hn::Rebind<hwy::float16_t, decltype(wide)> narrow;
  const auto lanes = static_cast<int64_t>(hn::Lanes(wide));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(hn::PromoteTo(wide, hn::LoadU(narrow, reinterpret_cast<const hwy::float16_t*>(source + i))), wide,
               target + i);
  }
  for (; i < count; ++i) target[i] = static_cast<float>(source[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea {

HWY_EXPORT(WidenLoop);

void WidenF16(const F16* source, float* target, int64_t count) { FOVEA_DISPATCH(WidenLoop)(source, target, count); }

}  // namespace fovea
#endif
