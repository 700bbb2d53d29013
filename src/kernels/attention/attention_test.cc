#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/parallel.h"
#include "base/strings.h"
#include "testing/testing.h"

namespace fovea::kernels {
namespace {

using testing::ExpectClose;
using testing::RandomNormal;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  int64_t B = 1, H = 1, K = 1, T = 1, S = 1, E = 8, V = 8;
  DType dtype = DType::kF32;
  bool is_causal = false, has_bias = false, has_mask = false, is_permuted = false;
  int64_t window = 0, bidirectional = 0;

  std::string Name() const {
    return base::StrCat("B", B, " H", H, " K", K, " T", T, " S", S, " E", E, " V", V, " ", dtype,
                        is_causal ? " causal" : "", has_bias ? " bias" : "", has_mask ? " mask" : "",
                        is_permuted ? " permuted" : "", " window ", window, " bidirectional ", bidirectional);
  }
};

struct Problem {
  Tensor q, k, v, dy;
  AttentionOptions options;
};

Tensor Heads(const Case& c, int64_t heads, int64_t rows, int64_t size, uint64_t seed) {
  const int order[] = {0, 2, 1, 3};
  if (c.is_permuted) return RandomNormal({c.B, rows, heads, size}, seed, 1.0f, c.dtype).Permuted(order);
  return RandomNormal({c.B, heads, rows, size}, seed, 1.0f, c.dtype);
}

Problem MakeProblem(const Case& c) {
  Problem p{Heads(c, c.H, c.T, c.E, 1),
            Heads(c, c.K, c.S, c.E, 2),
            Heads(c, c.K, c.S, c.V, 3),
            Heads(c, c.H, c.T, c.V, 4),
            {}};
  p.options.scale = 1.0f / std::sqrt(static_cast<float>(c.E));
  p.options.is_causal = c.is_causal;
  p.options.window = c.window;
  p.options.bidirectional = c.bidirectional;
  if (c.has_bias) {
    Tensor bias = RandomNormal({c.H, c.T, c.S}, 5);
    for (int64_t i = 0; i < bias.numel(); i += 3) bias.mutable_data<float>()[i] = -kInfinity;
    p.options.bias = bias.Expanded({c.B, c.H, c.T, c.S});
  }
  if (c.has_mask) {
    p.options.key_mask = Tensor::Empty({c.B, c.S}, DType::kBool);
    for (int64_t i = 0; i < c.B * c.S; ++i) p.options.key_mask.mutable_data<bool>()[i] = (i * 7 + i / c.S) % 4 != 0;
  }
  return p;
}

float CaseTolerance(const Case& c, float scale) {
  return 2e-5f * scale + (c.dtype == DType::kBF16 ? 2e-2f * scale : 0.0f);
}

// Forward and backward against the reference.
void Check(const Case& c) {
  const Problem p = MakeProblem(c);
  const Shape shape = {c.B, c.H, c.T, c.V}, rows = {c.B, c.H, c.T};
  Tensor y = Tensor::Full(shape, NAN, c.dtype), total = Tensor::Full(rows, NAN);
  Tensor expected = Tensor::Empty(shape, c.dtype), expected_total = Tensor::Empty(rows);
  Attention(p.q, p.k, p.v, p.options, y, total);
  ref::Attention(p.q, p.k, p.v, p.options, expected, expected_total);
  ExpectClose(y, expected, CaseTolerance(c, 1.0f), "y " + c.Name());
  ExpectClose(total, expected_total, 1e-4f, "logsumexp " + c.Name());

  const auto gradients = [&] {
    return AttentionGradients{Tensor::Full({c.B, c.H, c.T, c.E}, NAN, c.dtype),
                              Tensor::Full({c.B, c.K, c.S, c.E}, NAN, c.dtype),
                              Tensor::Full({c.B, c.K, c.S, c.V}, NAN, c.dtype),
                              c.has_bias ? Tensor::Full({c.B, c.H, c.T, c.S}, NAN) : Tensor()};
  };
  AttentionGradients fast = gradients(), slow = gradients();
  AttentionBackward(p.q, p.k, p.v, p.options, expected, expected_total, p.dy, fast);
  ref::AttentionBackward(p.q, p.k, p.v, p.options, expected, expected_total, p.dy, slow);
  const float scale = 4.0f * std::sqrt(static_cast<float>(c.V));
  ExpectClose(fast.dq, slow.dq, CaseTolerance(c, scale), "dq " + c.Name());
  ExpectClose(fast.dk, slow.dk, CaseTolerance(c, scale * c.H / c.K), "dk " + c.Name());
  ExpectClose(fast.dv, slow.dv, CaseTolerance(c, scale * c.H / c.K), "dv " + c.Name());
  if (c.has_bias) ExpectClose(fast.dbias, slow.dbias, CaseTolerance(c, scale), "dbias " + c.Name());
}

TEST(Attention, AwkwardSizes) {
  for (const int64_t rows : {1, 2, 5, 6, 9, 15, 16, 17, 33, 49, 65}) {
    for (const int64_t keys : {1, 3, 8, 17, 33, 97, 193}) {
      Check({.T = rows, .S = keys, .E = 8, .V = 8});
      Check({.T = rows, .S = keys, .E = 8, .V = 8, .is_causal = true});
    }
  }
  for (const int64_t size : {1, 3, 7, 16, 17, 33, 64, 72, 127}) {
    Check({.H = 2, .K = 2, .T = 19, .S = 21, .E = size, .V = size});
    Check({.H = 2, .K = 2, .T = 2, .S = 21, .E = size, .V = size});
  }
  Check({.T = 13, .S = 17, .E = 24, .V = 40});
  Check({.T = 3, .S = 17, .E = 40, .V = 24});
}

TEST(Attention, MasksBiasGroupsLayoutsAndTypes) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (int flags = 0; flags < 16; ++flags) {
      for (const int64_t rows : {2, 50}) {
        Check({.B = 2,
               .H = 4,
               .K = 2,
               .T = rows,
               .S = 67,
               .E = 20,
               .V = 20,
               .dtype = dtype,
               .is_causal = (flags & 1) != 0,
               .has_bias = (flags & 2) != 0,
               .has_mask = (flags & 4) != 0,
               .is_permuted = (flags & 8) != 0});
      }
    }
  }
  Check({.B = 1, .H = 3, .K = 1, .T = 100, .S = 400, .E = 16, .V = 16, .is_causal = true});
}

TEST(Attention, WindowsAndPrefixes) {
  for (const int64_t rows : {1, 4, 7, 60, 200}) {
    for (const int64_t window : {0, 1, 5, 100, 1000}) {
      for (const int64_t prefix : {int64_t{0}, rows / 2, rows}) {
        Check({.H = 2,
               .K = 1,
               .T = rows,
               .S = rows + 90,
               .is_causal = true,
               .has_mask = rows == 60,
               .window = window,
               .bidirectional = prefix});
      }
    }
  }
}

// A window of three keys, looked at one by one; and a prefix of two.
TEST(Attention, WindowAndPrefixHideTheRightKeys) {
  const auto seen = [](const AttentionOptions& options) {
    // With equal scores each query's result is the mean of the values it sees; values are powers of two.
    const Tensor q = Tensor::Zeros({1, 1, 6, 1});
    const Tensor v = Tensor::FromValues<float>({1, 1, 6, 1}, {1, 2, 4, 8, 16, 32});
    Tensor y = Tensor::Empty({1, 1, 6, 1}), total = Tensor::Empty({1, 1, 6});
    Attention(q, q, v, options, y, total);
    std::vector<float> sums;
    for (int64_t t = 0; t < 6; ++t) sums.push_back(std::round(y.data<float>()[t] * std::exp(total.data<float>()[t])));
    return sums;
  };
  EXPECT_EQ(seen({.is_causal = true, .window = 3}), (std::vector<float>{1, 3, 7, 14, 28, 56}));
  EXPECT_EQ(seen({.is_causal = true, .bidirectional = 3}), (std::vector<float>{7, 7, 7, 15, 31, 63}));
}

TEST(Attention, KeysAndValuesOfAnotherTypeThanQueries) {
  for (const int64_t rows : {1, 3, 40}) {
    const Problem p = MakeProblem({.H = 4, .K = 2, .T = rows, .S = 57, .is_causal = true});
    const Tensor k = p.k.To(DType::kBF16), v = p.v.To(DType::kBF16);
    Tensor y = Tensor::Empty(p.q.shape()), expected = y.Clone(), none;
    Attention(p.q, k, v, p.options, y, none);
    ref::Attention(p.q, k, v, p.options, expected, none);
    ExpectClose(y, expected, 2e-5f);
  }
}

TEST(Attention, NoKeysAndMoreQueriesThanKeysGiveZeros) {
  for (const int64_t rows : {3, 30}) {
    Check({.T = rows, .S = 0});
    // Causal with T > S: the first T - S queries see nothing.
    Check({.T = rows, .S = 2, .is_causal = true});
    const Problem p = MakeProblem({.T = rows, .S = 2, .is_causal = true});
    Tensor y = Tensor::Full({1, 1, rows, 8}, NAN), total = Tensor::Full({1, 1, rows}, NAN);
    Attention(p.q, p.k, p.v, p.options, y, total);
    for (int64_t i = 0; i < (rows - 2) * 8; ++i) EXPECT_EQ(y.data<float>()[i], 0.0f);
    EXPECT_EQ(total.data<float>()[0], -kInfinity);
    EXPECT_TRUE(std::isfinite(total.data<float>()[rows - 1]));
  }
}

TEST(Attention, HugeScoresStayFiniteAndNanStaysInItsRow) {
  for (const int64_t rows : {4, 20}) {
    Problem p = MakeProblem({.T = rows, .S = 40});
    p.options.scale = 1e6f;
    Tensor y = Tensor::Empty({1, 1, rows, 8}), expected = Tensor::Empty({1, 1, rows, 8}), none;
    Attention(p.q, p.k, p.v, p.options, y, none);
    ref::Attention(p.q, p.k, p.v, p.options, expected, none);
    for (const float value : y.values<float>()) EXPECT_TRUE(std::isfinite(value));
    p.options.scale = 1.0f;
    p.q.mutable_data<float>()[8] = NAN;  // query 1
    Attention(p.q, p.k, p.v, p.options, y, none);
    for (int64_t i = 0; i < y.numel(); ++i) EXPECT_EQ(std::isnan(y.data<float>()[i]), i / 8 == 1) << i;
  }
}

TEST(Attention, DoesNotDependOnThreads) {
  const Problem p = MakeProblem({.B = 2, .H = 4, .K = 2, .T = 130, .S = 200, .E = 32, .V = 32, .is_causal = true});
  Tensor results[2][4];
  for (int which = 0; which < 2; ++which) {
    const base::ThreadLimit limit(which == 0 ? 1 : 3);
    Tensor y = Tensor::Empty(p.q.shape()), total = Tensor::Empty({2, 4, 130});
    Attention(p.q, p.k, p.v, p.options, y, total);
    AttentionGradients g{Tensor::Empty(p.q.shape()), Tensor::Empty(p.k.shape()), Tensor::Empty(p.v.shape()), {}};
    AttentionBackward(p.q, p.k, p.v, p.options, y, total, p.dy, g);
    const Tensor all[] = {y, g.dq, g.dk, g.dv};
    std::copy(std::begin(all), std::end(all), results[which]);
  }
  for (int i = 0; i < 4; ++i) ExpectClose(results[1][i], results[0][i], 0.0f);
}

// The scores of 6000 x 6000 would take 144 MB.
TEST(Attention, MemoryGrowsWithTNotItsSquare) {
  const Problem p = MakeProblem({.T = 6000, .S = 6000, .E = 16, .V = 16});
  Tensor y = Tensor::Empty(p.q.shape()), total = Tensor::Empty({1, 1, 6000});
  AttentionGradients g{Tensor::Empty(p.q.shape()), Tensor::Empty(p.k.shape()), Tensor::Empty(p.v.shape()), {}};
  const AllocatorStats before = GetAllocatorStats();
  Attention(p.q, p.k, p.v, p.options, y, total);
  AttentionBackward(p.q, p.k, p.v, p.options, y, total, p.dy, g);
  // peak_bytes belongs to the whole process: earlier tests may have set it.
  EXPECT_LE(GetAllocatorStats().peak_bytes, std::max(before.peak_bytes, before.in_use_bytes + (8 << 20)));
}

}  // namespace
}  // namespace fovea::kernels
