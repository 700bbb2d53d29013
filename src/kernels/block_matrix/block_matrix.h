// A weight matrix [O,I] that stays in the blocks of a GGUF file, in the same number of bytes.
//
// When it is made the blocks of 16 rows are interleaved into a tile, so that the four weights of one row that meet four
// neighbouring inputs lie beside those of the next row: one vector of 64 bytes holds 16 rows x 4 columns, a product
// broadcasts four int8 inputs to all rows, and each 32-bit lane of the sum belongs to one row. No sum across lanes is
// left, for one input vector as for many. A tile is two planes, each at a multiple of 64 bytes: for each block its
// scales, then for each 32 columns ("group") its codes:
//
//   type         scales of a block                                 codes of a group: 4 columns x 16 rows a vector
//   q8_0         d[16] f16                                         8 vectors of q + 128
//   q4_0, q4_1   d[16] f16, q4_1 also m[16] f16                    4 vectors: low nibbles columns 0..15, high 16..31
//   q5_0, q5_1   as above                                          a vector of fifth bits (bit c: columns 4c..), 4 as
//   q4 q4_K, q5_K   d[16], e[16] f16; then for each group 16 bytes    as q4_0 and q5_0
//                (low nibbles of s, of m), then 4 x 16 bytes with
//                their upper two bits: nibbles of groups i, 4 + i
//   q6_K         d[16] f16, 16 x s[16] i8                          2 vectors of bit pairs (4, 5), 4 as q4
//
// The rows of the last tile beyond O are zero. This is the only place that knows both layouts.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "tensor/block_type.h"
#include "tensor/tensor.h"

namespace fovea::kernels {

class BlockMatrix {
 public:
  static constexpr int64_t kTileRows = 16;
  static constexpr int64_t kGroup = 32;  // columns whose codes lie together

  // `blocks`: `rows` rows of columns / BlockItems(type) blocks each, as in a file. Throws kInvalidArgument unless the
  // sizes fit and `columns` is a multiple of BlockItems(type). Copies, row by row in parallel.
  static std::shared_ptr<const BlockMatrix> FromFile(BlockType type, int64_t rows, int64_t columns,
                                                     std::span<const uint8_t> blocks);
  // Rows of `blocks` in the order `row_of(i)` gives: row i of the matrix is row row_of[i] of the file.
  static std::shared_ptr<const BlockMatrix> FromFile(BlockType type, std::span<const int64_t> row_of, int64_t columns,
                                                     std::span<const uint8_t> blocks);
  ~BlockMatrix();
  BlockMatrix(const BlockMatrix&) = delete;
  BlockMatrix& operator=(const BlockMatrix&) = delete;

  BlockType type() const { return type_; }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  Shape shape() const { return {rows_, columns_}; }
  int64_t tiles() const { return (rows_ + kTileRows - 1) / kTileRows; }
  int64_t size_bytes() const { return tiles() * tile_bytes_; }  // in memory

  // The planes of a tile.
  const uint8_t* scales(int64_t tile) const { return data_ + tile * tile_bytes_; }
  const uint8_t* codes(int64_t tile) const { return data_ + tile * tile_bytes_ + scale_plane_bytes_; }

  // The blocks of one row as they were in the file, into `out` (columns / BlockItems * BlockBytes bytes).
  void RowBlocks(int64_t row, std::span<uint8_t> out) const;

 private:
  BlockMatrix(BlockType type, int64_t rows, int64_t columns);
  void PackTile(int64_t tile, std::span<const int64_t> row_of, std::span<const uint8_t> blocks);

  BlockType type_;
  int64_t rows_, columns_;
  int64_t scale_plane_bytes_, tile_bytes_;
  uint8_t* data_ = nullptr;
};

// Bytes of a tile's planes: the scales of one block, the codes of one group.
constexpr int64_t TileScaleBytes(BlockType type) {
  constexpr int64_t kBytes[] = {32, 64, 32, 64, 32, 256, 256, 288};
  return kBytes[static_cast<int>(type)];
}
constexpr int64_t TileCodeBytes(BlockType type) {
  constexpr int64_t kBytes[] = {256, 256, 320, 320, 512, 256, 320, 384};
  return kBytes[static_cast<int>(type)];
}

// The weights of one block of a file as f32: out[BlockItems(type)].
void DequantizeBlock(BlockType type, const uint8_t* block, float* out);

// y [N,I] f32: rows `index` i64 [N] of `table`; indices were checked.
void GatherBlockRows(const BlockMatrix& table, const Tensor& index, Tensor& y);

// All of it as f32 [O,I]. For saving and tests: needs the memory that blocks spare.
Tensor Dequantize(const BlockMatrix& matrix);

// `values` (a multiple of 32) into blocks of a file, as ggml rounds them: q8_0 and q4_0. Throws kUnimplemented for
// other types, kInvalidArgument for values that are not finite.
std::vector<uint8_t> QuantizeBlocks(BlockType type, std::span<const float> values);

}  // namespace fovea::kernels
