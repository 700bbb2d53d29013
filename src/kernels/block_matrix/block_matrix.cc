// Packing into tiles and back. Both walk one row's block at a time through the same description of where a code lies,
// so a round trip proves the layout; speed matters little here, since loading is bound by reading the file.
#include "kernels/block_matrix/block_matrix.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "base/error.h"
#include "base/parallel.h"

namespace fovea::kernels {
namespace {

constexpr int64_t kRows = BlockMatrix::kTileRows;
constexpr int64_t kGroup = BlockMatrix::kGroup;
constexpr int64_t kHugePage = int64_t{2} << 20;

constexpr int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// The codes of one block, unpacked: q[k] as stored (unsigned; q8_0 as q + 128).
struct Codes {
  uint8_t q[256];
};

template <BlockType type>
Codes UnpackCodes(const uint8_t* block) {
  Codes codes;
  const auto nibbles = [&](const uint8_t* from, int64_t groups, int64_t half) {  // groups of 2 half columns
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t i = 0; i < half; ++i) {
        codes.q[2 * g * half + i] = from[g * half + i] & 0x0F;
        codes.q[(2 * g + 1) * half + i] = from[g * half + i] >> 4;
      }
    }
  };
  switch (type) {
    case BlockType::kQ8_0:
      for (int64_t i = 0; i < 32; ++i) codes.q[i] = block[2 + i] ^ 0x80;
      break;
    case BlockType::kQ4_0: nibbles(block + 2, 1, 16); break;
    case BlockType::kQ4_1: nibbles(block + 4, 1, 16); break;
    case BlockType::kQ5_0:
    case BlockType::kQ5_1: {
      const uint8_t* high = block + (type == BlockType::kQ5_0 ? 2 : 4);
      nibbles(high + 4, 1, 16);
      for (int64_t i = 0; i < 32; ++i) codes.q[i] |= static_cast<uint8_t>(((high[i / 8] >> (i % 8)) & 1) << 4);
      break;
    }
    case BlockType::kQ4_K: nibbles(block + 16, 4, 32); break;
    case BlockType::kQ5_K:
      nibbles(block + 48, 4, 32);
      for (int64_t i = 0; i < 256; ++i) codes.q[i] |= static_cast<uint8_t>(((block[16 + i % 32] >> (i / 32)) & 1) << 4);
      break;
    case BlockType::kQ6_K:
      nibbles(block, 2, 64);
      for (int64_t i = 0; i < 256; ++i)
        codes.q[i] |= static_cast<uint8_t>(((block[128 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3) << 4);
      break;
  }
  return codes;
}

// The reverse; bytes of `block` that hold codes are overwritten.
template <BlockType type>
void PackCodes(const Codes& codes, uint8_t* block) {
  const auto nibbles = [&](uint8_t* to, int64_t groups, int64_t half) {
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t i = 0; i < half; ++i) {
        to[g * half + i] =
            static_cast<uint8_t>((codes.q[2 * g * half + i] & 0x0F) | (codes.q[(2 * g + 1) * half + i] & 0x0F) << 4);
      }
    }
  };
  switch (type) {
    case BlockType::kQ8_0:
      for (int64_t i = 0; i < 32; ++i) block[2 + i] = codes.q[i] ^ 0x80;
      break;
    case BlockType::kQ4_0: nibbles(block + 2, 1, 16); break;
    case BlockType::kQ4_1: nibbles(block + 4, 1, 16); break;
    case BlockType::kQ5_0:
    case BlockType::kQ5_1: {
      uint8_t* high = block + (type == BlockType::kQ5_0 ? 2 : 4);
      nibbles(high + 4, 1, 16);
      std::fill_n(high, 4, uint8_t{0});
      for (int64_t i = 0; i < 32; ++i) high[i / 8] |= static_cast<uint8_t>((codes.q[i] >> 4) << (i % 8));
      break;
    }
    case BlockType::kQ4_K: nibbles(block + 16, 4, 32); break;
    case BlockType::kQ5_K:
      nibbles(block + 48, 4, 32);
      std::fill_n(block + 16, 32, uint8_t{0});
      for (int64_t i = 0; i < 256; ++i) block[16 + i % 32] |= static_cast<uint8_t>((codes.q[i] >> 4) << (i / 32));
      break;
    case BlockType::kQ6_K:
      nibbles(block, 2, 64);
      std::fill_n(block + 128, 64, uint8_t{0});
      for (int64_t i = 0; i < 256; ++i)
        block[128 + i / 128 * 32 + i % 32] |= static_cast<uint8_t>((codes.q[i] >> 4) << (i % 128 / 32 * 2));
      break;
  }
}

// The eight 6-bit scales and minima of q4_K and q5_K, from their 12 bytes.
struct SubScales {
  uint8_t scale[8], min[8];
};

SubScales UnpackSubScales(const uint8_t* bytes) {
  SubScales sub;
  for (int i = 0; i < 4; ++i) {
    sub.scale[i] = bytes[i] & 63;
    sub.min[i] = bytes[4 + i] & 63;
    sub.scale[4 + i] = static_cast<uint8_t>((bytes[8 + i] & 15) | (bytes[i] >> 6) << 4);
    sub.min[4 + i] = static_cast<uint8_t>((bytes[8 + i] >> 4) | (bytes[4 + i] >> 6) << 4);
  }
  return sub;
}

void PackSubScales(const SubScales& sub, uint8_t* bytes) {
  for (int i = 0; i < 4; ++i) {
    bytes[i] = static_cast<uint8_t>(sub.scale[i] | (sub.scale[4 + i] >> 4) << 6);
    bytes[4 + i] = static_cast<uint8_t>(sub.min[i] | (sub.min[4 + i] >> 4) << 6);
    bytes[8 + i] = static_cast<uint8_t>((sub.scale[4 + i] & 15) | (sub.min[4 + i] & 15) << 4);
  }
}

// Scales of row `r` of a tile: `tile` is the scale plane's part for one block, zeroed before the first row.
template <BlockType type>
void PutScales(const uint8_t* block, int64_t r, uint8_t* tile) {
  const bool has_two = type == BlockType::kQ4_1 || type == BlockType::kQ5_1;
  switch (type) {
    case BlockType::kQ4_K:
    case BlockType::kQ5_K: {
      std::memcpy(tile + 2 * r, block, 2);
      std::memcpy(tile + 32 + 2 * r, block + 2, 2);
      const SubScales sub = UnpackSubScales(block + 4);
      for (int64_t g = 0; g < 8; ++g) {
        tile[64 + 16 * g + r] = static_cast<uint8_t>((sub.scale[g] & 15) | (sub.min[g] & 15) << 4);
        const int high = (sub.scale[g] >> 4) | (sub.min[g] >> 4) << 2;
        tile[192 + 16 * (g % 4) + r] |= static_cast<uint8_t>(high << (g / 4 * 4));
      }
      break;
    }
    case BlockType::kQ6_K:
      std::memcpy(tile + 2 * r, block + 208, 2);
      for (int64_t g = 0; g < 16; ++g) tile[32 + 16 * g + r] = block[192 + g];
      break;
    default:
      std::memcpy(tile + 2 * r, block, 2);
      if (has_two) std::memcpy(tile + 32 + 2 * r, block + 2, 2);
  }
}

template <BlockType type>
void TakeScales(const uint8_t* tile, int64_t r, uint8_t* block) {
  const bool has_two = type == BlockType::kQ4_1 || type == BlockType::kQ5_1;
  switch (type) {
    case BlockType::kQ4_K:
    case BlockType::kQ5_K: {
      std::memcpy(block, tile + 2 * r, 2);
      std::memcpy(block + 2, tile + 32 + 2 * r, 2);
      SubScales sub;
      for (int64_t g = 0; g < 8; ++g) {
        const int low = tile[64 + 16 * g + r], high = tile[192 + 16 * (g % 4) + r] >> (g / 4 * 4);
        sub.scale[g] = static_cast<uint8_t>((low & 15) | (high & 3) << 4);
        sub.min[g] = static_cast<uint8_t>((low >> 4) | ((high >> 2) & 3) << 4);
      }
      PackSubScales(sub, block + 4);
      break;
    }
    case BlockType::kQ6_K:
      std::memcpy(block + 208, tile + 2 * r, 2);
      for (int64_t g = 0; g < 16; ++g) block[192 + g] = tile[32 + 16 * g + r];
      break;
    default:
      std::memcpy(block, tile + 2 * r, 2);
      if (has_two) std::memcpy(block + 2, tile + 32 + 2 * r, 2);
  }
}

constexpr bool HasFifthBit(BlockType type) {
  return type == BlockType::kQ5_0 || type == BlockType::kQ5_1 || type == BlockType::kQ5_K;
}

uint32_t LoadWord(const uint8_t* from) {
  uint32_t word;
  std::memcpy(&word, from, 4);
  return word;
}
void StoreWord(uint32_t word, uint8_t* to) { std::memcpy(to, &word, 4); }

// Codes q[32] of row `r` into the codes of one group, four columns (a word of bytes) at a time.
template <BlockType type>
void PutCodes(const uint8_t* q, int64_t r, uint8_t* group) {
  uint8_t* to = group + 4 * r;
  if constexpr (type == BlockType::kQ8_0) {
    for (int c = 0; c < 8; ++c) StoreWord(LoadWord(q + 4 * c), to + 64 * c);
    return;
  }
  if constexpr (HasFifthBit(type)) {
    uint32_t bits = 0;
    for (int c = 0; c < 8; ++c) bits |= ((LoadWord(q + 4 * c) >> 4) & 0x01010101u) << c;
    StoreWord(bits, to);
    to += 64;
  }
  if constexpr (type == BlockType::kQ6_K) {
    for (int half = 0; half < 2; ++half, to += 64) {
      uint32_t bits = 0;
      for (int c = 0; c < 4; ++c) bits |= ((LoadWord(q + 16 * half + 4 * c) >> 4) & 0x03030303u) << (2 * c);
      StoreWord(bits, to);
    }
  }
  for (int c = 0; c < 4; ++c) {
    const uint32_t low = LoadWord(q + 4 * c) & 0x0F0F0F0Fu, high = LoadWord(q + 16 + 4 * c) & 0x0F0F0F0Fu;
    StoreWord(low | high << 4, to + 64 * c);
  }
}

template <BlockType type>
void TakeCodes(const uint8_t* group, int64_t r, uint8_t* q) {
  const uint8_t* from = group + 4 * r;
  if constexpr (type == BlockType::kQ8_0) {
    for (int c = 0; c < 8; ++c) StoreWord(LoadWord(from + 64 * c), q + 4 * c);
    return;
  }
  constexpr int64_t kBefore = HasFifthBit(type) ? 64 : type == BlockType::kQ6_K ? 128 : 0;
  for (int c = 0; c < 8; ++c) {
    uint32_t word = (LoadWord(from + kBefore + 64 * (c % 4)) >> (c / 4 * 4)) & 0x0F0F0F0Fu;
    if constexpr (HasFifthBit(type)) word |= ((LoadWord(from) >> c) & 0x01010101u) << 4;
    if constexpr (type == BlockType::kQ6_K) word |= ((LoadWord(from + 64 * (c / 4)) >> (c % 4 * 2)) & 0x03030303u) << 4;
    StoreWord(word, q + 4 * c);
  }
}

// body(std::integral_constant<BlockType, type>()): the loops are compiled for each type.
template <typename Body>
auto WithType(BlockType type, const Body& body) {
  switch (type) {
    case BlockType::kQ4_0: return body(std::integral_constant<BlockType, BlockType::kQ4_0>());
    case BlockType::kQ4_1: return body(std::integral_constant<BlockType, BlockType::kQ4_1>());
    case BlockType::kQ5_0: return body(std::integral_constant<BlockType, BlockType::kQ5_0>());
    case BlockType::kQ5_1: return body(std::integral_constant<BlockType, BlockType::kQ5_1>());
    case BlockType::kQ8_0: return body(std::integral_constant<BlockType, BlockType::kQ8_0>());
    case BlockType::kQ4_K: return body(std::integral_constant<BlockType, BlockType::kQ4_K>());
    case BlockType::kQ5_K: return body(std::integral_constant<BlockType, BlockType::kQ5_K>());
    default: return body(std::integral_constant<BlockType, BlockType::kQ6_K>());
  }
}

float Half(const uint8_t* bytes) {
  F16 half;
  std::memcpy(&half.bits, bytes, 2);
  return static_cast<float>(half);
}

}  // namespace

BlockMatrix::BlockMatrix(BlockType type, int64_t rows, int64_t columns) : type_(type), rows_(rows), columns_(columns) {
  scale_plane_bytes_ = RoundUp(columns / BlockItems(type) * TileScaleBytes(type), 64);
  tile_bytes_ = scale_plane_bytes_ + columns / kGroup * TileCodeBytes(type);
  // Large pages: a product streams through all of it, and would miss the TLB every few lines.
  const int64_t size = std::max<int64_t>(size_bytes(), 64);
  const int64_t alignment = size >= kHugePage ? kHugePage : 64;
  data_ = static_cast<uint8_t*>(std::aligned_alloc(alignment, static_cast<size_t>(RoundUp(size, alignment))));
  if (data_ == nullptr)
    Fail(ErrorCode::kResourceExhausted, "[blocks] no memory for ", size, " bytes of weights in ", type);
  if (alignment == kHugePage) madvise(data_, static_cast<size_t>(RoundUp(size, alignment)), MADV_HUGEPAGE);
}

BlockMatrix::~BlockMatrix() { std::free(data_); }

void BlockMatrix::PackTile(int64_t tile, std::span<const int64_t> row_of, std::span<const uint8_t> blocks) {
  uint8_t* scale_plane = data_ + tile * tile_bytes_;
  uint8_t* code_plane = scale_plane + scale_plane_bytes_;
  std::memset(scale_plane, 0, static_cast<size_t>(tile_bytes_));
  const int64_t count = std::min(kRows, rows_ - tile * kRows);
  WithType(type_, [&](auto constant) {
    constexpr BlockType kType = decltype(constant)::value;
    constexpr int64_t kGroups = BlockItems(kType) / kGroup;
    const int64_t per_row = columns_ / BlockItems(kType);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t row = row_of.empty() ? tile * kRows + r : row_of[static_cast<size_t>(tile * kRows + r)];
      const uint8_t* block = blocks.data() + row * per_row * BlockBytes(kType);
      for (int64_t b = 0; b < per_row; ++b, block += BlockBytes(kType)) {
        PutScales<kType>(block, r, scale_plane + b * TileScaleBytes(kType));
        const Codes codes = UnpackCodes<kType>(block);
        for (int64_t g = 0; g < kGroups; ++g)
          PutCodes<kType>(codes.q + g * kGroup, r, code_plane + (b * kGroups + g) * TileCodeBytes(kType));
      }
    }
  });
}

std::shared_ptr<const BlockMatrix> BlockMatrix::FromFile(BlockType type, int64_t rows, int64_t columns,
                                                         std::span<const uint8_t> blocks) {
  constexpr int64_t kMaxItems = int64_t{1} << 48;
  Require(rows >= 0 && columns > 0 && columns % BlockItems(type) == 0 && rows <= kMaxItems / columns,
          "[blocks] expected rows of a multiple of ", BlockItems(type), " weights for ", type, ", got [", rows, ",",
          columns, "]");
  const int64_t bytes = rows * (columns / BlockItems(type) * BlockBytes(type));
  Require(static_cast<int64_t>(blocks.size()) == bytes, "[blocks] expected ", bytes, " bytes for ", type, "[", rows,
          ",", columns, "], got ", blocks.size());
  const auto matrix = std::shared_ptr<BlockMatrix>(new BlockMatrix(type, rows, columns));
  base::ParallelFor(matrix->tiles(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) matrix->PackTile(tile, {}, blocks);
  });
  return matrix;
}

std::shared_ptr<const BlockMatrix> BlockMatrix::FromFile(BlockType type, std::span<const int64_t> row_of,
                                                         int64_t columns, std::span<const uint8_t> blocks) {
  Require(columns > 0 && columns % BlockItems(type) == 0, "[blocks] expected rows of a multiple of ", BlockItems(type),
          " weights for ", type, ", got ", columns);
  const auto row_bytes = static_cast<size_t>(columns / BlockItems(type) * BlockBytes(type));
  const auto in_file = static_cast<int64_t>(blocks.size() / row_bytes);
  for (const int64_t row : row_of)
    Require(row >= 0 && row < in_file, "[blocks] expected rows below ", in_file, ", got ", row);
  const auto matrix = std::shared_ptr<BlockMatrix>(new BlockMatrix(type, static_cast<int64_t>(row_of.size()), columns));
  base::ParallelFor(matrix->tiles(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) matrix->PackTile(tile, row_of, blocks);
  });
  return matrix;
}

void BlockMatrix::RowBlocks(int64_t row, std::span<uint8_t> out) const {
  FOVEA_DCHECK(row >= 0 && row < rows_);
  const int64_t r = row % kRows;
  const uint8_t *scale_plane = scales(row / kRows), *code_plane = codes(row / kRows);
  WithType(type_, [&](auto constant) {
    constexpr BlockType kType = decltype(constant)::value;
    constexpr int64_t kGroups = BlockItems(kType) / kGroup;
    uint8_t* block = out.data();
    for (int64_t b = 0; b < columns_ / BlockItems(kType); ++b, block += BlockBytes(kType)) {
      TakeScales<kType>(scale_plane + b * TileScaleBytes(kType), r, block);
      Codes taken;
      for (int64_t g = 0; g < kGroups; ++g)
        TakeCodes<kType>(code_plane + (b * kGroups + g) * TileCodeBytes(kType), r, taken.q + g * kGroup);
      PackCodes<kType>(taken, block);
    }
  });
}

void DequantizeBlock(BlockType type, const uint8_t* block, float* out) {
  const Codes codes = WithType(type, [&](auto t) { return UnpackCodes<decltype(t)::value>(block); });
  const float d = Half(type == BlockType::kQ6_K ? block + 208 : block);
  switch (type) {
    case BlockType::kQ8_0:
    case BlockType::kQ4_0:
    case BlockType::kQ5_0: {
      const int zero = type == BlockType::kQ8_0 ? 128 : type == BlockType::kQ4_0 ? 8 : 16;
      for (int64_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(codes.q[i] - zero);
      break;
    }
    case BlockType::kQ4_1:
    case BlockType::kQ5_1: {
      const float m = Half(block + 2);
      for (int64_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(codes.q[i]) + m;
      break;
    }
    case BlockType::kQ4_K:
    case BlockType::kQ5_K: {
      const float e = Half(block + 2);
      const SubScales sub = UnpackSubScales(block + 4);
      for (int64_t i = 0; i < 256; ++i) {
        const int64_t g = i / 32;
        out[i] =
            d * static_cast<float>(sub.scale[g]) * static_cast<float>(codes.q[i]) - e * static_cast<float>(sub.min[g]);
      }
      break;
    }
    case BlockType::kQ6_K:
      for (int64_t i = 0; i < 256; ++i) {
        const auto scale = static_cast<float>(static_cast<int8_t>(block[192 + i / 16]));
        out[i] = d * scale * static_cast<float>(codes.q[i] - 32);
      }
      break;
  }
}

void GatherBlockRows(const BlockMatrix& table, const Tensor& index, Tensor& y) {
  const int64_t items = BlockItems(table.type()), per_row = table.columns() / items;
  base::ParallelFor(index.numel(), 4, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> blocks(static_cast<size_t>(per_row * BlockBytes(table.type())));
    for (int64_t n = begin; n < end; ++n) {
      table.RowBlocks(index.data<int64_t>()[n], blocks);
      float* out = y.mutable_data<float>() + n * table.columns();
      for (int64_t b = 0; b < per_row; ++b)
        DequantizeBlock(table.type(), blocks.data() + b * BlockBytes(table.type()), out + b * items);
    }
  });
}

Tensor Dequantize(const BlockMatrix& matrix) {
  Tensor index = Tensor::Empty({matrix.rows()}, DType::kI64), y = Tensor::Empty(matrix.shape());
  std::iota(index.mutable_data<int64_t>(), index.mutable_data<int64_t>() + matrix.rows(), int64_t{0});
  GatherBlockRows(matrix, index, y);
  return y;
}

}  // namespace fovea::kernels
