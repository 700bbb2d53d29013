// A row of one head at a time: both halves are read, turned and written in one pass.
#include "kernels/rotary/rotary.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rotary/rotary_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/parallel.h"
#include "base/simd.h"
#include "kernels/simd_io.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// `sign`: 1, or -1 to turn back.
template <typename T>
void TurnRow(const T* x, const float* cos, const float* sin, float sign, int64_t half, int64_t size, T* y) {
  ForEachVector(half, [&](auto io, int64_t at) {
    const VecF32 first = io.Load(x + at), second = io.Load(x + half + at);
    const VecF32 c = io.Load(cos + at), s = hn::Mul(io.Load(sin + at), hn::Set(io.d, sign));
    io.Store(hn::NegMulAdd(second, s, hn::Mul(first, c)), y + at);
    io.Store(hn::MulAdd(first, s, hn::Mul(second, c)), y + half + at);
  });
  std::memcpy(static_cast<void*>(y + 2 * half), x + 2 * half, static_cast<size_t>(size - 2 * half) * sizeof(T));
}

// Rows [begin, end) of all B*T*H.
void TurnRows(const Tensor& x, const Tensor& cos, const Tensor& sin, float sign, Tensor& y, int64_t begin,
              int64_t end) {
  const auto [B, H, T, E] = x.Dims<4>("rotary");
  const int64_t half = cos.shape()[2], heads = H, tokens = T, size = E, shared = cos.shape()[0] == 1 ? 0 : 1;
  const auto offset = [](const Tensor& z, int64_t b, int64_t h, int64_t t) {
    return b * z.strides()[0] + h * z.strides()[1] + t * z.strides()[2];
  };
  WithElementType(x, [&](auto element) {
    using Element = decltype(element);
    const Element* from = x.data<Element>();
    Element* to = y.mutable_data<Element>();
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / (tokens * heads), t = row / heads % tokens, h = row % heads;
      const int64_t angles = (b * shared * tokens + t) * half;
      TurnRow(from + offset(x, b, h, t), cos.data<float>() + angles, sin.data<float>() + angles, sign, half, size,
              to + offset(y, b, h, t));
    }
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

namespace fovea::kernels {

HWY_EXPORT(TurnRows);

void Rotary(const Tensor& x, const Tensor& cos, const Tensor& sin, bool is_inverse, Tensor& y) {
  constexpr int64_t kGrainElements = 16384;
  const auto turn = FOVEA_DISPATCH(TurnRows);
  base::ParallelFor(x.dim(0) * x.dim(1) * x.dim(2), std::max<int64_t>(1, kGrainElements / x.dim(3)),
                    [&](int64_t begin, int64_t end) { turn(x, cos, sin, is_inverse ? -1.0f : 1.0f, y, begin, end); });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
