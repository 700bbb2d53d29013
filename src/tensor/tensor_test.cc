#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <thread>

#include "fovea/error.h"
#include "tensor/tape.h"
#include "testing/testing.h"

namespace fovea {
namespace {

TEST(Shape, RefusesNegativeHugeAndTooManyDimensions) {
  EXPECT_THROW(Shape({2, -1}), Error);
  EXPECT_THROW(Shape({int64_t{1} << 40, int64_t{1} << 40}), Error);
  EXPECT_THROW(Shape({1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
  EXPECT_EQ(Shape({3, 0, 5}).numel(), 0);
  EXPECT_EQ(Shape({}).numel(), 1);
}

TEST(Shape, BroadcastsLikeNumPy) {
  EXPECT_EQ(BroadcastShapes({4, 1, 3}, {5, 1}, "test"), Shape({4, 5, 3}));
  EXPECT_EQ(BroadcastShapes({}, {2}, "test"), Shape({2}));
  EXPECT_THROW(BroadcastShapes({2}, {3}, "test"), Error);
}

TEST(DType, HalfConversionRoundTripsEveryValue) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    F16 half;
    half.bits = static_cast<uint16_t>(bits);
    const float wide = static_cast<float>(half);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(F16(wide))));
    } else {
      EXPECT_EQ(F16(wide).bits, half.bits) << bits;
    }
  }
}

TEST(DType, HalfRoundsToNearestEvenAsTheCompilerDoes) {
  for (uint64_t i = 0; i < 200000; ++i) {
    const uint32_t bits = static_cast<uint32_t>(i * 0x9E3779B97F4A7C15u >> 32);
    const float wide = std::bit_cast<float>(bits);
    if (std::isnan(wide)) continue;
    const _Float16 reference = static_cast<_Float16>(wide);
    uint16_t reference_bits;
    std::memcpy(&reference_bits, &reference, 2);
    EXPECT_EQ(F16(wide).bits, reference_bits) << wide;
  }
}

TEST(Tensor, WidensEveryHalfExactly) {
  Tensor half = Tensor::Empty({65536 + 3}, DType::kF16);
  for (int64_t i = 0; i < half.numel(); ++i) half.mutable_data<F16>()[i].bits = static_cast<uint16_t>(i);
  const Tensor wide = half.To(DType::kF32);
  for (int64_t i = 0; i < half.numel(); ++i) {
    const float expected = static_cast<float>(half.data<F16>()[i]);
    ASSERT_TRUE(wide.data<float>()[i] == expected || (std::isnan(wide.data<float>()[i]) && std::isnan(expected))) << i;
  }
}

TEST(Tensor, ViewsShareStorageAndContiguousGathers) {
  const Tensor x = Tensor::FromValues<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const int order[] = {1, 0};
  const Tensor transposed = x.Permuted(order);
  EXPECT_EQ(transposed.raw(), x.raw());
  EXPECT_FALSE(transposed.is_contiguous());
  testing::ExpectClose(transposed.Contiguous(), Tensor::FromValues<float>({3, 2}, {1, 4, 2, 5, 3, 6}), 0);
  testing::ExpectClose(x.Sliced(1, 1, 3).Contiguous(), Tensor::FromValues<float>({2, 2}, {2, 3, 5, 6}), 0);
  testing::ExpectClose(x.Sliced(0, 1, 2).Expanded({2, 3}).Contiguous(),
                       Tensor::FromValues<float>({2, 3}, {4, 5, 6, 4, 5, 6}), 0);
  EXPECT_THROW(transposed.View({6}), Error);
  EXPECT_THROW(x.Sliced(1, 2, 4), Error);
  EXPECT_THROW((void)x.data<int64_t>(), Error);
  EXPECT_THROW((void)x.Dims<3>("test"), Error);
}

TEST(Tensor, BorrowedStorageIsReadOnlyAndKeepsItsOwner) {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2});
  const std::weak_ptr<std::vector<float>> watch = owner;
  Tensor borrowed = Tensor::Borrow(owner->data(), {2}, DType::kF32, owner);
  owner.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_THROW(borrowed.mutable_data<float>(), Error);
  EXPECT_EQ(borrowed.data<float>()[1], 2.0f);
  borrowed = Tensor();
  EXPECT_TRUE(watch.expired());
}

TEST(Allocator, ReusesBlocksAndCountsThem) {
  TrimAllocator();
  const int64_t before = GetAllocatorStats().in_use_bytes;
  const uint8_t* first;
  {
    const Tensor x = Tensor::Empty({1000});
    first = x.raw();
    EXPECT_GE(GetAllocatorStats().in_use_bytes - before, 4000);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
  }
  EXPECT_EQ(GetAllocatorStats().in_use_bytes, before);
  EXPECT_EQ(Tensor::Empty({1000}).raw(), first);
}

// y = a * b, elementwise: enough of an operator to test the tape alone.
Tensor Times(const Tensor& a, const Tensor& b) {
  const auto product = [](const Tensor& x, const Tensor& y) {
    Tensor out = Tensor::Empty(x.shape());
    for (int64_t i = 0; i < x.numel(); ++i) out.mutable_data<float>()[i] = x.data<float>()[i] * y.data<float>()[i];
    return out;
  };
  return Record({&a, &b}, product(a, b), [a, b, product](const Tensor& dy, const Needs&) {
    return InputGradients{product(dy, b), product(dy, a)};
  });
}

TEST(Tape, SumsGradientsOverEveryUse) {
  const Tensor x = Tensor::FromValues<float>({2}, {3, -2});
  Tape tape;
  tape.Watch(x);
  const Tensor cube = Times(Times(x, x), x);
  const Gradients gradients = tape.Backward(cube, Tensor::Full({2}, 1.0f));
  testing::ExpectClose(gradients[x], Tensor::FromValues<float>({2}, {27, 12}), 1e-5f);  // 3 x^2
}

TEST(Tape, RecordsNothingWhenPausedOrUnwatched) {
  const Tensor x = Tensor::Scalar(2);
  Tape tape;
  EXPECT_TRUE(Tape::IsTraining());
  const Tensor unwatched = Times(x, x);
  EXPECT_FALSE(tape.IsTracked(unwatched));
  tape.Watch(x);
  {
    const Tape::Pause pause;
    EXPECT_FALSE(Tape::IsTraining());
    EXPECT_FALSE(tape.IsTracked(Times(x, x)));
  }
  EXPECT_TRUE(tape.IsTracked(Times(x, x)));
  std::thread([] { EXPECT_EQ(Tape::Active(), nullptr); }).join();
  EXPECT_THROW(tape.Backward(unwatched), Error);
}

}  // namespace
}  // namespace fovea
