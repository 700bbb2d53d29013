// exp, tanh, erf and the logistic function for vectors of f32.
//
// Highway's own Exp returns 0 for NaN and is undefined for large arguments, and it has no erf; these propagate NaN and
// saturate. Errors against double precision, checked by activation_test.cc: exp and sigmoid 2 ulp, tanh 3 ulp, erf 3
// ulp. Results below the smallest normal f32 are flushed to zero. Coefficients: tools/fit_simd_math.py.
//
// Compiled once per instruction set, see simd_io.h.
#if defined(FOVEA_KERNELS_SIMD_MATH_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_SIMD_MATH_H_
#undef FOVEA_KERNELS_SIMD_MATH_H_
#else
#define FOVEA_KERNELS_SIMD_MATH_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "kernels/simd_io.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// Polynomial with the given coefficients, highest power first.
HWY_INLINE VecF32 Horner(TagF32 /*d*/, VecF32 /*x*/, VecF32 sum) { return sum; }
template <typename... Rest>
HWY_INLINE VecF32 Horner(TagF32 d, VecF32 x, VecF32 sum, float next, Rest... rest) {
  return Horner(d, x, hn::MulAdd(sum, x, hn::Set(d, next)), rest...);
}

HWY_INLINE VecF32 Exp(TagF32 d, VecF32 x) {
  const hn::RebindToSigned<TagF32> di;
  // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two pieces, so that n ln 2 is exact to far below an ulp.
  const VecF32 n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504089f)));
  const VecF32 r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x));
  const VecF32 tail =
      Horner(d, r, hn::Set(d, 1.390128047e-03f), 8.363140747e-03f, 4.166685417e-02f, 1.666657776e-01f, 0.5f);
  const VecF32 y = hn::Add(hn::MulAdd(hn::Mul(r, r), tail, r), hn::Set(d, 1.0f));
  // 2^n as two factors: n reaches 128.
  const auto power = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(power);
  const auto bias = hn::Set(di, 127);
  const VecF32 first = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const VecF32 second = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(power, half), bias)));
  const VecF32 scaled = hn::Mul(hn::Mul(y, first), second);
  const VecF32 not_huge =
      hn::IfThenElse(hn::Gt(x, hn::Set(d, 88.72284f)), hn::Set(d, std::numeric_limits<float>::infinity()), scaled);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.33654f)), not_huge);
}

// 1 / (1 + e^-x)
HWY_INLINE VecF32 Sigmoid(TagF32 d, VecF32 x) {
  const VecF32 one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, Exp(d, hn::Neg(x))));
}

HWY_INLINE VecF32 Tanh(TagF32 d, VecF32 x) {
  const VecF32 one = hn::Set(d, 1.0f);
  const VecF32 magnitude = hn::Abs(x);
  const VecF32 z = hn::Mul(x, x);
  const VecF32 series = Horner(d, z, hn::Set(d, -6.096937228e-03f), 2.099735476e-02f, -5.385095254e-02f,
                               1.333277076e-01f, -3.333332837e-01f);
  const VecF32 small = hn::MulAdd(hn::Mul(magnitude, z), series, magnitude);
  const VecF32 large = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(Exp(d, hn::Add(magnitude, magnitude)), one)));
  return hn::CopySign(hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0.625f)), small, large), x);
}

HWY_INLINE VecF32 Erf(TagF32 d, VecF32 x) {
  const VecF32 limit = hn::Set(d, 3.92f);  // erf is 1 to f32 beyond
  const VecF32 z = hn::Mul(x, x);
  const VecF32 above = Horner(d, z, hn::Set(d, 2.050029934e-06f), 2.848721924e-04f, 3.765435424e-03f, 5.274815485e-02f,
                              1.904031187e-01f, 1.128379107e+00f);
  const VecF32 below = Horner(d, z, hn::Set(d, 3.809056943e-05f), 1.162479282e-03f, 1.496886276e-02f, 1.141076088e-01f,
                              5.020731091e-01f, 1.0f);
  const VecF32 inside = hn::Div(hn::Mul(x, above), below);
  return hn::IfThenElse(hn::Ge(hn::Abs(x), limit), hn::CopySign(hn::Set(d, 1.0f), x), inside);
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
