#include "kernels/onednn.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/parallel.h"
#include "fovea/error.h"

namespace fovea::kernels {
namespace {

TEST(OneDnn, CacheKeepsTheMostRecentlyUsed) {
  PrimitiveCache<ProblemKey, int> cache(2);
  int made = 0;
  const auto get = [&](int64_t key) {
    return *cache.Get(ProblemKey{key, 1}, [&] { return ++made, static_cast<int>(10 * key); });
  };
  EXPECT_EQ(get(1), 10);
  EXPECT_EQ(get(2), 20);
  EXPECT_EQ(get(1), 10);
  EXPECT_EQ(made, 2);
  EXPECT_EQ(get(3), 30);  // 2 leaves, 1 was used after it
  EXPECT_EQ(get(1), 10);
  EXPECT_EQ(made, 3);
  EXPECT_EQ(get(2), 20);
  EXPECT_EQ(made, 4);
  EXPECT_EQ(cache.size(), 2u);
}

TEST(OneDnn, CacheIsSafeFromSeveralThreads) {
  PrimitiveCache<ProblemKey, int64_t> cache(7);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t i = 0; i < 5000; ++i) {
        const int64_t key = (i * (t + 3)) % 11;
        if (*cache.Get(ProblemKey{key}, [&] { return key; }) != key) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(cache.size(), 7u);
}

TEST(OneDnn, KeysDifferByEveryPartAndByThreads) {
  EXPECT_EQ((ProblemKey{1, 2}), (ProblemKey{1, 2}));
  EXPECT_NE((ProblemKey{1, 2}), (ProblemKey{2, 1}));
  EXPECT_NE((ProblemKey{1}), (ProblemKey{1, 0}));
  const int threads = base::MaxThreads();
  const ProblemKey before{5};
  const base::ThreadLimit limit(threads + 1);
  EXPECT_NE(before, (ProblemKey{5}));
}

TEST(OneDnn, ErrorsBecomeOurs) {
  try {
    GuardOneDnn("test", [] { dnnl::memory::desc({-4}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::abcd); });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
    EXPECT_NE(error.message().find("[test] oneDNN"), std::string::npos) << error.message();
  }
  EXPECT_THROW(OneDnnType(DType::kI64), Error);
}

}  // namespace
}  // namespace fovea::kernels
