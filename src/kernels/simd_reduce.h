// Sums and maxima over rows and columns of f32 or bf16, the inner loops of reductions, norms, softmax and losses.
//
// Sums are kept in f32 lanes over short blocks and added up in double: the error does not grow with the length, at the
// speed of f32. The order depends on the lengths alone. Compiled once per instruction set, see simd_io.h.
#if defined(FOVEA_KERNELS_SIMD_REDUCE_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_SIMD_REDUCE_H_
#undef FOVEA_KERNELS_SIMD_REDUCE_H_
#else
#define FOVEA_KERNELS_SIMD_REDUCE_H_
#endif

#include <algorithm>
#include <array>
#include <limits>

#include "hwy/highway.h"
#include "kernels/simd_io.h"
#include "kernels/simd_math.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// The larger of two, NaN when either is NaN.
HWY_INLINE VecF32 MaxOrNaN(VecF32 a, VecF32 b) { return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b); }

// K sums over one row: terms(io, at) gives std::array<VecF32, K> for elements at, at + 1, ...
template <int K, typename Terms>
HWY_INLINE std::array<double, K> RowSums(int64_t count, const Terms& terms) {
  const TagF32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t length = 64 * lanes;  // of a block: 32 additions per chain
  std::array<double, K> sums{};
  for (int64_t block = 0; block < count; block += length) {
    const int64_t end = std::min(count, block + length);
    // Two chains of additions hide part of their latency.
    VecF32 even[K], odd[K];
    for (int k = 0; k < K; ++k) even[k] = odd[k] = hn::Zero(d);
    int64_t at = block;
    for (; at + 2 * lanes <= end; at += 2 * lanes) {
      const auto first = terms(FullIo{d}, at);
      const auto second = terms(FullIo{d}, at + lanes);
      for (int k = 0; k < K; ++k) {
        even[k] = hn::Add(even[k], first[k]);
        odd[k] = hn::Add(odd[k], second[k]);
      }
    }
    if (at + lanes <= end) {
      const auto first = terms(FullIo{d}, at);
      for (int k = 0; k < K; ++k) even[k] = hn::Add(even[k], first[k]);
      at += lanes;
    }
    if (at < end) {
      const TailIo io{d, end - at};
      const auto last = terms(io, at);
      for (int k = 0; k < K; ++k) odd[k] = hn::Add(odd[k], io.Keep(last[k], hn::Zero(d)));
    }
    for (int k = 0; k < K; ++k) sums[k] += static_cast<double>(ReduceSum(d, hn::Add(even[k], odd[k])));
  }
  return sums;
}

template <typename T>
HWY_INLINE double RowSum(const T* x, int64_t count) {
  return RowSums<1>(count, [&](auto io, int64_t at) { return std::array<VecF32, 1>{io.Load(x + at)}; })[0];
}

// Largest element; -inf for an empty row, NaN when there is one.
template <typename T>
HWY_INLINE float RowMax(const T* x, int64_t count) {
  const TagF32 d;
  const VecF32 lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  VecF32 best = lowest;
  ForEachVector(count, [&](auto io, int64_t at) { best = MaxOrNaN(best, io.Keep(io.Load(x + at), lowest)); });
  if (!hn::AllFalse(d, hn::IsNaN(best))) return std::numeric_limits<float>::quiet_NaN();
  return ReduceMax(d, best);
}

// What a softmax subtracts before it exponentiates: the row's maximum, or 0 where that would be -inf - -inf.
template <typename T>
HWY_INLINE float SoftmaxShift(const T* x, int64_t count) {
  const float best = RowMax(x, count);
  return best == -std::numeric_limits<float>::infinity() ? 0.0f : best;
}

// Sum of exp(x - shift).
template <typename T>
HWY_INLINE double RowSumExp(const T* x, int64_t count, float shift) {
  const TagF32 d;
  const VecF32 offset = hn::Set(d, shift);
  return RowSums<1>(count, [&](auto io, int64_t at) {
    return std::array<VecF32, 1>{Exp(io.d, hn::Sub(io.Load(x + at), offset))};
  })[0];
}

// K sums over the rows of a [rows, columns] array, for each column: terms(io, row, column) gives std::array<VecF32, K>.
// Adds to sums[k * columns + column].
template <int K, typename Terms>
HWY_INLINE void ColumnSums(int64_t rows, int64_t columns, double* sums, const Terms& terms) {
  constexpr int64_t kBlock =
      64;  // rows summed in f32; their cache lines stay in L1 from one vector of columns to the next
  for (int64_t block = 0; block < rows; block += kBlock) {
    const int64_t end = std::min(rows, block + kBlock);
    ForEachVector(columns, [&](auto io, int64_t column) {
      VecF32 partial[K];
      for (int k = 0; k < K; ++k) partial[k] = hn::Zero(io.d);
      for (int64_t row = block; row < end; ++row) {
        const auto now = terms(io, row, column);
        for (int k = 0; k < K; ++k) partial[k] = hn::Add(partial[k], now[k]);
      }
      HWY_ALIGN float lanes[hn::MaxLanes(io.d)];
      const int64_t width = std::min<int64_t>(static_cast<int64_t>(hn::Lanes(io.d)), columns - column);
      for (int k = 0; k < K; ++k) {
        hn::Store(partial[k], io.d, lanes);
        for (int64_t i = 0; i < width; ++i) sums[k * columns + column + i] += static_cast<double>(lanes[i]);
      }
    });
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
