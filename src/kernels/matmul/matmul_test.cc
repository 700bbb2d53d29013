#include "kernels/matmul/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>
#include <vector>

#include "base/parallel.h"
#include "base/strings.h"
#include "testing/testing.h"

namespace fovea::kernels {
namespace {

using testing::ExpectClose;
using testing::RandomNormal;
using testing::Tolerance;

constexpr Act kActs[] = {Act::kIdentity, Act::kRelu,      Act::kRelu6,   Act::kSilu, Act::kGelu,
                         Act::kGeluTanh, Act::kQuickGelu, Act::kSigmoid, Act::kTanh};

// Of a sum of `terms` products of standard normal numbers. Its partial sums are of size sqrt(terms) and are rounded
// `terms` times: a kernel with one accumulator (brgemm on AVX-512) errs by a few times eps * terms. bf16 results are
// rounded once more at the end, in proportion to their size (here up to ~5 standard deviations of the sum).
float SumTolerance(DType dtype, int64_t terms) {
  const auto count = static_cast<float>(terms);
  const float rounding = dtype == DType::kBF16 ? 5 * 0x1p-8f * std::sqrt(count) : 0.0f;
  return Tolerance(DType::kF32, terms, 5.0f) + 4 * 0x1p-24f * count + rounding;
}

void CheckMatMul(const Tensor& a, const Tensor& b, const std::string& what) {
  std::vector<int64_t> sizes(a.shape().begin(), a.shape().end());
  sizes.back() = b.dim(-1);
  Tensor y = Tensor::Full(Shape(sizes), NAN, a.dtype()), expected = Tensor::Empty(Shape(sizes), a.dtype());
  MatMul(a, b, y);
  ref::MatMul(a, b, expected);
  ExpectClose(y, expected, SumTolerance(a.dtype(), a.dim(-1)), what + base::StrCat(a.shape(), b.shape(), a.dtype()));
}

TEST(MatMul, AwkwardSizes) {
  const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t m : {1, 2, 7, 33}) {
      for (const int64_t k : sizes) {
        for (const int64_t n : {1, 3, 16, 65})
          CheckMatMul(RandomNormal({m, k}, 1, 1, dtype), RandomNormal({k, n}, 2, 1, dtype), "");
      }
    }
  }
  CheckMatMul(RandomNormal({3, 1000}, 1), RandomNormal({1000, 130}, 2), "long");
  CheckMatMul(RandomNormal({0, 4}, 1), RandomNormal({4, 3}, 2), "no rows");
  CheckMatMul(RandomNormal({2, 0}, 1), RandomNormal({0, 3}, 2), "empty sum");
}

TEST(MatMul, TakesStridedViews) {
  const int swap[] = {0, 2, 1}, heads[] = {0, 2, 1, 3}, keys[] = {0, 2, 3, 1}, batch_last[] = {1, 2, 0};
  for (const int64_t n : {1, 2, 5, 19}) {
    const Tensor a = RandomNormal({3, 6, n}, 1), b = RandomNormal({3, 6, 4}, 2), c = RandomNormal({3, 4, n}, 3);
    CheckMatMul(a.Permuted(swap), b, "transposed a");
    CheckMatMul(a, c.Permuted(swap), "transposed b");
    CheckMatMul(RandomNormal({3, n, 6}, 4).Permuted(swap), RandomNormal({3, 4, n}, 5).Permuted(swap), "both");
    CheckMatMul(RandomNormal({5, n, 3}, 6).Permuted(batch_last).Permuted(std::vector<int>{1, 0, 2}),
                RandomNormal({3, 5, 4}, 7), "no dense axis");
    const Tensor x = RandomNormal({2, n, 3, 8}, 8);  // [B,T,H,E]
    CheckMatMul(x.Permuted(heads), x.Permuted(keys), "heads");
  }
  const Tensor wide = RandomNormal({9, 40}, 9);
  CheckMatMul(wide.Sliced(1, 3, 10), wide.Sliced(0, 1, 8), "slices");
  CheckMatMul(RandomNormal({4, 5, 6}, 10), RandomNormal({6, 7}, 11).Expanded({4, 6, 7}), "broadcast b");
  CheckMatMul(RandomNormal({1, 5, 6}, 12).Expanded({4, 5, 6}), RandomNormal({4, 6, 7}, 13), "broadcast a");
  CheckMatMul(RandomNormal({1}, 14).Expanded({4, 6}), RandomNormal({6, 2}, 15), "one element");
  CheckMatMul(RandomNormal({64, 13, 17}, 16), RandomNormal({64, 17, 11}, 17), "many small");
}

void CheckLinear(int64_t rows, int64_t in, int64_t out, DType dtype, Act act, bool has_bias) {
  const Tensor x = RandomNormal({rows, in}, 1, 1.0f, dtype), weight = RandomNormal({out, in}, 2, 1.0f, dtype);
  const Tensor bias = has_bias ? RandomNormal({out}, 3, 1.0f) : Tensor();
  Tensor expected = Tensor::Empty({rows, out}, dtype);
  ref::Linear(x, weight, bias, act, expected);
  const float tolerance = SumTolerance(dtype, in) + 1e-5f;
  const std::string what = base::StrCat(ActName(act), " ", rows, "x", in, "x", out, has_bias ? " bias " : " ", dtype);
  Tensor y = Tensor::Full({rows, out}, NAN, dtype);
  Linear(x, weight, bias, act, y);
  ExpectClose(y, expected, tolerance, "plain " + what);
  const PackedLinear packed(weight);
  Tensor z = Tensor::Full({rows, out}, NAN, dtype);
  Linear(x, packed, bias, act, z);
  ExpectClose(z, expected, tolerance, "packed " + what);
}

TEST(Linear, AwkwardSizes) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t rows : {0, 1, 3, 17}) {
      for (const int64_t in : {1, 7, 16, 65}) {
        for (const int64_t out : {1, 8, 33, 127}) CheckLinear(rows, in, out, dtype, Act::kIdentity, rows % 2 == 1);
      }
    }
  }
  CheckLinear(50, 768, 1000, DType::kF32, Act::kGelu, true);
}

// More rows than a chunk holds, more inputs than a block, outputs that fill no panel; a single row; each number of rows
// of a tile.
TEST(Linear, BlocksChunksAndTiles) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    CheckLinear(183, 2100, 41, dtype, Act::kQuickGelu, true);
    CheckLinear(1, 3000, 40, dtype, Act::kIdentity, true);
    CheckLinear(700, 40, 33, dtype, Act::kIdentity, false);
    for (int64_t rows = 1; rows <= 30; ++rows) CheckLinear(rows, 1030, 64, dtype, Act::kIdentity, true);
  }
}

// Neither its neighbours nor the number of threads change a row.
TEST(Linear, RowsAndThreadsDoNotMatter) {
  const Tensor x = RandomNormal({45, 1500}, 1), weight = RandomNormal({200, 1500}, 2);
  const PackedLinear packed(weight);
  Tensor all = Tensor::Empty({45, 200});
  Linear(x, packed, {}, Act::kIdentity, all);
  const base::ThreadLimit limit(1);
  for (const int64_t row : {0, 13, 44}) {
    Tensor one = Tensor::Empty({1, 200});
    Linear(x.Sliced(0, row, row + 1), packed, {}, Act::kIdentity, one);
    for (int64_t o = 0; o < 200; ++o) EXPECT_EQ(one.data<float>()[o], all.data<float>()[row * 200 + o]);
  }
}

TEST(Linear, Bf16WeightsServeF32Inputs) {
  for (const int64_t rows : {1, 5, 29, 60}) {
    const Tensor x = RandomNormal({rows, 1100}, 1), bias = RandomNormal({70}, 3);
    const Tensor weight = RandomNormal({70, 1100}, 2, 1.0f, DType::kBF16);
    Tensor expected = Tensor::Empty({rows, 70}), y = Tensor::Full({rows, 70}, NAN);
    ref::Linear(x, weight, bias, Act::kGelu, expected);
    Linear(x, PackedLinear(weight), bias, Act::kGelu, y);
    ExpectClose(y, expected, SumTolerance(DType::kF32, 1100), base::StrCat(rows, " rows"));
  }
}

TEST(Linear, MultipliesInBf16WhereTheProcessorCan) {
  const Tensor x = RandomNormal({20, 300}, 1, 1.0f, DType::kBF16), bias = RandomNormal({70}, 3);
  const Tensor weight = RandomNormal({70, 300}, 2, 1.0f, DType::kBF16);
  for (const DType result : {DType::kF32, DType::kBF16}) {
    Tensor expected = Tensor::Empty({20, 70}, result), y = Tensor::Full({20, 70}, NAN, result);
    ref::Linear(x, weight, bias, Act::kGelu, expected);
    if (!LinearInBf16(x, PackedLinear(weight), bias, Act::kGelu, y)) GTEST_SKIP() << "no bf16 instructions here";
    ExpectClose(y, expected, SumTolerance(result, 300), base::StrCat(result));
  }
}

TEST(Linear, FusesEveryActivation) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Act act : kActs) {
      CheckLinear(9, 33, 70, dtype, act, true);
      CheckLinear(1, 16, 64, dtype, act, false);
    }
  }
}

// One packed weight, many row counts and threads at once: the layout is made once and primitives are shared.
TEST(Linear, PackedWeightServesSeveralThreads) {
  const Tensor weight = RandomNormal({65, 48}, 1);
  const PackedLinear packed(weight);
  std::vector<Tensor> results(6), expected(6);
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    const Tensor x = RandomNormal({1 + 7 * (t % 3), 48}, 10 + t);
    expected[t] = Tensor::Empty({x.dim(0), 65});
    ref::Linear(x, weight, {}, Act::kIdentity, expected[t]);
    results[t] = Tensor::Empty({x.dim(0), 65});
    threads.emplace_back([&packed, x, &result = results[t]] {
      const base::ThreadLimit limit(1);
      for (int i = 0; i < 50; ++i) Linear(x, packed, {}, Act::kIdentity, result);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < 6; ++t) ExpectClose(results[t], expected[t], SumTolerance(DType::kF32, 48), "thread");
}

}  // namespace
}  // namespace fovea::kernels
