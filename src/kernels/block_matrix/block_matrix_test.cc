// Blocks against the values that the reference implementation (gguf-py) stored; see tools/dump_gguf_golden.py.
#include "kernels/block_matrix/block_matrix.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fovea/error.h"
#include "testing/golden.h"
#include "testing/stored.h"
#include "testing/testing.h"

namespace fovea::kernels {
namespace {

std::shared_ptr<const BlockMatrix> Stored(const testing::NamedTensors& golden, BlockType type) {
  const Tensor& blocks = golden.at(std::string(BlockTypeName(type)));
  const int64_t columns = blocks.dim(1) / BlockBytes(type) * BlockItems(type);
  return BlockMatrix::FromFile(type, blocks.dim(0), columns, blocks.values<uint8_t>());
}

TEST(BlockMatrix, HoldsTheValuesOfTheReference) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  for (const BlockType type : kAllBlockTypes) {
    const std::string name(BlockTypeName(type));
    const auto matrix = Stored(golden, type);
    const Tensor dense = Dequantize(*matrix);
    const Tensor row = dense.Sliced(0, 7, 8).Contiguous().View({matrix->columns()});
    testing::ExpectClose(row, golden.at(name + ".row"), 0, name);  // the same roundings
    for (int64_t r = 0; r < matrix->rows(); ++r) {
      double sum = 0;
      for (int64_t i = 0; i < matrix->columns(); ++i) sum += dense.data<float>()[r * matrix->columns() + i];
      EXPECT_NEAR(sum, golden.at(name + ".sums").data<float>()[r], 1e-4 + 1e-7 * std::fabs(sum))
          << name << " row " << r;
    }
  }
}

TEST(BlockMatrix, GivesTheBlocksBack) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  for (const BlockType type : kAllBlockTypes) {
    const Tensor& blocks = golden.at(std::string(BlockTypeName(type)));
    const auto matrix = Stored(golden, type);
    std::vector<uint8_t> row(static_cast<size_t>(blocks.dim(1)));
    for (int64_t r = 0; r < matrix->rows(); ++r) {
      matrix->RowBlocks(r, row);
      const uint8_t* expected = blocks.data<uint8_t>() + r * blocks.dim(1);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), expected)) << type << " row " << r;
    }
    // As many bytes as in the file, but for the rows that fill the last tile and less than 64 bytes a tile.
    EXPECT_LE(matrix->size_bytes(), matrix->tiles() * (16 * blocks.dim(1) + 63)) << type;
  }
}

TEST(BlockMatrix, TakesRowsInAnyOrder) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  for (const BlockType type : kAllBlockTypes) {
    const Tensor& blocks = golden.at(std::string(BlockTypeName(type)));
    const auto matrix = Stored(golden, type);
    const std::vector<int64_t> order = {17, 3, 3, 0};
    const auto picked = BlockMatrix::FromFile(type, order, matrix->columns(), blocks.values<uint8_t>());
    Tensor index = Tensor::FromValues<int64_t>({4}, order), expected = Tensor::Empty({4, matrix->columns()});
    GatherBlockRows(*matrix, index, expected);
    testing::ExpectClose(Dequantize(*picked), expected, 0, std::string(BlockTypeName(type)));
  }
}

TEST(BlockMatrix, RefusesSizesThatDoNotFit) {
  const std::vector<uint8_t> bytes(34);
  EXPECT_NO_THROW(BlockMatrix::FromFile(BlockType::kQ8_0, 1, 32, bytes));
  testing::ExpectError([&] { BlockMatrix::FromFile(BlockType::kQ8_0, 1, 33, bytes); }, "multiple of 32");
  testing::ExpectError([&] { BlockMatrix::FromFile(BlockType::kQ8_0, 2, 32, bytes); }, "expected 68 bytes");
  testing::ExpectError([&] { BlockMatrix::FromFile(BlockType::kQ6_K, 1, 32, bytes); }, "multiple of 256");
  testing::ExpectError([&] { BlockMatrix::FromFile(BlockType::kQ8_0, int64_t{1} << 60, 32, bytes); }, "q8_0");
  const std::vector<int64_t> beyond = {0, 1};
  testing::ExpectError([&] { BlockMatrix::FromFile(BlockType::kQ8_0, beyond, 32, bytes); }, "rows below 1");
}

TEST(QuantizeBlocks, RoundsAsTheReference) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  const Tensor& values = golden.at("values");
  for (const BlockType type : {BlockType::kQ8_0, BlockType::kQ4_0}) {
    const Tensor& expected = golden.at("values." + std::string(BlockTypeName(type)));
    const auto blocks = QuantizeBlocks(type, values.values<float>());
    ASSERT_EQ(static_cast<int64_t>(blocks.size()), expected.numel());
    EXPECT_TRUE(std::equal(blocks.begin(), blocks.end(), expected.data<uint8_t>())) << type;
  }
}

TEST(QuantizeBlocks, TakesTinyWeightsAndRefusesWhatNoBlockCanHold) {
  std::vector<float> values(32, 1e-42f);
  EXPECT_NO_THROW(QuantizeBlocks(BlockType::kQ4_0, values));
  values[3] = NAN;
  testing::ExpectError([&] { QuantizeBlocks(BlockType::kQ8_0, values); }, "nan");
  values[3] = 1e6f;
  testing::ExpectError([&] { QuantizeBlocks(BlockType::kQ4_0, values); }, "1e+06");
  testing::ExpectError([&] { QuantizeBlocks(BlockType::kQ6_K, values); }, "q6_k");
}

}  // namespace
}  // namespace fovea::kernels
