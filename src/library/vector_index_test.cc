// Exact search against a double loop; approximate search by its recall.
#include "library/vector_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <random>
#include <thread>

#include "base/error.h"
#include "library/dot.h"
#include "library/faiss_module.h"
#include "testing/testing.h"

namespace fovea::library {
namespace {

using Matrix = std::vector<std::vector<float>>;

// Small integers: every inner product is exact in f32, whatever the order of summation, and many are equal.
Matrix IntegerRows(int64_t count, int64_t dim, uint32_t seed) {
  std::mt19937 random(seed);
  Matrix rows(static_cast<size_t>(count), std::vector<float>(static_cast<size_t>(dim)));
  for (auto& row : rows) {
    for (float& value : row) value = static_cast<float>(static_cast<int>(random() % 7) - 3);
  }
  return rows;
}

std::vector<VectorHit> BruteForce(const Matrix& rows, const std::vector<float>& query, size_t k,
                                  const std::vector<int64_t>& ids) {
  std::vector<VectorHit> hits;
  for (size_t i = 0; i < rows.size(); ++i) {
    double sum = 0;
    for (size_t d = 0; d < query.size(); ++d) sum += static_cast<double>(rows[i][d]) * query[d];
    hits.push_back({ids[i], static_cast<float>(sum)});
  }
  std::sort(hits.begin(), hits.end(), [](const VectorHit& a, const VectorHit& b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
  });
  hits.resize(std::min(k, hits.size()));
  return hits;
}

TEST(DotRows, EveryLength) {
  for (int64_t dim = 1; dim <= 140; ++dim) {
    const Matrix rows = IntegerRows(3, dim, static_cast<uint32_t>(dim));
    std::vector<float> flat = {0.0f};  // the rows begin at an odd address
    for (size_t i = 0; i < 2; ++i) flat.insert(flat.end(), rows[i].begin(), rows[i].end());
    float scores[2];
    DotRows(rows[2].data(), flat.data() + 1, 2, dim, scores);
    for (size_t i = 0; i < 2; ++i) EXPECT_EQ(scores[i], BruteForce({rows[i]}, rows[2], 1, {0})[0].score) << dim;
  }
}

TEST(VectorIndex, EqualsBruteForceWithTies) {
  for (const int64_t dim : {1, 3, 17, 64, 333}) {
    for (const int64_t count : {1, 5, 1000, 9000}) {
      if (dim * count > 1'000'000) continue;
      const Matrix rows = IntegerRows(count, dim, 7);
      std::vector<int64_t> ids(rows.size());
      for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>((i * 7919) % 1'000'003);  // not in order
      VectorIndex index(dim);
      for (size_t i = 0; i < rows.size(); ++i) index.Add(ids[i], rows[i]);
      for (const size_t k : {size_t{1}, size_t{10}, size_t{5000}}) {
        const std::vector<float> query = IntegerRows(1, dim, 99)[0];
        const std::vector<VectorHit> hits = index.Search(query, static_cast<int64_t>(k)),
                                     expected = BruteForce(rows, query, k, ids);
        ASSERT_EQ(hits.size(), expected.size());
        for (size_t i = 0; i < hits.size(); ++i) {
          ASSERT_EQ(hits[i].id, expected[i].id) << "dim " << dim << " count " << count << " k " << k << " rank " << i;
          ASSERT_EQ(hits[i].score, expected[i].score);
        }
      }
    }
  }
}

TEST(VectorIndex, RefusesOtherSizesAndHandlesNothing) {
  VectorIndex index(4);
  EXPECT_THROW(index.Add(1, std::vector<float>(3)), Error);
  EXPECT_THROW(index.Search(std::vector<float>(5), 1), Error);
  EXPECT_TRUE(index.Search(std::vector<float>(4), 10).empty());
  index.Add(1, std::vector<float>{1, NAN, 0, 0});
  index.Add(2, std::vector<float>{1, 0, 0, 0});
  const std::vector<VectorHit> hits = index.Search(std::vector<float>{1, 0, 0, 0}, 5);
  ASSERT_EQ(hits.size(), 1u);  // what is not a number is never near
  EXPECT_EQ(hits[0].id, 2);
  EXPECT_TRUE(index.Search(std::vector<float>(4), 0).empty());
  index.Clear();
  EXPECT_EQ(index.size(), 0);
}

std::string ModulePath() {
  return std::filesystem::path(fovea::testing::FoveaBinary()).parent_path().string() + "/" + kFaissModuleFile;
}

// Unit vectors around `clusters` centres.
Matrix ClusteredRows(int64_t count, int64_t dim, int64_t clusters, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Matrix centres(static_cast<size_t>(clusters), std::vector<float>(static_cast<size_t>(dim)));
  for (auto& centre : centres) {
    for (float& value : centre) value = normal(random);
  }
  Matrix rows;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<float> row = centres[random() % centres.size()];
    float norm = 0;
    for (float& value : row) {
      value += 0.7f * normal(random);
      norm += value * value;
    }
    for (float& value : row) value /= std::sqrt(norm);
    rows.push_back(std::move(row));
  }
  return rows;
}

double RecallAt10(const VectorIndex& approximate, const VectorIndex& exact, const Matrix& queries) {
  int found = 0;
  for (const std::vector<float>& query : queries) {
    const std::vector<VectorHit> hits = approximate.Search(query, 10);
    EXPECT_EQ(hits.size(), 10u);
    for (const VectorHit& truth : exact.Search(query, 10)) {
      found += std::any_of(hits.begin(), hits.end(),
                           [&](const VectorHit& hit) { return hit.id == truth.id && hit.score == truth.score; });
    }
  }
  return static_cast<double>(found) / (10.0 * static_cast<double>(queries.size()));
}

TEST(VectorIndex, ApproximateRecallAboveTheLimit) {
  if (!std::filesystem::exists(ModulePath())) GTEST_SKIP() << "no FAISS module at " << ModulePath();
  constexpr int64_t kDim = 48;
  const Matrix rows = ClusteredRows(24'000, kDim, 200, 5);
  VectorIndex approximate(kDim, {.exact_limit = 5000, .module_path = ModulePath()}), exact(kDim);
  for (size_t i = 0; i < 20'000; ++i) {
    approximate.Add(static_cast<int64_t>(i), rows[i]);
    exact.Add(static_cast<int64_t>(i), rows[i]);
  }
  ASSERT_TRUE(approximate.WaitForApproximate());
  EXPECT_FALSE(exact.WaitForApproximate());
  const Matrix queries = ClusteredRows(100, kDim, 200, 5);  // the same clusters
  const double recall = RecallAt10(approximate, exact, queries);
  EXPECT_GE(recall, 0.95);
  // Rows added later are found at once.
  for (size_t i = 20'000; i < rows.size(); ++i) {
    approximate.Add(static_cast<int64_t>(i), rows[i]);
    exact.Add(static_cast<int64_t>(i), rows[i]);
  }
  EXPECT_EQ(approximate.Search(rows[23'000], 1)[0].id, 23'000);
  EXPECT_GE(RecallAt10(approximate, exact, queries), 0.95);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] { EXPECT_GE(RecallAt10(approximate, exact, queries), 0.95); });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("recall at 10: %.3f\n", recall);
}

TEST(VectorIndex, StaysExactWithoutTheModule) {
  constexpr int64_t kDim = 16;
  const Matrix rows = ClusteredRows(3000, kDim, 20, 6);
  VectorIndex index(kDim, {.exact_limit = 1000, .module_path = "/nowhere/fovea_faiss.so"}), exact(kDim);
  for (size_t i = 0; i < rows.size(); ++i) {
    index.Add(static_cast<int64_t>(i), rows[i]);
    exact.Add(static_cast<int64_t>(i), rows[i]);
  }
  EXPECT_FALSE(index.WaitForApproximate());
  EXPECT_EQ(RecallAt10(index, exact, {rows.begin(), rows.begin() + 20}), 1.0);
}

}  // namespace
}  // namespace fovea::library
