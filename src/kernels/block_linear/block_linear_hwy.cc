// BlockLinear with Highway. One vector of codes holds four columns of kLanes rows (16 with AVX-512, 8 with AVX2); each
// 32-bit lane sums the products of one row. Two instructions are not in Highway and stand in Dot below: the dot product
// of four bytes (AVX512-VNNI, with the inputs broadcast from memory in the same instruction), and where it is missing
// the multiplication of bytes into 16-bit pairs. Other processors run the reference.
#include "kernels/block_linear/block_linear.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/block_linear/block_linear_hwy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "base/simd.h"
#include "kernels/block_linear/block_codes-inl.h"
#include "kernels/simd_io.h"

#ifndef FOVEA_KERNELS_BLOCK_LINEAR_ONCE_
#define FOVEA_KERNELS_BLOCK_LINEAR_ONCE_
namespace fovea::kernels {
namespace {

constexpr int64_t kGroup = BlockMatrix::kGroup;
constexpr int64_t kTileRows = BlockMatrix::kTileRows;
constexpr int64_t kMaxTokens = 8;  // rows of x that one pass over a tile multiplies

// Rows of x as 256 high + low, both in [-127,127]. `sums` are the sums of the rounded inputs of each 32, for types with
// an offset. `starts` are what a sum of products begins with, so that unsigned codes count as q - zero: -zero * (sum of
// the inputs) of each 32 columns (of each 16 for q6_K); only those that the weights of a call ask for are made. Rows
// beyond the last, up to a multiple of kMaxTokens, are zero.
struct Inputs {
  int64_t rows = 0, columns = 0;
  std::vector<int8_t> high, low;                           // [M,I]
  std::vector<float> scales, sums;                         // [M,I/32]
  std::vector<int32_t> starts[std::size(kAllBlockTypes)];  // by type: [M,I/32], q6_K [M,I/16]

  static constexpr int64_t StartItems(BlockType type) { return type == BlockType::kQ6_K ? 16 : 32; }
  const int32_t* Starts(BlockType type, int64_t row) const {
    return starts[static_cast<int>(type)].data() + row * (columns / StartItems(type));
  }
};

// Where the products of one matrix go: its first column of y, whose rows are `row_floats` apart, and of the bias.
struct Outputs {
  float* y;
  const float* bias;  // or nullptr
  int64_t row_floats;
};

// The weights of one tile, unpacked once for many rows of x.
struct Panel {
  std::vector<uint8_t> codes;  // [I/32][8][64]
  std::vector<float> scales;   // [I/32 or I/16][16]
  std::vector<float> offsets;  // [I/32][16]
};

// What is subtracted from a code; 0 for types with an offset.
constexpr int32_t ZeroOf(BlockType type) {
  switch (type) {
    case BlockType::kQ8_0: return 128;
    case BlockType::kQ4_0: return 8;
    case BlockType::kQ5_0: return 16;
    case BlockType::kQ6_K: return 32;
    default: return 0;
  }
}

}  // namespace
}  // namespace fovea::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// What a product takes off the codes of `type` through its start. Bytes of q8_0 are signed again where there is no
// VNNI.
int32_t StartZero(BlockType type) {
#if HWY_TARGET == HWY_AVX3
  const bool is_signed = !HasVnni();
#else
  const bool is_signed = true;
#endif
  return type == BlockType::kQ8_0 && is_signed ? 0 : ZeroOf(type);
}

void RoundInputs(const float* x, Inputs& inputs, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const auto half = hn::Set(di, 128), least = hn::Set(di, -127);
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t groups = inputs.columns / kGroup;
  for (int64_t g = begin * groups; g < end * groups; ++g) {
    const float* from = x + g * kGroup;
    auto largest = hn::Zero(d), poison = hn::Zero(d);
    for (int64_t i = 0; i < kGroup; i += lanes) {
      const auto v = hn::LoadU(d, from + i);
      largest = hn::Max(largest, hn::Abs(v));
      poison = hn::MulAdd(v, hn::Zero(d), poison);
    }
    const float most = hn::GetLane(hn::MaxOfLanes(d, largest));
    const auto inverse = hn::Set(d, most > 1e-30f ? 32512.0f / most : 0.0f);
    int32_t sums[2] = {0, 0};
    for (int64_t i = 0; i < kGroup; i += lanes) {
      const auto q = hn::NearestInt(hn::Mul(hn::LoadU(d, from + i), inverse));
      const auto high = hn::ShiftRight<8>(hn::Add(q, half));
      const auto low = hn::Max(hn::Sub(q, hn::ShiftLeft<8>(high)), least);  // -128 has no positive twin
      hn::StoreU(hn::DemoteTo(d8, high), d8, inputs.high.data() + g * kGroup + i);
      hn::StoreU(hn::DemoteTo(d8, low), d8, inputs.low.data() + g * kGroup + i);
      sums[i / 16] += hn::GetLane(hn::SumOfLanes(di, hn::Add(hn::ShiftLeft<8>(high), low)));
    }
    const float scale = most / 32512.0f + hn::GetLane(hn::SumOfLanes(d, poison));
    inputs.scales[static_cast<size_t>(g)] = scale;
    inputs.sums[static_cast<size_t>(g)] = scale * static_cast<float>(sums[0] + sums[1]);
    for (const BlockType type : kAllBlockTypes) {
      std::vector<int32_t>& starts = inputs.starts[static_cast<int>(type)];
      if (starts.empty()) continue;
      const int32_t zero = StartZero(type);
      if (type == BlockType::kQ6_K) {
        starts[static_cast<size_t>(2 * g)] = -zero * sums[0];
        starts[static_cast<size_t>(2 * g + 1)] = -zero * sums[1];
      } else {
        starts[static_cast<size_t>(g)] = -zero * (sums[0] + sums[1]);
      }
    }
  }
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// start + the products of 4 kCount columns in each row with both bytes of the inputs. All of it fits 32 bits: 32
// columns of at most 255 x 32,512, and as much for the start.
template <BlockType type, bool kVnni, int kCount>
HWY_INLINE VecI DotBoth(const CodeVec* q, const int8_t* high, const int8_t* low, VecI start) {
  const VecI sum = Dot<type, kVnni, kCount>(q, high, hn::Zero(DI()));
  return hn::Add(hn::ShiftLeft<8>(sum), Dot<type, kVnni, kCount>(q, low, start));
}

// out [tokens,16] into the rows of y from `row` on: the part of one tile that exists.
HWY_INLINE void StoreTile(const float* out, int64_t row, int64_t tokens, int64_t tile, int64_t rows,
                          const Outputs& to) {
  const int64_t at = tile * kTileRows, count = std::min(kTileRows, rows - at);
  for (int64_t t = 0; t < tokens; ++t) {
    float* y = to.y + (row + t) * to.row_floats + at;
    for (int64_t r = 0; r < count; ++r)
      y[r] = to.bias != nullptr ? out[t * kTileRows + r] + to.bias[at + r] : out[t * kTileRows + r];
  }
}

// Adds kTokens rows of x times one group of a tile: q[8] codes of 32 columns, from group `g`.
template <BlockType type, bool kVnni, int kTokens>
HWY_INLINE void AddGroup(const CodeVec (&q)[8], const GroupScales& s, const Inputs& x, int64_t row, int64_t g,
                         VecF (&sums)[kTokens]) {
  const DF df;
  const DI di;
  const int64_t groups = x.columns / kGroup;
  HWY_UNROLL(8)
  for (int t = 0; t < kTokens; ++t) {
    const int8_t* high = x.high.data() + (row + t) * x.columns + g * kGroup;
    const int8_t* low = x.low.data() + (row + t) * x.columns + g * kGroup;
    const int64_t at = (row + t) * groups + g;
    const VecF scale = hn::Set(df, x.scales[static_cast<size_t>(at)]);
    const int32_t* start = x.Starts(type, row + t);
    if constexpr (type == BlockType::kQ6_K) {
      const VecI first = DotBoth<type, kVnni, 4>(q, high, low, hn::Set(di, start[2 * g]));
      const VecI second = DotBoth<type, kVnni, 4>(q + 4, high + 16, low + 16, hn::Set(di, start[2 * g + 1]));
      sums[t] = hn::MulAdd(hn::ConvertTo(df, first), hn::Mul(s.scale, scale), sums[t]);
      sums[t] = hn::MulAdd(hn::ConvertTo(df, second), hn::Mul(s.second, scale), sums[t]);
    } else if constexpr (HasOffset(type)) {
      const VecI dot = DotBoth<type, kVnni, 8>(q, high, low, hn::Zero(di));
      sums[t] = hn::MulAdd(hn::ConvertTo(df, dot), hn::Mul(s.scale, scale), sums[t]);
      sums[t] = hn::MulAdd(s.second, hn::Set(df, x.sums[static_cast<size_t>(at)]), sums[t]);
    } else {
      const VecI dot = DotBoth<type, kVnni, 8>(q, high, low, hn::Set(di, start[g]));
      sums[t] = hn::MulAdd(hn::ConvertTo(df, dot), hn::Mul(s.scale, scale), sums[t]);
    }
  }
}

// Rows row .. row + kTokens of x times tiles [begin, end), straight from the blocks.
template <BlockType type, bool kVnni, int kTokens>
HWY_INLINE void MultiplyTiles(const BlockMatrix& w, int64_t begin, int64_t end, const Inputs& x, int64_t row,
                              const Outputs& to) {
  constexpr int64_t kGroups = BlockItems(type) / kGroup;
  const int64_t blocks = w.columns() / BlockItems(type);
  for (int64_t tile = begin; tile < end; ++tile) {
    HWY_ALIGN float out[kTokens][kTileRows];
    for (int64_t part = 0; part < kTileRows / kLanes; ++part) {
      VecF sums[kTokens];
      for (VecF& sum : sums) sum = hn::Zero(DF());
      const uint8_t* scales = w.scales(tile);
      const uint8_t* codes = w.codes(tile) + part * 4 * kLanes;
      for (int64_t b = 0; b < blocks; ++b, scales += TileScaleBytes(type)) {
        const ScalesOf<type> block(scales, part);
        for (int64_t g = 0; g < kGroups; ++g, codes += TileCodeBytes(type)) {
          for (int64_t line = 0; line < TileCodeBytes(type); line += 64) hwy::Prefetch(codes + kPrefetch + line);
          CodeVec q[8];
          LoadCodes<type>(codes, q);
          AddGroup<type, kVnni, kTokens>(q, block.Group(g), x, row, b * kGroups + g, sums);
        }
      }
      for (int t = 0; t < kTokens; ++t) hn::StoreU(sums[t], DF(), out[t] + part * kLanes);
    }
    StoreTile(&out[0][0], row, std::min<int64_t>(kTokens, x.rows - row), tile, w.rows(), to);
  }
}

template <BlockType type>
HWY_INLINE void UnpackTile(const BlockMatrix& w, int64_t tile, Panel& panel) {
  constexpr int64_t kGroups = BlockItems(type) / kGroup, kScales = type == BlockType::kQ6_K ? 2 : 1;
  const int64_t blocks = w.columns() / BlockItems(type);
  for (int64_t part = 0; part < kTileRows / kLanes; ++part) {
    const uint8_t* scales = w.scales(tile);
    const uint8_t* codes = w.codes(tile) + part * 4 * kLanes;
    for (int64_t b = 0; b < blocks; ++b, scales += TileScaleBytes(type)) {
      const ScalesOf<type> block(scales, part);
      for (int64_t k = 0; k < kGroups; ++k, codes += TileCodeBytes(type)) {
        const int64_t g = b * kGroups + k, at = part * kLanes;
        CodeVec q[8];
        LoadCodes<type>(codes, q);
        for (int64_t c = 0; c < 8; ++c)
          hn::StoreU(q[c], DB(), panel.codes.data() + (g * 8 + c) * 64 + part * 4 * kLanes);
        const GroupScales s = block.Group(k);
        hn::StoreU(s.scale, DF(), panel.scales.data() + g * kScales * kTileRows + at);
        if (type == BlockType::kQ6_K) hn::StoreU(s.second, DF(), panel.scales.data() + (2 * g + 1) * kTileRows + at);
        if (HasOffset(type)) hn::StoreU(s.second, DF(), panel.offsets.data() + g * kTileRows + at);
      }
    }
  }
}

// kTokens rows of x times an unpacked tile.
template <BlockType type, bool kVnni, int kTokens>
HWY_INLINE void MultiplyPanel(const Panel& panel, const Inputs& x, int64_t row, float* out) {
  constexpr int64_t kScales = type == BlockType::kQ6_K ? 2 : 1;
  const DF df;
  for (int64_t part = 0; part < kTileRows / kLanes; ++part) {
    VecF sums[kTokens];
    for (VecF& sum : sums) sum = hn::Zero(df);
    const int64_t at = part * kLanes;
    for (int64_t g = 0; g < x.columns / kGroup; ++g) {
      CodeVec q[8];
      for (int64_t c = 0; c < 8; ++c) q[c] = hn::LoadU(DB(), panel.codes.data() + (g * 8 + c) * 64 + 4 * at);
      GroupScales s;
      s.scale = hn::LoadU(df, panel.scales.data() + g * kScales * kTileRows + at);
      s.second = s.scale;
      if (type == BlockType::kQ6_K) s.second = hn::LoadU(df, panel.scales.data() + (2 * g + 1) * kTileRows + at);
      if (HasOffset(type)) s.second = hn::LoadU(df, panel.offsets.data() + g * kTileRows + at);
      AddGroup<type, kVnni, kTokens>(q, s, x, row, g, sums);
    }
    for (int t = 0; t < kTokens; ++t) hn::StoreU(sums[t], df, out + t * kTileRows + at);
  }
}

template <BlockType type, bool kVnni>
HWY_NOINLINE void MultiplyRange(const BlockMatrix& w, int64_t begin, int64_t end, const Inputs& x, const Outputs& to) {
  if (x.rows == 1) return MultiplyTiles<type, kVnni, 1>(w, begin, end, x, 0, to);
  if (x.rows == 2) return MultiplyTiles<type, kVnni, 2>(w, begin, end, x, 0, to);
  if (x.rows <= 4) return MultiplyTiles<type, kVnni, 4>(w, begin, end, x, 0, to);
  thread_local Panel panel;
  const auto groups = static_cast<size_t>(x.columns / kGroup);
  panel.codes.resize(groups * 512);
  panel.scales.resize(groups * 2 * kTileRows);
  panel.offsets.resize(groups * kTileRows);
  constexpr int kTokens = HWY_TARGET == HWY_AVX3 ? 8 : 4;
  for (int64_t tile = begin; tile < end; ++tile) {
    UnpackTile<type>(w, tile, panel);
    for (int64_t row = 0; row < x.rows; row += kTokens) {
      HWY_ALIGN float out[kTokens * kTileRows];
      MultiplyPanel<type, kVnni, kTokens>(panel, x, row, out);
      StoreTile(out, row, std::min<int64_t>(kTokens, x.rows - row), tile, w.rows(), to);
    }
  }
}

// Products of tiles [begin, end) of `w` with all rows of x.
void Multiply(const BlockMatrix& w, int64_t begin, int64_t end, const Inputs& x, const Outputs& to) {
  const auto run = [&](auto type) {
    constexpr BlockType kType = decltype(type)::value;
#if HWY_TARGET == HWY_AVX3
    if (HasVnni()) return MultiplyRange<kType, true>(w, begin, end, x, to);
#endif
    MultiplyRange<kType, false>(w, begin, end, x, to);
  };
  switch (w.type()) {
    case BlockType::kQ4_0: return run(std::integral_constant<BlockType, BlockType::kQ4_0>());
    case BlockType::kQ4_1: return run(std::integral_constant<BlockType, BlockType::kQ4_1>());
    case BlockType::kQ5_0: return run(std::integral_constant<BlockType, BlockType::kQ5_0>());
    case BlockType::kQ5_1: return run(std::integral_constant<BlockType, BlockType::kQ5_1>());
    case BlockType::kQ8_0: return run(std::integral_constant<BlockType, BlockType::kQ8_0>());
    case BlockType::kQ4_K: return run(std::integral_constant<BlockType, BlockType::kQ4_K>());
    case BlockType::kQ5_K: return run(std::integral_constant<BlockType, BlockType::kQ5_K>());
    case BlockType::kQ6_K: return run(std::integral_constant<BlockType, BlockType::kQ6_K>());
  }
}

bool CanMultiply() { return true; }

#else

bool CanMultiply() { return false; }
void Multiply(const BlockMatrix&, int64_t, int64_t, const Inputs&, const Outputs&) {}

#endif

}  // namespace
}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(RoundInputs);
HWY_EXPORT(CanMultiply);
HWY_EXPORT(Multiply);

namespace {

void Round(const float* x, std::span<const BlockMatrix* const> weights, Inputs& inputs) {
  const int64_t I = inputs.columns;
  const auto padded = static_cast<size_t>((inputs.rows + kMaxTokens - 1) / kMaxTokens * kMaxTokens);
  inputs.high.resize(padded * static_cast<size_t>(I));
  inputs.low.resize(inputs.high.size());
  inputs.scales.resize(padded * static_cast<size_t>(I / kGroup));
  inputs.sums.resize(inputs.scales.size());
  for (auto& starts : inputs.starts) starts.clear();
  for (const BlockMatrix* weight : weights) {
    if (ZeroOf(weight->type()) == 0) continue;
    const auto size = padded * static_cast<size_t>(I / Inputs::StartItems(weight->type()));
    inputs.starts[static_cast<int>(weight->type())].resize(size);
  }
  base::ParallelFor(inputs.rows, std::max<int64_t>(1, (1 << 15) / I), [&](int64_t begin, int64_t end) {
    FOVEA_DISPATCH(RoundInputs)(x, inputs, begin, end);
  });
  // Rows that fill the last pass up: their products are thrown away.
  std::fill(inputs.high.begin() + inputs.rows * I, inputs.high.end(), int8_t{0});
  std::fill(inputs.low.begin() + inputs.rows * I, inputs.low.end(), int8_t{0});
}

// Calls body(matrix index, first tile, last tile) for the part of each matrix that lies in tiles [begin, end) of all.
template <typename Body>
void ForEachMatrix(std::span<const BlockMatrix* const> weights, int64_t begin, int64_t end, const Body& body) {
  int64_t before = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const int64_t tiles = weights[i]->tiles();
    const int64_t first = std::max<int64_t>(0, begin - before), last = std::min(tiles, end - before);
    if (first < last) body(i, first, last);
    before += tiles;
  }
}

}  // namespace

void BlockLinear(const Tensor& x, const BlockMatrix& weight, const Tensor& bias, Act act, Tensor& y) {
  const BlockMatrix* const weights[] = {&weight};
  BlockLinear(x, weights, bias, act, y);
}

void BlockLinear(const Tensor& x, std::span<const BlockMatrix* const> weights, const Tensor& bias, Act act, Tensor& y) {
  if (!FOVEA_DISPATCH(CanMultiply)()) return ref::BlockLinear(x, weights, bias, act, y);
  const int64_t I = weights[0]->columns(), O = y.dim(1), M = x.numel() / I;
  // So many rows at once that their bytes stay in the second-level cache while the tiles pass by.
  constexpr int64_t kCacheBytes = 1 << 20, kLeastBytesPerThread = 1 << 16;
  const int64_t most = std::max(kMaxTokens, kCacheBytes / (2 * I) / kMaxTokens * kMaxTokens);
  int64_t tiles = 0, bytes = 0;
  for (const BlockMatrix* weight : weights) {
    tiles += weight->tiles();
    bytes += weight->size_bytes();
  }
  thread_local Inputs inputs_of_thread;
  Inputs& inputs = inputs_of_thread;
  inputs.columns = I;
  for (int64_t row = 0; row < M; row += most) {
    inputs.rows = std::min(most, M - row);
    Round(x.data<float>() + row * I, weights, inputs);
    const int64_t tile_work = std::max<int64_t>(1, bytes / std::max<int64_t>(1, tiles)) * inputs.rows;
    base::ParallelFor(tiles, std::max<int64_t>(1, kLeastBytesPerThread / tile_work), [&](int64_t begin, int64_t end) {
      ForEachMatrix(weights, begin, end, [&](size_t i, int64_t first, int64_t last) {
        int64_t column = 0;
        for (size_t k = 0; k < i; ++k) column += weights[k]->rows();
        const Outputs to{.y = y.mutable_data<float>() + row * O + column,
                         .bias = bias.defined() ? bias.data<float>() + column : nullptr,
                         .row_floats = O};
        FOVEA_DISPATCH(Multiply)(*weights[i], first, last, inputs, to);
      });
    });
  }
  if (act != Act::kIdentity) Activate(act, y, y);
}

}  // namespace fovea::kernels
#endif
