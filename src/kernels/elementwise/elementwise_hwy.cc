// Elementwise arithmetic with Highway: the inner run of a broadcast loop is vector-vector, vector-scalar or
// scalar-vector; any other stride goes one element at a time.
#include "kernels/elementwise/elementwise.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "kernels/elementwise/strided.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/elementwise_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/simd_math.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

struct Add {
  HWY_INLINE VecF32 operator()(VecF32 a, VecF32 b) const { return hn::Add(a, b); }
};
struct Sub {
  HWY_INLINE VecF32 operator()(VecF32 a, VecF32 b) const { return hn::Sub(a, b); }
};
struct Mul {
  HWY_INLINE VecF32 operator()(VecF32 a, VecF32 b) const { return hn::Mul(a, b); }
};
struct Div {
  HWY_INLINE VecF32 operator()(VecF32 a, VecF32 b) const { return hn::Div(a, b); }
};

// One run of `count` elements with the given steps.
template <typename T, typename Function>
HWY_INLINE void BinaryRun(const Function& f, const T* a, int64_t a_step, const T* b, int64_t b_step, T* y,
                          int64_t count) {
  const TagF32 d;
  if (a_step == 1 && b_step == 1) {
    ForEachVector(count, [&](auto io, int64_t at) { io.Store(f(io.Load(a + at), io.Load(b + at)), y + at); });
  } else if (a_step == 1 && b_step == 0) {
    const VecF32 same = hn::Set(d, LoadScalar(b));
    ForEachVector(count, [&](auto io, int64_t at) { io.Store(f(io.Load(a + at), same), y + at); });
  } else if (a_step == 0 && b_step == 1) {
    const VecF32 same = hn::Set(d, LoadScalar(a));
    ForEachVector(count, [&](auto io, int64_t at) { io.Store(f(same, io.Load(b + at)), y + at); });
  } else {
    for (int64_t at = 0; at < count; ++at) {
      const VecF32 value = f(hn::Set(d, LoadScalar(a + at * a_step)), hn::Set(d, LoadScalar(b + at * b_step)));
      StoreScalar(hn::GetLane(value), y + at);
    }
  }
}

template <typename Body>
HWY_INLINE void WithBinary(BinaryOp op, const Body& body) {
  switch (op) {
    case BinaryOp::kAdd: return body(Add{});
    case BinaryOp::kSub: return body(Sub{});
    case BinaryOp::kMul: return body(Mul{});
    case BinaryOp::kDiv: return body(Div{});
  }
}

// Runs [begin, end) of the loop, or, when there is a single run, its elements [begin, end).
void BinaryRange(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y, const StridedLoop<2>& loop, int64_t begin,
                 int64_t end) {
  WithElementType(y, [&](auto element) {
    using T = decltype(element);
    const T* left = a.data<T>();
    const T* right = b.data<T>();
    T* out = y.mutable_data<T>();
    const auto [left_step, right_step] = loop.inner_steps;
    WithBinary(op, [&](const auto& f) {
      if (loop.runs == 1) {
        BinaryRun(f, left + begin * left_step, left_step, right + begin * right_step, right_step, out + begin,
                  end - begin);
        return;
      }
      loop.ForEachRun(begin, end, [&](const auto& offsets, int64_t run) {
        BinaryRun(f, left + offsets[0], left_step, right + offsets[1], right_step, out + run * loop.inner, loop.inner);
      });
    });
  });
}

void AffineRange(const Tensor& x, float scale, float shift, Tensor& y, int64_t begin, int64_t end) {
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    const TagF32 d;
    const VecF32 factor = hn::Set(d, scale), offset = hn::Set(d, shift);
    ForEachVector(begin, end,
                  [&](auto io, int64_t at) { io.Store(hn::MulAdd(io.Load(from + at), factor, offset), to + at); });
  });
}

// Logarithms come from the C library: they are rare here, and its logf is exact to an ulp.
template <typename T>
void LogRange(const T* from, T* to, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; ++at) StoreScalar(std::log(LoadScalar(from + at)), to + at);
}

void UnaryRange(UnaryOp op, const Tensor& x, Tensor& y, int64_t begin, int64_t end) {
  WithElementType(x, [&](auto element) {
    using T = decltype(element);
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    const auto apply = [&](const auto& f) {
      ForEachVector(begin, end, [&](auto io, int64_t at) { io.Store(f(io.d, io.Load(from + at)), to + at); });
    };
    switch (op) {
      case UnaryOp::kExp: return apply([](TagF32 d, VecF32 v) { return Exp(d, v); });
      case UnaryOp::kLog: return LogRange(from, to, begin, end);
      case UnaryOp::kSqrt: return apply([](TagF32, VecF32 v) { return hn::Sqrt(v); });
      case UnaryOp::kSquare: return apply([](TagF32, VecF32 v) { return hn::Mul(v, v); });
    }
  });
}

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(BinaryRange);
HWY_EXPORT(AffineRange);
HWY_EXPORT(UnaryRange);

namespace {

constexpr int64_t kGrain = 32768;  // elements per thread, at least

template <typename T>
void SelectRuns(const Tensor& mask, const Tensor& a, const Tensor& b, Tensor& y) {
  const StridedLoop<3> loop({&mask, &a, &b});
  const bool* choose = mask.data<bool>();
  const T* left = a.data<T>();
  const T* right = b.data<T>();
  T* out = y.mutable_data<T>();
  const auto [mask_step, left_step, right_step] = loop.inner_steps;
  base::ParallelFor(loop.runs, std::max<int64_t>(1, kGrain / loop.inner), [&](int64_t begin, int64_t end) {
    loop.ForEachRun(begin, end, [&](const auto& offsets, int64_t run) {
      for (int64_t i = 0; i < loop.inner; ++i) {
        out[run * loop.inner + i] =
            choose[offsets[0] + i * mask_step] ? left[offsets[1] + i * left_step] : right[offsets[2] + i * right_step];
      }
    });
  });
}

}  // namespace

void Binary(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
  if (y.numel() == 0) return;
  const StridedLoop<2> loop({&a, &b});
  const auto range = FOVEA_DISPATCH(BinaryRange);
  const bool is_single = loop.runs == 1;
  base::ParallelFor(is_single ? loop.inner : loop.runs, is_single ? kGrain : std::max<int64_t>(1, kGrain / loop.inner),
                    [&](int64_t begin, int64_t end) { range(op, a, b, y, loop, begin, end); });
}

void Unary(UnaryOp op, const Tensor& x, Tensor& y) {
  const auto range = FOVEA_DISPATCH(UnaryRange);
  base::ParallelFor(x.numel(), kGrain / 2, [&](int64_t begin, int64_t end) { range(op, x, y, begin, end); });
}

void Affine(const Tensor& x, float scale, float shift, Tensor& y) {
  const auto range = FOVEA_DISPATCH(AffineRange);
  base::ParallelFor(x.numel(), kGrain, [&](int64_t begin, int64_t end) { range(x, scale, shift, y, begin, end); });
}

void Select(const Tensor& mask, const Tensor& a, const Tensor& b, Tensor& y) {
  if (y.numel() == 0) return;
  y.dtype() == DType::kBF16 ? SelectRuns<BF16>(mask, a, b, y) : SelectRuns<float>(mask, a, b, y);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
