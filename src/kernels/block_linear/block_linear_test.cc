#include "kernels/block_linear/block_linear.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "base/strings.h"
#include "testing/stored.h"
#include "testing/testing.h"

namespace fovea::kernels {
namespace {

// Blocks with random codes and scales, from the stored ones: rows of `columns` weights, repeated.
std::shared_ptr<const BlockMatrix> Matrix(const testing::NamedTensors& golden, BlockType type, int64_t rows,
                                          int64_t columns) {
  const auto stored = golden.at(std::string(BlockTypeName(type))).values<uint8_t>();
  const auto bytes = static_cast<size_t>(rows * columns / BlockItems(type) * BlockBytes(type));
  std::vector<uint8_t> blocks(bytes);
  for (size_t i = 0; i < bytes; ++i) blocks[i] = stored[i % stored.size()];
  return BlockMatrix::FromFile(type, rows, columns, blocks);
}

float Largest(const Tensor& x) {
  float largest = 0;
  for (const float value : x.values<float>()) largest = std::max(largest, std::fabs(value));
  return largest;
}

TEST(BlockLinear, MatchesTheReferenceForEveryTypeAndNumberOfRows) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  for (const BlockType type : kAllBlockTypes) {
    for (const int64_t columns : {256, 768}) {
      for (const int64_t rows : {1, 16, 50}) {
        const auto weight = Matrix(golden, type, rows, columns);
        const Tensor bias = testing::RandomNormal({rows}, 5);
        for (const int64_t count : {0, 1, 2, 3, 4, 5, 8, 21}) {
          const Tensor x = testing::RandomNormal({count, columns}, 7);
          Tensor y = Tensor::Full({count, rows}, NAN), expected = Tensor::Empty({count, rows});
          BlockLinear(x, *weight, count % 2 == 0 ? bias : Tensor(), Act::kIdentity, y);
          ref::BlockLinear(x, *weight, count % 2 == 0 ? bias : Tensor(), Act::kIdentity, expected);
          const float tolerance =
              2e-6f * std::max(1.0f, Largest(expected)) * std::sqrt(static_cast<float>(columns) / 32);
          testing::ExpectClose(y, expected, tolerance, base::StrCat(type, " ", count, "x", columns, "x", rows));
        }
      }
    }
  }
}

TEST(BlockLinear, StaysNearTheProductWithUnroundedInputs) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  const Tensor& x = golden.at("x");
  for (const BlockType type : kAllBlockTypes) {
    const auto weight = Matrix(golden, type, 18, x.dim(1));
    const Tensor dense = Dequantize(*weight), &expected = golden.at(std::string(BlockTypeName(type)) + ".y");
    Tensor y = Tensor::Empty({x.dim(0), 18});
    BlockLinear(x, *weight, {}, Act::kIdentity, y);
    for (int64_t m = 0; m < x.dim(0); ++m) {
      for (int64_t o = 0; o < 18; ++o) {
        // The input is off by at most half a step of its group; errors of groups add up like a random walk.
        double variance = 0;
        for (int64_t g = 0; g < x.dim(1) / 32; ++g) {
          double largest = 0, norm = 0;
          for (int64_t i = 32 * g; i < 32 * g + 32; ++i) {
            largest = std::max<double>(largest, std::fabs(x.data<float>()[m * x.dim(1) + i]));
            norm += std::pow(dense.data<float>()[o * x.dim(1) + i], 2);
          }
          variance += std::pow(largest / 32512, 2) / 12 * norm;
        }
        EXPECT_NEAR(y.data<float>()[m * 18 + o], expected.data<float>()[m * 18 + o], 5 * std::sqrt(variance) + 1e-4)
            << type << " " << m << " " << o;
      }
    }
  }
}

TEST(BlockLinear, AppliesTheActivationAndIsTheSameOnAnyNumberOfThreads) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  for (const int64_t count : {1, 40}) {
    const auto weight = Matrix(golden, BlockType::kQ5_0, 3000, 512);
    const Tensor x = testing::RandomNormal({count, 512}, 7);
    Tensor one = Tensor::Empty({count, 3000}), many = Tensor::Empty({count, 3000}), plain = many.Clone();
    {
      const base::ThreadLimit limit(1);
      BlockLinear(x, *weight, {}, Act::kSilu, one);
      BlockLinear(x, *weight, {}, Act::kIdentity, plain);
    }
    const base::ThreadLimit limit(3);
    BlockLinear(x, *weight, {}, Act::kSilu, many);
    testing::ExpectClose(many, one, 0);
    ref::Activate(Act::kSilu, plain, plain);
    testing::ExpectClose(one, plain, 1e-5f * Largest(plain));
  }
}

TEST(BlockLinear, RowsOfABatchAreThoseOfSingleCalls) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  for (const BlockType type : kAllBlockTypes) {
    const auto weight = Matrix(golden, type, 33, 512);
    const Tensor x = testing::RandomNormal({13, 512}, 7);
    Tensor y = Tensor::Empty({13, 33}), row = Tensor::Empty({1, 33});
    BlockLinear(x, *weight, {}, Act::kIdentity, y);
    for (int64_t m = 0; m < 13; ++m) {
      BlockLinear(x.Sliced(0, m, m + 1).Contiguous(), *weight, {}, Act::kIdentity, row);
      testing::ExpectClose(y.Sliced(0, m, m + 1).Contiguous(), row, 1e-5f * Largest(y),
                           std::string(BlockTypeName(type)));
    }
  }
}

TEST(BlockLinear, MultipliesByMatricesOfSeveralTypesAtOnce) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  const auto a = Matrix(golden, BlockType::kQ5_0, 40, 512), b = Matrix(golden, BlockType::kQ6_K, 17, 512);
  const auto c = Matrix(golden, BlockType::kQ8_0, 8, 512), d = Matrix(golden, BlockType::kQ4_1, 700, 512);
  const BlockMatrix* const all[] = {a.get(), b.get(), c.get(), d.get()};
  const Tensor bias = testing::RandomNormal({765}, 3);
  for (const int64_t count : {1, 6}) {
    const Tensor x = testing::RandomNormal({count, 512}, 7);
    Tensor y = Tensor::Full({count, 765}, NAN), expected = Tensor::Empty({count, 765});
    const base::ThreadLimit limit(3);
    BlockLinear(x, all, bias, Act::kGelu, y);
    ref::BlockLinear(x, all, bias, Act::kGelu, expected);
    testing::ExpectClose(y, expected, 1e-5f * Largest(expected));
  }
}

TEST(BlockLinear, ManyRowsComeInPieces) {  // more than fit the second-level cache at once
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  const auto weight = Matrix(golden, BlockType::kQ4_K, 20, 8192);
  const Tensor x = testing::RandomNormal({150, 8192}, 7);
  Tensor y = Tensor::Full({150, 20}, NAN), expected = Tensor::Empty({150, 20});
  BlockLinear(x, *weight, {}, Act::kIdentity, y);
  ref::BlockLinear(x, *weight, {}, Act::kIdentity, expected);
  testing::ExpectClose(y, expected, 4e-5f * Largest(expected));
}

TEST(BlockLinear, ShowsInputsThatAreNoNumbers) {
  const auto golden = testing::ReadStored("tests/golden/gguf/blocks.safetensors");
  for (const BlockType type : kAllBlockTypes) {
    const auto weight = Matrix(golden, type, 16, 256);
    for (const float bad : {NAN, INFINITY}) {
      Tensor x = testing::RandomNormal({3, 256}, 7), y = Tensor::Empty({3, 16});
      x.mutable_data<float>()[256 + 70] = bad;
      BlockLinear(x, *weight, {}, Act::kIdentity, y);
      for (int64_t o = 0; o < 16; ++o) {
        EXPECT_TRUE(std::isfinite(y.data<float>()[o])) << type;
        EXPECT_TRUE(std::isnan(y.data<float>()[16 + o])) << type;
        EXPECT_TRUE(std::isfinite(y.data<float>()[32 + o])) << type;
      }
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
