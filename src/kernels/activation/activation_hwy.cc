// Activation functions with Highway: the loops around the functors of activation-inl.h.
#include "kernels/activation/activation.h"

#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/activation_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/activation/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

void ActivateRange(Act act, const Tensor& x, Tensor& y, int64_t begin, int64_t end) {
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    WithFunction(act, [&](const auto& function) {
      ForEachVector(begin, end,
                    [&](auto io, int64_t at) { io.Store(function.Value(io.d, io.Load(from + at)), to + at); });
    });
  });
}

void ActivateBackwardRange(Act act, const Tensor& x, const Tensor& dy, Tensor& dx, int64_t begin, int64_t end) {
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    const T* from = x.data<T>();
    const T* above = dy.data<T>();
    T* to = dx.mutable_data<T>();
    WithFunction(act, [&](const auto& function) {
      ForEachVector(begin, end, [&](auto io, int64_t at) {
        io.Store(hn::Mul(io.Load(above + at), function.Slope(io.d, io.Load(from + at))), to + at);
      });
    });
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(ActivateRange);
HWY_EXPORT(ActivateBackwardRange);

namespace {
constexpr int64_t kGrain = 16384;  // elements per thread, at least
}

void Activate(Act act, const Tensor& x, Tensor& y) {
  const auto range = FOVEA_DISPATCH(ActivateRange);
  base::ParallelFor(x.numel(), kGrain, [&](int64_t begin, int64_t end) { range(act, x, y, begin, end); });
}

void ActivateBackward(Act act, const Tensor& x, const Tensor& dy, Tensor& dx) {
  const auto range = FOVEA_DISPATCH(ActivateBackwardRange);
  base::ParallelFor(x.numel(), kGrain, [&](int64_t begin, int64_t end) { range(act, x, dy, dx, begin, end); });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
