// The loops behind Resize. See resize_hwy.h for the split of the weights.
//
// Across a row the pixels lie interleaved (r g b r g b), so four neighbouring pixels are shuffled into pairs per
// colour, (r0 r1) (g0 g1) (b0 b1), and a pairwise multiply-add handles two pixels of all colours at once; four rows
// share the weights. Down a column whole rows are added up, two at a time. Vectors are at most 32 bytes: wider ones
// would not help the short sums of typical resizes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "media/resize_hwy.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come first.
#include "hwy/highway.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/simd.h"
#include "media/resize_hwy.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::media {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Bytes `begin` to the end of a result row, one by one.
void ColumnBytes(const ColumnJob& job, const FixedWeights& down, int64_t y, int64_t begin, uint8_t* out) {
  const int16_t* weight = down.weight.data() + down.at[y];
  for (int64_t at = begin; at < job.row_bytes; ++at) {
    int64_t sum = 1 << (kWeightBits - 1);
    for (int32_t k = 0; k < 2 * down.groups[y] && down.first[y] + k < job.row_count; ++k) {
      const int16_t* group = weight + k / 2 * 4 + k % 2;
      sum += int64_t{group[0] + group[2] * (1 << kLowBits)} * job.in[(down.first[y] + k) * job.stride_bytes + at];
    }
    out[at] = static_cast<uint8_t>(std::clamp<int64_t>(sum >> kWeightBits, 0, 255));
  }
}

#if HWY_TARGET == HWY_SCALAR

// For machines without any vectors that Highway knows.
void FourRows(const uint8_t* const in[4], const FixedWeights& across, uint8_t* const out[4]) {
  for (int r = 0; r < 4; ++r) {
    for (size_t x = 0; x < across.first.size(); ++x) {
      const int16_t* weight = across.weight.data() + across.at[x];
      for (int c = 0; c < 3; ++c) {
        int64_t sum = 1 << (kWeightBits - 1);
        for (int32_t k = 0; k < 4 * across.groups[x]; ++k) {
          const int16_t* group = weight + k / 4 * 8 + k % 4;
          sum += int64_t{group[0] + group[4] * (1 << kLowBits)} * in[r][3 * (across.first[x] + k) + c];
        }
        out[r][3 * x + c] = static_cast<uint8_t>(std::clamp<int64_t>(sum >> kWeightBits, 0, 255));
      }
    }
  }
}

void Columns(const ColumnJob& job, const FixedWeights& down, int64_t y, uint8_t* out) {
  ColumnBytes(job, down, y, 0, out);
}

#else

using D8 = hn::CappedTag<uint8_t, 32>;
using D16 = hn::Repartition<int16_t, D8>;
using D32 = hn::Repartition<int32_t, D8>;
using V8 = hn::Vec<D8>;
using V16 = hn::Vec<D16>;
using V32 = hn::Vec<D32>;
constexpr bool kIsWide = hn::MaxLanes(D8()) == 32;  // two blocks of 16 bytes, else one

// Sum of pairwise products, one number for each pair of 16-bit lanes. Two registers, because some machines keep halves
// apart.
struct Sum {
  HWY_INLINE Sum() : a(hn::Zero(D32())), b(hn::Zero(D32())) {}
  HWY_INLINE void Add(V16 values, V16 weights) { a = hn::ReorderWidenMulAccumulate(D32(), values, weights, a, b); }
  HWY_INLINE V32 Total() const { return hn::RearrangeToOddPlusEven(a, b); }

  V32 a, b;
};

// low + high * 2^11, rounded to whole numbers (not yet clipped to 0..255).
HWY_INLINE V32 Rounded(const Sum& low, const Sum& high) {
  const V32 half = hn::Set(D32(), 1 << (kWeightBits - 1));
  const V32 total = hn::Add(hn::ShiftLeft<kLowBits>(high.Total()), hn::Add(low.Total(), half));
  return hn::ShiftRight<kWeightBits>(total);
}

// For each 16-byte block of a vector: which bytes of four RGB pixels make the pairs of two of them, 0x80 for zero.
alignas(32) constexpr uint8_t kPixelPairs[32] = {0,    0x80, 3,    0x80, 1,    0x80, 4,    0x80, 2,    0x80, 5,
                                                 0x80, 0x80, 0x80, 0x80, 0x80, 6,    0x80, 9,    0x80, 7,    0x80,
                                                 10,   0x80, 8,    0x80, 11,   0x80, 0x80, 0x80, 0x80, 0x80};
// Which bytes of a group's weights go with them.
alignas(32) constexpr uint8_t kLowWeights[32] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,
                                                 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7};
alignas(32) constexpr uint8_t kHighWeights[32] = {8,  9,  10, 11, 8,  9,  10, 11, 8,  9,  10, 11, 8,  9,  10, 11,
                                                  12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15};

// One part of a group: all four pixels when vectors have 32 bytes, two of them otherwise.
struct Shuffles {
  explicit HWY_INLINE Shuffles(size_t part)
      : pairs(hn::Load(D8(), kPixelPairs + 16 * part)),
        low(hn::Load(D8(), kLowWeights + 16 * part)),
        high(hn::Load(D8(), kHighWeights + 16 * part)) {}
  V8 pairs, low, high;
};

HWY_INLINE void AddGroup(const uint8_t* const in[4], int64_t offset, V8 weights, const Shuffles& shuffles, Sum low[4],
                         Sum high[4]) {
  const V16 low_weights = hn::BitCast(D16(), hn::TableLookupBytes(weights, shuffles.low));
  const V16 high_weights = hn::BitCast(D16(), hn::TableLookupBytes(weights, shuffles.high));
  for (int r = 0; r < 4; ++r) {
    const V8 pixels = hn::LoadDup128(D8(), in[r] + offset);
    const V16 pairs = hn::BitCast(D16(), hn::TableLookupBytesOr0(pixels, shuffles.pairs));
    low[r].Add(pairs, low_weights);
    high[r].Add(pairs, high_weights);
  }
}

template <class V>
HWY_INLINE hn::Vec<hn::FixedTag<int32_t, 4> > SumOfBlocks(V total) {
  const hn::FixedTag<int32_t, 4> d;
  if constexpr (kIsWide && sizeof(V) > 0)
    return hn::Add(hn::LowerHalf(d, total), hn::UpperHalf(d, total));
  else
    return total;
}

void FourRows(const uint8_t* const in[4], const FixedWeights& across, uint8_t* const out[4]) {
  const Shuffles first_part(0), second_part(kIsWide ? 0 : 1);
  const int64_t width = static_cast<int64_t>(across.first.size());
  const hn::FixedTag<int32_t, 4> d_pixel;
  const hn::FixedTag<uint8_t, 4> d_bytes;
  for (int64_t x = 0; x < width; ++x) {
    Sum low[4], high[4];
    int64_t offset = int64_t{3} * across.first[x];
    const int16_t* weight = across.weight.data() + across.at[x];
    for (int32_t g = 0; g < across.groups[x]; ++g, offset += 12, weight += 8) {
      const V8 weights = hn::BitCast(D8(), hn::LoadDup128(D16(), weight));
      AddGroup(in, offset, weights, first_part, low, high);
      if constexpr (!kIsWide) AddGroup(in, offset, weights, second_part, low, high);
    }
    for (int r = 0; r < 4; ++r) {
      // The two blocks hold the sums of different pixels: add before rounding.
      const V32 total = hn::Add(hn::ShiftLeft<kLowBits>(high[r].Total()), low[r].Total());
      const auto sum = hn::Add(SumOfBlocks(total), hn::Set(d_pixel, 1 << (kWeightBits - 1)));
      const auto pixel = hn::DemoteTo(d_bytes, hn::ShiftRight<kWeightBits>(sum));
      // Four bytes at once: the fourth is overwritten by the next pixel, so the last pixel is written on its own.
      if (x + 1 < width) {
        hn::StoreU(pixel, d_bytes, out[r] + 3 * x);
      } else {
        uint8_t bytes[4];
        hn::StoreU(pixel, d_bytes, bytes);
        std::memcpy(out[r] + 3 * x, bytes, 3);
      }
    }
  }
}

// Adds two rows' bytes, `pairs` being r0 r1 r0 r1 ..., to the sums of the lower or upper half of each block.
HWY_INLINE void AddPairs(V8 pairs, V16 low_weights, V16 high_weights, Sum low[2], Sum high[2]) {
  const V16 a = hn::BitCast(D16(), hn::InterleaveLower(D8(), pairs, hn::Zero(D8())));
  const V16 b = hn::BitCast(D16(), hn::InterleaveUpper(D8(), pairs, hn::Zero(D8())));
  low[0].Add(a, low_weights);
  high[0].Add(a, high_weights);
  low[1].Add(b, low_weights);
  high[1].Add(b, high_weights);
}

// Each argument holds 8 bytes of every block; stores the blocks one after the other.
template <class V>
HWY_INLINE void StoreBlocks(V left, V right, uint8_t* out) {
  const hn::DFromV<V> d;
  if constexpr (kIsWide) {
    const hn::Repartition<uint64_t, hn::DFromV<V> > d64;
    const auto l = hn::BitCast(d64, left), r = hn::BitCast(d64, right);
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, l, r)), d, out);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, l, r)), d, out + 16);
  } else {
    hn::StoreU(left, d, out);
    hn::StoreU(right, d, out + 8);
  }
}

// One vector of bytes of a result row.
HWY_INLINE void ColumnBlock(const ColumnJob& job, const FixedWeights& down, int64_t y, int64_t at, uint8_t* out) {
  Sum low[4], high[4];
  const int32_t first = down.first[y];
  const int16_t* weight = down.weight.data() + down.at[y];
  for (int32_t g = 0; g < down.groups[y]; ++g, weight += 4) {
    const int64_t k = first + 2 * int64_t{g};
    const uint8_t* row = job.in + k * job.stride_bytes + at;
    const V8 a = hn::LoadU(D8(), row);
    const V8 b =
        hn::LoadU(D8(), k + 1 < job.row_count ? row + job.stride_bytes : row);  // its weight is 0 when there is none
    int32_t words[2];
    std::memcpy(words, weight, sizeof(words));
    const V16 low_weights = hn::BitCast(D16(), hn::Set(D32(), words[0]));
    const V16 high_weights = hn::BitCast(D16(), hn::Set(D32(), words[1]));
    AddPairs(hn::InterleaveLower(D8(), a, b), low_weights, high_weights, low, high);
    AddPairs(hn::InterleaveUpper(D8(), a, b), low_weights, high_weights, low + 2, high + 2);
  }
  const V16 left = hn::ReorderDemote2To(D16(), Rounded(low[0], high[0]), Rounded(low[1], high[1]));
  const V16 right = hn::ReorderDemote2To(D16(), Rounded(low[2], high[2]), Rounded(low[3], high[3]));
  const hn::Half<D8> d_half;
  const auto left_bytes = hn::DemoteTo(d_half, left), right_bytes = hn::DemoteTo(d_half, right);
  StoreBlocks(left_bytes, right_bytes, out + at);
}

void Columns(const ColumnJob& job, const FixedWeights& down, int64_t y, uint8_t* out) {
  const int64_t step = static_cast<int64_t>(hn::Lanes(D8()));
  int64_t at = 0;
  for (; at + step <= job.row_bytes; at += step) ColumnBlock(job, down, y, at, out);
  if (at == job.row_bytes) return;
  if (job.row_bytes >= step) {
    ColumnBlock(job, down, y, job.row_bytes - step, out);  // again over the last whole vector
  } else {
    ColumnBytes(job, down, y, 0, out);
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace fovea::media
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::media {

HWY_EXPORT(FourRows);
HWY_EXPORT(Columns);

FixedWeights MakeFixedWeights(const AxisWeights& axis, int group_taps) {
  FixedWeights fixed;
  fixed.group_taps = group_taps;
  fixed.first = axis.first;
  const size_t out_size = axis.first.size();
  fixed.groups.resize(out_size);
  fixed.at.resize(out_size);
  int64_t total = 0;
  for (size_t i = 0; i < out_size; ++i) {
    fixed.at[i] = total;
    fixed.groups[i] = (axis.count[i] + group_taps - 1) / group_taps;
    total += int64_t{2} * group_taps * fixed.groups[i];
  }
  fixed.weight.resize(static_cast<size_t>(total));
  for (size_t i = 0; i < out_size; ++i) {
    for (int32_t k = 0; k < axis.count[i]; ++k) {
      const double scaled =
          axis.weight[i * static_cast<size_t>(axis.most_taps) + static_cast<size_t>(k)] * (1 << kWeightBits);
      const int32_t whole = static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
      int16_t* group = fixed.weight.data() + fixed.at[i] + int64_t{2} * group_taps * (k / group_taps);
      group[k % group_taps] = static_cast<int16_t>(whole & ((1 << kLowBits) - 1));
      group[group_taps + k % group_taps] = static_cast<int16_t>(whole >> kLowBits);
    }
  }
  return fixed;
}

int64_t ReadableBytes(const FixedWeights& across) {
  int64_t most = 0;
  for (size_t x = 0; x < across.first.size(); ++x) {
    most = std::max(most, int64_t{3} * across.first[x] + int64_t{12} * (across.groups[x] - 1) + 16);
  }
  return most;
}

void ResizeFourRows(const uint8_t* const in[4], const FixedWeights& across, uint8_t* const out[4]) {
  FOVEA_DISPATCH(FourRows)(in, across, out);
}

void ResizeColumns(const ColumnJob& job, const FixedWeights& down, int64_t y, uint8_t* out) {
  FOVEA_DISPATCH(Columns)(job, down, y, out);
}

}  // namespace fovea::media
#endif  // HWY_ONCE
