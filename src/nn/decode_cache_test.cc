#include "nn/decode_cache.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea::nn {
namespace {

using testing::ExpectClose;
using testing::RandomNormal;

constexpr CacheLayout Tiny() { return {.layers = 2, .kv_heads = 3, .key_dim = 5, .value_dim = 4, .states = {}}; }

Tensor Keys(int64_t tokens, uint64_t seed) { return RandomNormal({1, 3, tokens, 5}, seed); }
Tensor Values(int64_t tokens, uint64_t seed) { return RandomNormal({1, 3, tokens, 4}, seed); }

// How far a number may move when it is kept in `dtype`, beside others of magnitude `largest`.
float Bound(DType dtype, float largest) {
  if (dtype == DType::kBF16) return largest / 256;  // half a step of 8 bits of precision
  return dtype == DType::kI8 ? largest / 127 * 0.501f : 0.0f;
}

TEST(DecodeCache, GivesBackWhatWasAppended) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    DecodeCache cache(Tiny(), {.dtype = dtype, .max_tokens = 200});
    const Tensor keys = Keys(150, 1), values = Values(150, 2);
    for (int64_t at = 0; at < 150;) {  // pieces of growing size, over several reallocations
      const int64_t end = std::min<int64_t>(150, at + 1 + at / 3);
      for (int64_t layer = 0; layer < 2; ++layer) {
        const auto entries = cache.Append(layer, keys.Sliced(2, at, end), values.Sliced(2, at, end));
        ASSERT_EQ(entries.keys.shape(), Shape({1, 3, end, 5}));
        ExpectClose(entries.keys, keys.Sliced(2, 0, end), Bound(dtype, 5.0f), "keys");
        ExpectClose(entries.values, values.Sliced(2, 0, end), Bound(dtype, 5.0f), "values");
      }
      cache.Advance(end - at, end);
      at = end;
    }
    EXPECT_EQ(cache.length(), 150);
    EXPECT_EQ(cache.next_position(), 150);
  }
}

TEST(DecodeCache, SizesOfTheTypes) {
  const auto bytes = [](DType dtype) {
    DecodeCache cache(Tiny(), {.dtype = dtype, .max_tokens = 64});
    for (int64_t layer = 0; layer < 2; ++layer) cache.Append(layer, Keys(64, 1), Values(64, 2));
    return cache.size_bytes();
  };
  EXPECT_EQ(bytes(DType::kF32), 2 * 3 * 64 * (5 + 4) * 4);
  EXPECT_EQ(bytes(DType::kBF16), 2 * 3 * 64 * (5 + 4) * 2);
  EXPECT_EQ(bytes(DType::kI8), 2 * 3 * 64 * (5 + 4 + 2 * 4));
}

TEST(DecodeCache, ACallThatFailsLeavesItAsItWas) {
  DecodeCache cache(Tiny(), {.max_tokens = 8});
  for (int64_t layer = 0; layer < 2; ++layer) cache.Append(layer, Keys(3, 1), Values(3, 2));
  cache.Advance(3, 3);
  cache.Append(0, Keys(2, 3), Values(2, 4));  // and then something goes wrong in layer 1
  const auto entries = cache.Append(0, Keys(1, 5), Values(1, 6));
  EXPECT_EQ(entries.keys.dim(2), 4);
  ExpectClose(entries.keys.Sliced(2, 0, 3), Keys(3, 1), 0.0f);
  ExpectClose(entries.keys.Sliced(2, 3, 4), Keys(1, 5), 0.0f);
}

TEST(DecodeCache, IsBounded) {
  DecodeCache cache(Tiny(), {.max_tokens = 4});
  cache.Append(0, Keys(4, 1), Values(4, 2));
  try {
    cache.Append(0, Keys(5, 1), Values(5, 2));
    FAIL() << "five tokens in a cache for four";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
  }
  EXPECT_THROW(cache.Append(2, Keys(1, 1), Values(1, 2)), Error);
  EXPECT_THROW(cache.Append(0, Values(1, 1), Values(1, 2)), Error);
  EXPECT_THROW(DecodeCache(Tiny(), {.max_tokens = 0}), Error);
  EXPECT_THROW(DecodeCache(Tiny(), {.dtype = DType::kI64}), Error);
}

TEST(DecodeCache, ClonesGoTheirOwnWay) {
  for (const DType dtype : {DType::kF32, DType::kI8}) {
    DecodeCache cache(Tiny(), {.dtype = dtype});
    for (int64_t layer = 0; layer < 2; ++layer) cache.Append(layer, Keys(70, 1), Values(70, 2));
    cache.Advance(70, 70);
    DecodeCache clone = cache.Clone();
    const auto there = clone.Append(0, Keys(1, 3), Values(1, 4)), here = cache.Append(0, Keys(1, 5), Values(1, 6));
    ExpectClose(there.keys.Sliced(2, 0, 70), here.keys.Sliced(2, 0, 70), 0.0f, "what they share");
    ExpectClose(there.keys.Sliced(2, 70, 71), Keys(1, 3), Bound(dtype, 5.0f), "the clone's");
    ExpectClose(here.keys.Sliced(2, 70, 71), Keys(1, 5), Bound(dtype, 5.0f), "the first one's");
  }
}

TEST(DecodeCache, TruncateForgetsTheEnd) {
  DecodeCache cache(Tiny(), {});
  for (int64_t layer = 0; layer < 2; ++layer) cache.Append(layer, Keys(6, 1), Values(6, 2));
  cache.Advance(6, 9);  // positions of their own
  cache.Truncate(4);
  EXPECT_EQ(cache.length(), 4);
  EXPECT_EQ(cache.next_position(), 7);
  const auto entries = cache.Append(0, Keys(1, 3), Values(1, 4));
  ExpectClose(entries.keys.Sliced(2, 0, 4), Keys(6, 1).Sliced(2, 0, 4), 0.0f);
  ExpectClose(entries.keys.Sliced(2, 4, 5), Keys(1, 3), 0.0f);
  EXPECT_THROW(cache.Truncate(5), Error);
  EXPECT_THROW(cache.Truncate(-1), Error);
  cache.Truncate(0);
  EXPECT_EQ(cache.next_position(), 0);
}

TEST(DecodeCache, StatesAndMemory) {
  DecodeCache cache({.states = {Shape{2, 1, 3}}}, {});
  ExpectClose(cache.state(0), Tensor::Zeros({2, 1, 3}), 0.0f);
  const Tensor value = RandomNormal({2, 1, 3}, 1);
  cache.SetState(0, value);
  cache.Advance(5, 5);
  ExpectClose(cache.Clone().state(0), value, 0.0f);
  EXPECT_THROW(cache.Truncate(2), Error);
  EXPECT_THROW(cache.SetState(0, Tensor::Zeros({1})), Error);
  cache.Truncate(0);
  ExpectClose(cache.state(0), Tensor::Zeros({2, 1, 3}), 0.0f);

  DecodeCache crossing(Tiny(), {});
  EXPECT_FALSE(crossing.memory(1).keys.defined());
  crossing.SetMemory(1, {Keys(4, 1), Values(4, 2)});
  EXPECT_TRUE(crossing.has_memory());
  ExpectClose(crossing.Clone().memory(1).keys, Keys(4, 1), 0.0f);
  EXPECT_THROW(crossing.SetMemory(2, {}), Error);
}

}  // namespace
}  // namespace fovea::nn
