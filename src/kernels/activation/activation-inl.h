// The activation functions as functors over vectors, each with its derivative, for the loops of activation_hwy.cc and
// for kernels that apply one to what they computed. Compiled once per instruction set, see kernels/simd_io.h.
#if defined(FOVEA_KERNELS_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_ACTIVATION_INL_H_
#undef FOVEA_KERNELS_ACTIVATION_INL_H_
#else
#define FOVEA_KERNELS_ACTIVATION_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/activation/activation.h"
#include "kernels/simd_math.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

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

// body(functor) with the functor of `act`.
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

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
