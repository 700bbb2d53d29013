// Reading and writing f32 and bf16 as vectors of f32, for every Highway kernel.
//
// Kernels compute in f32 whatever the tensor holds. They are written once as templates over the element type T (float
// or fovea::BF16) and use these functions at their edges; stores to bf16 round to nearest even and keep NaN. The *N
// variants handle the last, incomplete vector and never touch memory past the end of the array.
//
//   ForEachVector(count, [&](auto io, int64_t at) {
//     io.Store(hn::Mul(io.Load(x + at), io.Load(y + at)), z + at);
//   });
//
// Like any Highway "-inl" header this is compiled once per instruction set: include it (and base/simd.h) after
// hwy/foreach_target.h, and use it between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE inside
// fovea::kernels::HWY_NAMESPACE. Exported functions stand in an unnamed namespace there, so that names of files cannot
// clash.
#if defined(FOVEA_KERNELS_SIMD_IO_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_SIMD_IO_H_
#undef FOVEA_KERNELS_SIMD_IO_H_
#else
#define FOVEA_KERNELS_SIMD_IO_H_
#endif

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "tensor/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using TagF32 = hn::ScalableTag<float>;
using VecF32 = hn::Vec<TagF32>;

// One element.
HWY_INLINE float LoadScalar(const float* from) { return *from; }
HWY_INLINE float LoadScalar(const BF16* from) { return static_cast<float>(*from); }
HWY_INLINE void StoreScalar(float value, float* to) { *to = value; }
HWY_INLINE void StoreScalar(float value, BF16* to) { *to = BF16(value); }

// A whole vector, no alignment needed.
HWY_INLINE VecF32 LoadF32(TagF32 d, const float* from) { return hn::LoadU(d, from); }
HWY_INLINE VecF32 LoadF32(TagF32 d, const BF16* from) {
  const hn::Rebind<uint16_t, TagF32> d16;
  const hn::RebindToUnsigned<TagF32> d32;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from)))));
}
HWY_INLINE void StoreF32(VecF32 value, TagF32 d, float* to) { hn::StoreU(value, d, to); }
HWY_INLINE void StoreF32(VecF32 value, TagF32 /*d*/, BF16* to) {
  const hn::Rebind<uint16_t, TagF32> d16;
  const hn::RebindToUnsigned<TagF32> d32;
  const hn::RebindToSigned<TagF32> di32;
  const auto bits = hn::BitCast(d32, value);
  const auto high = hn::ShiftRight<16>(bits);
  const auto half_or_less = hn::Add(hn::And(high, hn::Set(d32, 1u)), hn::Set(d32, 0x7FFFu));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, half_or_less));
  const auto is_nan = hn::RebindMask(d32, hn::IsNaN(value));
  const auto chosen = hn::IfThenElse(is_nan, hn::Or(high, hn::Set(d32, 0x40u)), rounded);
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di32, chosen)), d16, reinterpret_cast<uint16_t*>(to));
}

// The first `count` elements, 0 <= count <= Lanes(d); the other lanes are zero.
HWY_INLINE VecF32 LoadF32N(TagF32 d, const float* from, int64_t count) {
#if HWY_TARGET <= HWY_AVX2  // masked loads do not fault there; elsewhere Highway may read the whole vector
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, from);
#else
  HWY_ALIGN float lanes[hn::MaxLanes(d)] = {};
  std::memcpy(lanes, from, static_cast<size_t>(count) * sizeof(float));
  return hn::Load(d, lanes);
#endif
}
HWY_INLINE VecF32 LoadF32N(TagF32 d, const BF16* from, int64_t count) {
  HWY_ALIGN BF16 lanes[hn::MaxLanes(d)];
  std::memset(static_cast<void*>(lanes), 0, sizeof(lanes));
  std::memcpy(static_cast<void*>(lanes), from, static_cast<size_t>(count) * sizeof(BF16));
  return LoadF32(d, lanes);
}
template <typename T>
HWY_INLINE void StoreF32N(VecF32 value, TagF32 d, T* to, int64_t count) {
  HWY_ALIGN T lanes[hn::MaxLanes(d)];
  StoreF32(value, d, lanes);
  std::memcpy(static_cast<void*>(to), lanes, static_cast<size_t>(count) * sizeof(T));
}

// How a loop body reads and writes: whole vectors, or the incomplete one at the end. Lets one lambda serve both.
struct FullIo {
  TagF32 d;
  template <typename T>
  HWY_INLINE VecF32 Load(const T* from) const {
    return LoadF32(d, from);
  }
  template <typename T>
  HWY_INLINE void Store(VecF32 value, T* to) const {
    StoreF32(value, d, to);
  }
  // `value` where an element exists, `other` in lanes past the end.
  HWY_INLINE VecF32 Keep(VecF32 value, VecF32 /*other*/) const { return value; }
};
struct TailIo {
  TagF32 d;
  int64_t count;
  template <typename T>
  HWY_INLINE VecF32 Load(const T* from) const {
    return LoadF32N(d, from, count);
  }
  template <typename T>
  HWY_INLINE void Store(VecF32 value, T* to) const {
    StoreF32N(value, d, to, count);
  }
  HWY_INLINE VecF32 Keep(VecF32 value, VecF32 other) const {
    return hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(count)), value, other);
  }
};

// body(io, at) for at = begin, begin + Lanes, ... while at < end; `io` is a FullIo, or a TailIo for the last.
template <typename Body>
HWY_INLINE void ForEachVector(int64_t begin, int64_t end, const Body& body) {
  const TagF32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t at = begin;
  for (; at + lanes <= end; at += lanes) body(FullIo{d}, at);
  if (at < end) body(TailIo{d, end - at}, at);
}
template <typename Body>
HWY_INLINE void ForEachVector(int64_t count, const Body& body) {
  ForEachVector(0, count, body);
}

// body(T{}) with T = float or BF16, by the type of `tensor`.
template <typename Body>
HWY_INLINE void WithElementType(const Tensor& tensor, const Body& body) {
  if (tensor.dtype() == DType::kBF16) {
    body(BF16{});
  } else {
    body(float{});
  }
}

HWY_INLINE float ReduceSum(TagF32 d, VecF32 v) { return hn::GetLane(hn::SumOfLanes(d, v)); }
HWY_INLINE float ReduceMax(TagF32 d, VecF32 v) { return hn::GetLane(hn::MaxOfLanes(d, v)); }

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
