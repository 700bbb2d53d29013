// How the codes and scales of a tile (block_matrix.h) become vectors, and the dot products of bytes. For
// block_linear_hwy.cc alone; compiled once per instruction set, empty where there are neither AVX2 nor AVX-512.
#if defined(FOVEA_KERNELS_BLOCK_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_BLOCK_CODES_INL_H_
#undef FOVEA_KERNELS_BLOCK_CODES_INL_H_
#else
#define FOVEA_KERNELS_BLOCK_CODES_INL_H_
#endif

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/block_matrix/block_matrix.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kLanes = HWY_TARGET == HWY_AVX3 ? 16 : 8;  // rows in a vector
constexpr int64_t kPrefetch = 2048;  // bytes ahead of the codes; the hardware stops at the end of a page of 4 KiB
using DI = hn::CappedTag<int32_t, kLanes>;
using DF = hn::RebindToFloat<DI>;
using DB = hn::Repartition<uint8_t, DI>;
using VecI = hn::Vec<DI>;
using VecF = hn::Vec<DF>;
using CodeVec = hn::Vec<DB>;

// w = d q + m with q as stored.
constexpr bool HasOffset(BlockType type) {
  return type == BlockType::kQ4_1 || type == BlockType::kQ5_1 || type == BlockType::kQ4_K || type == BlockType::kQ5_K;
}

constexpr bool HasFifthBit(BlockType type) {
  return type == BlockType::kQ5_0 || type == BlockType::kQ5_1 || type == BlockType::kQ5_K;
}

inline bool HasVnni() {
  static const bool has = __builtin_cpu_supports("avx512vnni");
  return has;
}

template <int kBits>
HWY_INLINE CodeVec Shift(CodeVec v) {  // towards higher bits; what crosses from the neighbouring byte is masked later
  const hn::Repartition<uint16_t, DB> d16;
  const auto wide = hn::BitCast(d16, v);
  if constexpr (kBits >= 0) return hn::BitCast(DB(), hn::ShiftLeft<kBits>(wide));
  if constexpr (kBits < 0) return hn::BitCast(DB(), hn::ShiftRight<-kBits>(wide));
}

// The codes of 32 columns, unsigned, four columns a vector. `from` is the group's start plus 4 bytes a row left out.
template <BlockType type>
HWY_INLINE void LoadCodes(const uint8_t* from, CodeVec (&q)[8]) {
  const DB db;
  if constexpr (type == BlockType::kQ8_0) {
    for (int c = 0; c < 8; ++c) q[c] = hn::LoadU(db, from + 64 * c);
    return;
  }
  constexpr bool kHasFifth = HasFifthBit(type);
  constexpr int64_t kBefore = kHasFifth ? 64 : type == BlockType::kQ6_K ? 128 : 0;
  const CodeVec nibble = hn::Set(db, uint8_t{0x0F});
  for (int c = 0; c < 4; ++c) {
    const CodeVec pair = hn::LoadU(db, from + kBefore + 64 * c);
    q[c] = hn::And(pair, nibble);
    q[c + 4] = hn::And(Shift<-4>(pair), nibble);
  }
  if constexpr (kHasFifth) {
    const CodeVec bits = hn::LoadU(db, from), mask = hn::Set(db, uint8_t{0x10});
    q[0] = hn::OrAnd(q[0], Shift<4>(bits), mask);
    q[1] = hn::OrAnd(q[1], Shift<3>(bits), mask);
    q[2] = hn::OrAnd(q[2], Shift<2>(bits), mask);
    q[3] = hn::OrAnd(q[3], Shift<1>(bits), mask);
    q[4] = hn::OrAnd(q[4], bits, mask);
    q[5] = hn::OrAnd(q[5], Shift<-1>(bits), mask);
    q[6] = hn::OrAnd(q[6], Shift<-2>(bits), mask);
    q[7] = hn::OrAnd(q[7], Shift<-3>(bits), mask);
  }
  if constexpr (type == BlockType::kQ6_K) {
    const CodeVec mask = hn::Set(db, uint8_t{0x30});
    for (int half = 0; half < 2; ++half) {
      const CodeVec bits = hn::LoadU(db, from + 64 * half);
      q[4 * half] = hn::OrAnd(q[4 * half], Shift<4>(bits), mask);
      q[4 * half + 1] = hn::OrAnd(q[4 * half + 1], Shift<2>(bits), mask);
      q[4 * half + 2] = hn::OrAnd(q[4 * half + 2], bits, mask);
      q[4 * half + 3] = hn::OrAnd(q[4 * half + 3], Shift<-2>(bits), mask);
    }
  }
}

// Scale of each row for a group, and either the scale of its second 16 columns (q6_K) or the offset.
struct GroupScales {
  VecF scale, second;
};

HWY_INLINE VecF LoadHalves(const uint8_t* from) {
  const hn::Rebind<hwy::float16_t, DF> dh;
  return hn::PromoteTo(DF(), hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(from)));
}
HWY_INLINE VecF LoadBytes(const uint8_t* from) {
  return hn::ConvertTo(DF(), hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<uint8_t, DI>(), from)));
}
HWY_INLINE VecF LoadSignedBytes(const uint8_t* from) {
  const hn::Rebind<int8_t, DI> d8;
  return hn::ConvertTo(DF(), hn::PromoteTo(DI(), hn::LoadU(d8, reinterpret_cast<const int8_t*>(from))));
}

// The scales of one block, for rows part * kLanes and following.
template <BlockType type>
class BlockScales {
 public:
  HWY_INLINE BlockScales(const uint8_t* tile, int64_t part)
      : d_(LoadHalves(tile + 2 * kLanes * part)), second_(d_), from_(tile + 32 + part * kLanes) {
    if constexpr (type == BlockType::kQ4_1 || type == BlockType::kQ5_1)
      second_ = LoadHalves(tile + 32 + 2 * kLanes * part);
  }
  HWY_INLINE GroupScales Group(int64_t g) const {
    if constexpr (type == BlockType::kQ6_K) {
      return {hn::Mul(d_, LoadSignedBytes(from_ + 32 * g)), hn::Mul(d_, LoadSignedBytes(from_ + 32 * g + 16))};
    } else {
      return {d_, second_};
    }
  }

 private:
  VecF d_, second_;
  const uint8_t* from_;
};

// Those of q4_K and q5_K: the 6-bit scales and minima of all groups are unpacked at once.
class SubScales {
 public:
  HWY_INLINE SubScales(const uint8_t* tile, int64_t part)
      : d_(LoadHalves(tile + 2 * kLanes * part)),
        e_(hn::Neg(LoadHalves(tile + 32 + 2 * kLanes * part))),
        part_(part * kLanes) {
    const DB db;
    const CodeVec nibble = hn::Set(db, uint8_t{0x0F}), two = hn::Set(db, uint8_t{0x30});
    constexpr int64_t kBytes = 4 * kLanes;  // in a vector
    for (int64_t at = 0; at < 64; at += kBytes) {
      const CodeVec high = hn::LoadU(db, tile + 192 + at);
      const CodeVec first = hn::LoadU(db, tile + 64 + at), last = hn::LoadU(db, tile + 128 + at);
      hn::Store(hn::OrAnd(hn::And(first, nibble), Shift<4>(high), two), db, scales_ + at);
      hn::Store(hn::OrAnd(hn::And(Shift<-4>(first), nibble), Shift<2>(high), two), db, mins_ + at);
      hn::Store(hn::OrAnd(hn::And(last, nibble), high, two), db, scales_ + 64 + at);
      hn::Store(hn::OrAnd(hn::And(Shift<-4>(last), nibble), Shift<-2>(high), two), db, mins_ + 64 + at);
    }
  }
  HWY_INLINE GroupScales Group(int64_t g) const {
    return {hn::Mul(d_, LoadBytes(scales_ + 16 * g + part_)), hn::Mul(e_, LoadBytes(mins_ + 16 * g + part_))};
  }

 private:
  VecF d_, e_;
  int64_t part_;
  alignas(64) uint8_t scales_[128];
  alignas(64) uint8_t mins_[128];
};
template <BlockType type>
using ScalesOf = std::conditional_t<type == BlockType::kQ4_K || type == BlockType::kQ5_K, SubScales, BlockScales<type>>;

struct Quad {
  int8_t bytes[4];
};
HWY_INLINE VecI Broadcast(const int8_t* in) {
  int32_t four;
  std::memcpy(&four, in, 4);
  return hn::Set(DI(), four);
}

#if HWY_TARGET == HWY_AVX3
HWY_INLINE VecI MulPairs(CodeVec q, VecI in) { return VecI{_mm512_maddubs_epi16(q.raw, in.raw)}; }
HWY_INLINE VecI AddPairs(VecI a, VecI b) { return VecI{_mm512_add_epi16(a.raw, b.raw)}; }
HWY_INLINE VecI SumPairs(VecI a) { return VecI{_mm512_madd_epi16(a.raw, _mm512_set1_epi16(1))}; }
HWY_INLINE VecI WithSign(VecI in, CodeVec w) {
  return VecI{_mm512_mask_sub_epi8(in.raw, _mm512_movepi8_mask(w.raw), _mm512_setzero_si512(), in.raw)};
}
#else
HWY_INLINE VecI MulPairs(CodeVec q, VecI in) { return VecI{_mm256_maddubs_epi16(q.raw, in.raw)}; }
HWY_INLINE VecI AddPairs(VecI a, VecI b) { return VecI{_mm256_add_epi16(a.raw, b.raw)}; }
HWY_INLINE VecI SumPairs(VecI a) { return VecI{_mm256_madd_epi16(a.raw, _mm256_set1_epi16(1))}; }
HWY_INLINE VecI WithSign(VecI in, CodeVec w) { return VecI{_mm256_sign_epi8(in.raw, w.raw)}; }
#endif

// start + the products of 4 kCount columns in each row: q[kCount] times in[4 kCount].
template <BlockType type, bool kVnni, int kCount>
HWY_INLINE VecI Dot(const CodeVec* q, const int8_t* in, VecI start) {
  VecI sum = start;
  if constexpr (kVnni) {
    // As text: a function that uses the intrinsic could not be inlined into one compiled for AVX-512 without VNNI.
    for (int c = 0; c < kCount; ++c) {
      asm("vpdpbusd %2%{1to16%}, %1, %0"
          : "+v"(sum.raw)
          : "v"(q[c].raw), "m"(*reinterpret_cast<const Quad*>(in + 4 * c)));
    }
  } else if constexpr (type == BlockType::kQ8_0) {
    // |w| <= 128, |in| <= 127: a pair is at most 32,512. Signs move to the inputs.
    for (int c = 0; c < kCount; ++c) {
      const CodeVec w = hn::Xor(q[c], hn::Set(DB(), uint8_t{0x80}));
      const hn::RebindToSigned<DB> ds;
      const CodeVec magnitude = hn::BitCast(DB(), hn::Abs(hn::BitCast(ds, w)));
      sum = hn::Add(sum, SumPairs(MulPairs(magnitude, WithSign(Broadcast(in + 4 * c), w))));
    }
  } else {
    // So many pairs of at most 2 x 127 x code fit into 16 bits.
    constexpr int kMost = type == BlockType::kQ6_K ? 2 : HasFifthBit(type) ? 4 : 8;
    constexpr int kStep = kMost < kCount ? kMost : kCount;
    for (int c = 0; c < kCount; c += kStep) {
      VecI pairs = MulPairs(q[c], Broadcast(in + 4 * c));
      for (int i = 1; i < kStep; ++i) pairs = AddPairs(pairs, MulPairs(q[c + i], Broadcast(in + 4 * (c + i))));
      sum = hn::Add(sum, SumPairs(pairs));
    }
  }
  return sum;
}

#endif  // AVX2 or AVX-512
}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
