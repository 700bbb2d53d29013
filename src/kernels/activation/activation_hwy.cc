// Activation functions with Highway. One functor per function and per derivative; the loops around them are shared.
#include "kernels/activation/activation.h"

#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/activation_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/simd_math.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// x * gate, but 0 where the gate is closed: at x = -inf the product would be NaN.
HWY_INLINE VecF32 TimesGate(TagF32 d, VecF32 x, VecF32 gate) {
  return hn::IfThenZeroElse(hn::Eq(gate, hn::Zero(d)), hn::Mul(x, gate));
}

// Phi(x), the share of a standard normal distribution below x.
HWY_INLINE VecF32 NormalCdf(TagF32 d, VecF32 x) {
  const VecF32 half = hn::Set(d, 0.5f);
  return hn::MulAdd(half, Erf(d, hn::Mul(x, hn::Set(d, 0.70710678118f))), half);
}

// (1 + tanh(u)) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3), as sigmoid(2u).
HWY_INLINE VecF32 GeluTanhGate(TagF32 d, VecF32 x) {
  const VecF32 inner = hn::MulAdd(hn::Mul(hn::Mul(x, x), hn::Set(d, 0.044715f)), x, x);
  return Sigmoid(d, hn::Mul(inner, hn::Set(d, 2.0f * 0.79788456080f)));
}

// max(x, 0) and NaN for NaN, on every target.
HWY_INLINE VecF32 ReluOf(TagF32 d, VecF32 x) { return hn::IfThenZeroElse(hn::Le(x, hn::Zero(d)), x); }

struct Identity {
  HWY_INLINE VecF32 Value(TagF32, VecF32 x) const { return x; }
  HWY_INLINE VecF32 Slope(TagF32 d, VecF32) const { return hn::Set(d, 1.0f); }
};
struct Relu {
  HWY_INLINE VecF32 Value(TagF32 d, VecF32 x) const { return ReluOf(d, x); }
  HWY_INLINE VecF32 Slope(TagF32 d, VecF32 x) const {
    return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0f));
  }
};
struct Relu6 {
  HWY_INLINE VecF32 Value(TagF32 d, VecF32 x) const {
    const VecF32 six = hn::Set(d, 6.0f);
    return hn::IfThenElse(hn::Gt(x, six), six, ReluOf(d, x));
  }
  HWY_INLINE VecF32 Slope(TagF32 d, VecF32 x) const {
    const auto inside = hn::And(hn::Gt(x, hn::Zero(d)), hn::Lt(x, hn::Set(d, 6.0f)));
    return hn::IfThenElseZero(inside, hn::Set(d, 1.0f));
  }
};
struct LogisticGate {  // y = x sigmoid(slope x): SiLU and QuickGELU
  float slope;
  HWY_INLINE VecF32 Value(TagF32 d, VecF32 x) const {
    return TimesGate(d, x, Sigmoid(d, hn::Mul(x, hn::Set(d, slope))));
  }
  HWY_INLINE VecF32 Slope(TagF32 d, VecF32 x) const {
    const VecF32 one = hn::Set(d, 1.0f);
    const VecF32 scaled = hn::Mul(x, hn::Set(d, slope));
    const VecF32 gate = Sigmoid(d, scaled);
    return TimesGate(d, hn::MulAdd(scaled, hn::Sub(one, gate), one), gate);
  }
};
struct Gelu {
  HWY_INLINE VecF32 Value(TagF32 d, VecF32 x) const { return TimesGate(d, x, NormalCdf(d, x)); }
  HWY_INLINE VecF32 Slope(TagF32 d, VecF32 x) const {
    const VecF32 density = hn::Mul(Exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f))), hn::Set(d, 0.39894228040f));
    return hn::Add(NormalCdf(d, x), TimesGate(d, x, density));
  }
};
struct GeluTanh {
  HWY_INLINE VecF32 Value(TagF32 d, VecF32 x) const { return TimesGate(d, x, GeluTanhGate(d, x)); }
  HWY_INLINE VecF32 Slope(TagF32 d, VecF32 x) const {
    const VecF32 one = hn::Set(d, 1.0f);
    const VecF32 gate = GeluTanhGate(d, x);
    const VecF32 du = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 2.0f * 0.79788456080f * 3.0f * 0.044715f),
                                 hn::Set(d, 2.0f * 0.79788456080f));
    return hn::Add(gate, TimesGate(d, hn::Mul(x, du), hn::Mul(gate, hn::Sub(one, gate))));
  }
};
struct Logistic {
  HWY_INLINE VecF32 Value(TagF32 d, VecF32 x) const { return Sigmoid(d, x); }
  HWY_INLINE VecF32 Slope(TagF32 d, VecF32 x) const {
    const VecF32 y = Sigmoid(d, x);
    return hn::Mul(y, hn::Sub(hn::Set(d, 1.0f), y));
  }
};
struct HyperbolicTangent {
  HWY_INLINE VecF32 Value(TagF32 d, VecF32 x) const { return Tanh(d, x); }
  HWY_INLINE VecF32 Slope(TagF32 d, VecF32 x) const {
    const VecF32 y = Tanh(d, x);
    return hn::NegMulAdd(y, y, hn::Set(d, 1.0f));
  }
};

template <typename Body>
HWY_INLINE void WithFunction(Act act, const Body& body) {
  switch (act) {
    case Act::kIdentity: return body(Identity{});
    case Act::kRelu: return body(Relu{});
    case Act::kRelu6: return body(Relu6{});
    case Act::kSilu: return body(LogisticGate{1.0f});
    case Act::kGelu: return body(Gelu{});
    case Act::kGeluTanh: return body(GeluTanh{});
    case Act::kQuickGelu: return body(LogisticGate{1.702f});
    case Act::kSigmoid: return body(Logistic{});
    case Act::kTanh: return body(HyperbolicTangent{});
  }
}

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
