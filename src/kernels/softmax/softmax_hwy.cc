// Softmax with Highway: maximum, exponentials with their sum, scaling. The exponentials are kept in `y` when it is f32,
// and computed twice when it is bf16, where keeping them would round twice.
#include "kernels/softmax/softmax.h"

#include <cmath>

#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax/softmax_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/simd_reduce.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

HWY_INLINE void SoftmaxRow(const float* x, float* y, int64_t N) {
  const TagF32 d;
  const VecF32 shift = hn::Set(d, SoftmaxShift(x, N));
  const double sum = RowSums<1>(N, [&](auto io, int64_t at) {
    const VecF32 power = Exp(io.d, hn::Sub(io.Load(x + at), shift));
    io.Store(power, y + at);
    return std::array<VecF32, 1>{power};
  })[0];
  const VecF32 scale = hn::Set(d, sum == 0.0 ? 0.0f : static_cast<float>(1.0 / sum));
  ForEachVector(N, [&](auto io, int64_t at) { io.Store(hn::Mul(io.Load(y + at), scale), y + at); });
}

HWY_INLINE void SoftmaxRow(const BF16* x, BF16* y, int64_t N) {
  const TagF32 d;
  const float best = SoftmaxShift(x, N);
  const VecF32 shift = hn::Set(d, best);
  const double sum = RowSumExp(x, N, best);
  const VecF32 scale = hn::Set(d, sum == 0.0 ? 0.0f : static_cast<float>(1.0 / sum));
  ForEachVector(
      N, [&](auto io, int64_t at) { io.Store(hn::Mul(Exp(io.d, hn::Sub(io.Load(x + at), shift)), scale), y + at); });
}

template <typename T>
HWY_INLINE void LogSoftmaxRow(const T* x, T* y, int64_t N) {
  const TagF32 d;
  const float best = SoftmaxShift(x, N);
  // x - best is exact enough to keep the small differences; best + log(sum) would lose them for large logits.
  const VecF32 shift = hn::Set(d, best);
  const double sum = RowSumExp(x, N, best);
  const VecF32 log_sum = hn::Set(d, sum == 0.0 ? 0.0f : static_cast<float>(std::log(sum)));
  ForEachVector(N, [&](auto io, int64_t at) { io.Store(hn::Sub(hn::Sub(io.Load(x + at), shift), log_sum), y + at); });
}

template <typename T>
HWY_INLINE void SoftmaxBackwardRow(const T* y, const T* dy, T* dx, int64_t N) {
  const TagF32 d;
  const auto product = [&](auto io, int64_t at) {
    return std::array<VecF32, 1>{hn::Mul(io.Load(y + at), io.Load(dy + at))};
  };
  const VecF32 dot = hn::Set(d, static_cast<float>(RowSums<1>(N, product)[0]));
  ForEachVector(
      N, [&](auto io, int64_t at) { io.Store(hn::Mul(io.Load(y + at), hn::Sub(io.Load(dy + at), dot)), dx + at); });
}

template <typename T>
HWY_INLINE void LogSoftmaxBackwardRow(const T* y, const T* dy, T* dx, int64_t N) {
  const TagF32 d;
  const VecF32 sum = hn::Set(d, static_cast<float>(RowSum(dy, N)));
  ForEachVector(N, [&](auto io, int64_t at) {
    io.Store(hn::NegMulAdd(Exp(io.d, io.Load(y + at)), sum, io.Load(dy + at)), dx + at);
  });
}

template <bool kLog>
HWY_INLINE void ForwardRows(const Tensor& x, Tensor& y, int64_t begin, int64_t end) {
  const int64_t N = x.shape()[1];
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x.data<T>() + row * N;
      T* to = y.mutable_data<T>() + row * N;
      if constexpr (kLog) {
        LogSoftmaxRow(from, to, N);
      } else {
        SoftmaxRow(from, to, N);
      }
    }
  });
}

template <bool kLog>
HWY_INLINE void BackwardRows(const Tensor& y, const Tensor& dy, Tensor& dx, int64_t begin, int64_t end) {
  const int64_t N = y.shape()[1];
  WithElementType(y, [&](auto element) {
    using T = decltype(element);
    for (int64_t row = begin; row < end; ++row) {
      const T* value = y.data<T>() + row * N;
      const T* above = dy.data<T>() + row * N;
      T* to = dx.mutable_data<T>() + row * N;
      if constexpr (kLog) {
        LogSoftmaxBackwardRow(value, above, to, N);
      } else {
        SoftmaxBackwardRow(value, above, to, N);
      }
    }
  });
}

void SoftmaxRows(const Tensor& x, Tensor& y, int64_t begin, int64_t end) { ForwardRows<false>(x, y, begin, end); }
void LogSoftmaxRows(const Tensor& x, Tensor& y, int64_t begin, int64_t end) { ForwardRows<true>(x, y, begin, end); }
void SoftmaxBackwardRows(const Tensor& y, const Tensor& dy, Tensor& dx, int64_t begin, int64_t end) {
  BackwardRows<false>(y, dy, dx, begin, end);
}
void LogSoftmaxBackwardRows(const Tensor& y, const Tensor& dy, Tensor& dx, int64_t begin, int64_t end) {
  BackwardRows<true>(y, dy, dx, begin, end);
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(SoftmaxRows);
HWY_EXPORT(LogSoftmaxRows);
HWY_EXPORT(SoftmaxBackwardRows);
HWY_EXPORT(LogSoftmaxBackwardRows);

namespace {

template <typename Body>
void InRows(const Tensor& x, Body&& body) {
  base::ParallelFor(x.shape()[0], std::max<int64_t>(1, 16384 / x.shape()[1]), body);
}

}  // namespace

void Softmax(const Tensor& x, Tensor& y) {
  const auto rows = FOVEA_DISPATCH(SoftmaxRows);
  InRows(x, [&](int64_t begin, int64_t end) { rows(x, y, begin, end); });
}

void LogSoftmax(const Tensor& x, Tensor& y) {
  const auto rows = FOVEA_DISPATCH(LogSoftmaxRows);
  InRows(x, [&](int64_t begin, int64_t end) { rows(x, y, begin, end); });
}

void SoftmaxBackward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  const auto rows = FOVEA_DISPATCH(SoftmaxBackwardRows);
  InRows(y, [&](int64_t begin, int64_t end) { rows(y, dy, dx, begin, end); });
}

void LogSoftmaxBackward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  const auto rows = FOVEA_DISPATCH(LogSoftmaxBackwardRows);
  InRows(y, [&](int64_t begin, int64_t end) { rows(y, dy, dx, begin, end); });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
