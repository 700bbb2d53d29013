#include "ops/shape.h"

#include <gtest/gtest.h>

#include <functional>

#include "fovea/error.h"
#include "tensor/tape.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using testing::ExpectClose;
using testing::ExpectGradientsMatch;
using testing::RandomNormal;

// 0, 1, 2, ... in the given shape.
Tensor Counting(const Shape& shape) {
  Tensor x = Tensor::Empty(shape);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] = static_cast<float>(i);
  return x;
}

Tensor Index(std::initializer_list<int64_t> values) {
  return Tensor::FromValues<int64_t>({static_cast<int64_t>(values.size())}, values);
}

TEST(ShapeOps, ViewsShareStorage) {
  const Tensor x = Counting({2, 3, 4});
  for (const Tensor& view : {Reshape(x, {6, 4}), Reshape(x, {-1}), Permute(x, {2, 0, 1}), Transpose(x, 0, -1),
                             Unsqueeze(x, 1), Slice(x, 0, 0, 1), Expand(x, {5, 2, 3, 4})}) {
    EXPECT_EQ(view.raw(), x.raw()) << view.shape();
    EXPECT_NE(view.id(), x.id());
  }
}

TEST(ShapeOps, Values) {
  const Tensor x = Counting({2, 3});
  EXPECT_EQ(Reshape(x, {3, -1}).shape(), Shape({3, 2}));
  ExpectClose(Reshape(Transpose(x, 0, 1), {6}), Tensor::FromValues<float>({6}, {0, 3, 1, 4, 2, 5}), 0);
  ExpectClose(Permute(x, {1, 0}), Tensor::FromValues<float>({3, 2}, {0, 3, 1, 4, 2, 5}), 0);
  EXPECT_EQ(Unsqueeze(x, -1).shape(), Shape({2, 3, 1}));
  EXPECT_EQ(Squeeze(Unsqueeze(x, 0), 0).shape(), x.shape());
  ExpectClose(Slice(x, 1, -2, 3), Tensor::FromValues<float>({2, 2}, {1, 2, 4, 5}), 0);
  ExpectClose(Slice(x, 1, 0, -1), Tensor::FromValues<float>({2, 2}, {0, 1, 3, 4}), 0);
  ExpectClose(Concat({x, Slice(x, 1, 0, 1)}, 1), Tensor::FromValues<float>({2, 4}, {0, 1, 2, 0, 3, 4, 5, 3}), 0);
  ExpectClose(Concat({x, x}, 0), Tensor::FromValues<float>({4, 3}, {0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5}), 0);
  ExpectClose(Stack(std::vector<Tensor>{x, x}, -1),
              Tensor::FromValues<float>({2, 3, 2}, {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5}), 0);
  const std::vector<Tensor> parts = Split(x, 1, std::vector<int64_t>{1, 2});
  ExpectClose(parts[1], Tensor::FromValues<float>({2, 2}, {1, 2, 4, 5}), 0);
  EXPECT_EQ(Split(x, 1, 3).size(), 3u);
  ExpectClose(IndexSelect(x, 1, Index({2, 0, 2})), Tensor::FromValues<float>({2, 3}, {2, 0, 2, 5, 3, 5}), 0);
  ExpectClose(IndexSelect(x, 0, Index({1})), Tensor::FromValues<float>({1, 3}, {3, 4, 5}), 0);
  ExpectClose(Gather(x, 1, Tensor::FromValues<int64_t>({2, 2}, {2, 0, 1, 1})),
              Tensor::FromValues<float>({2, 2}, {2, 0, 4, 4}), 0);
  ExpectClose(Gather(x, 0, Tensor::FromValues<int64_t>({1, 3}, {1, 0, 1})),
              Tensor::FromValues<float>({1, 3}, {3, 1, 5}), 0);
  ExpectClose(Pad(x, {.axis = 1, .before = 1, .after = 2, .value = 9}),
              Tensor::FromValues<float>({2, 6}, {9, 0, 1, 2, 9, 9, 9, 3, 4, 5, 9, 9}), 0);
}

TEST(ShapeOps, KeepOtherElementTypes) {
  const Tensor ids = Tensor::FromValues<int64_t>({2, 2}, {1, 2, 3, 4});
  const Tensor picked = IndexSelect(Concat({ids, ids}, 1), 1, Index({3, 0}));
  EXPECT_EQ(picked.data<int64_t>()[0], 2);
  EXPECT_EQ(picked.data<int64_t>()[3], 3);
  const Tensor bytes = Pad(Tensor::FromValues<uint8_t>({2}, {7, 8}), {.axis = 0, .before = 1, .value = 3});
  EXPECT_EQ(bytes.data<uint8_t>()[0], 3);
  EXPECT_EQ(bytes.data<uint8_t>()[2], 8);
}

TEST(ShapeOps, Gradients) {
  using Inputs = std::vector<Tensor>;
  const Tensor picks = Tensor::FromValues<int64_t>({2, 2, 4}, {0, 1, 2, 0, 1, 1, 1, 1, 2, 2, 0, 0, 0, 1, 0, 1});
  const std::function<Tensor(const Inputs&)> functions[] = {
      [](const Inputs& in) {
        return Reshape(in[0], {4, -1});
      },
      [](const Inputs& in) {
        return Reshape(Permute(in[0], {2, 0, 1}), {-1});
      },
      [](const Inputs& in) {
        return Permute(in[0], {1, -1, 0});
      },
      [](const Inputs& in) { return Transpose(in[0], 1, 2); },
      [](const Inputs& in) { return Unsqueeze(in[0], 2); },
      [](const Inputs& in) { return Squeeze(Slice(in[0], 1, 1, 2), 1); },
      [](const Inputs& in) {
        return Expand(Slice(in[0], 1, 0, 1), {3, 2, 5, 4});
      },
      [](const Inputs& in) { return Slice(in[0], 2, 1, -1); },
      [](const Inputs& in) {
        return Concat({in[0], Slice(in[0], 1, 0, 2), in[0]}, 1);
      },
      [](const Inputs& in) {
        return Concat({Transpose(in[0], 0, 2), Transpose(in[0], 0, 2)}, -1);
      },
      [](const Inputs& in) { return Stack(Split(in[0], 2, 2), 0); },
      [](const Inputs& in) {
        return IndexSelect(in[0], 1, Index({2, 0, 2, 2}));
      },
      [&](const Inputs& in) { return Gather(in[0], 1, picks); },
      [](const Inputs& in) { return Pad(in[0], {.axis = 1, .before = 2, .after = 1}); },
  };
  int which = 0;
  for (const auto& f : functions) {
    SCOPED_TRACE(which++);
    ExpectGradientsMatch(f, {RandomNormal({2, 3, 4}, 1)});
  }
}

TEST(ShapeOps, RefuseWhatDoesNotFit) {
  const Tensor x = Counting({2, 3});
  EXPECT_THROW(Reshape(x, {4, -1}), Error);
  EXPECT_THROW(Reshape(x, {-1, -1}), Error);
  EXPECT_THROW(Reshape(x, {7}), Error);
  EXPECT_THROW(Permute(x, {0, 0}), Error);
  EXPECT_THROW(Squeeze(x, 0), Error);
  EXPECT_THROW(Unsqueeze(x, 4), Error);
  EXPECT_THROW(Expand(x, {3, 3}), Error);
  EXPECT_THROW(Slice(x, 1, 2, 5), Error);
  EXPECT_THROW(Split(x, 1, 2), Error);
  EXPECT_THROW(Split(x, 1, std::vector<int64_t>{4, -1}), Error);
  EXPECT_THROW(Concat({x, Counting({2, 2})}, 0), Error);
  EXPECT_THROW(Concat(std::span<const Tensor>(), 0), Error);
  EXPECT_THROW(IndexSelect(x, 1, Index({3})), Error);
  EXPECT_THROW(IndexSelect(x, 1, x), Error);
  EXPECT_THROW(Gather(x, 1, Index({0})), Error);
  EXPECT_THROW(Pad(x, {.axis = 0, .before = -1}), Error);
}

}  // namespace
}  // namespace fovea
