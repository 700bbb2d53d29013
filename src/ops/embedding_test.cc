#include "ops/embedding.h"

#include <gtest/gtest.h>

#include "fovea/error.h"
#include "tensor/tape.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using testing::ExpectClose;

TEST(EmbeddingOp, LooksUpRowsAndAddsUpRepeats) {
  const Tensor table = Tensor::FromValues<float>({3, 2}, {1, 2, 3, 4, 5, 6});
  const Tensor ids = Tensor::FromValues<int64_t>({2, 2}, {2, 0, 2, 2});
  Tape tape;
  tape.Watch(table);
  const Tensor y = Embedding(table, ids);
  ExpectClose(y, Tensor::FromValues<float>({2, 2, 2}, {5, 6, 1, 2, 5, 6, 5, 6}), 0);
  const Tensor dy = Tensor::FromValues<float>({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  ExpectClose(tape.Backward(y, dy)[table], Tensor::FromValues<float>({3, 2}, {3, 4, 0, 0, 13, 16}), 0);
}

TEST(EmbeddingOp, Gradients) {
  const Tensor ids = testing::RandomIntegers({3, 5}, 1, 0, 6);
  testing::ExpectGradientsMatch([&](const std::vector<Tensor>& in) { return Embedding(in[0], ids); },
                                {testing::RandomNormal({6, 4}, 2)});
}

TEST(EmbeddingOp, KeepsBf16) {
  const Tensor table = testing::RandomNormal({5, 3}, 1, 1, DType::kBF16);
  const Tensor y = Embedding(table, Tensor::FromValues<int64_t>({2}, {4, 1}));
  EXPECT_EQ(y.dtype(), DType::kBF16);
  ExpectClose(y.Sliced(0, 0, 1), table.Sliced(0, 4, 5), 0);
}

TEST(EmbeddingOp, RefusesBadIds) {
  const Tensor table = testing::RandomNormal({3, 2}, 1);
  EXPECT_THROW(Embedding(table, Tensor::FromValues<int64_t>({1}, {3})), Error);
  EXPECT_THROW(Embedding(table, Tensor::FromValues<int64_t>({1}, {-1})), Error);
  EXPECT_THROW(Embedding(table, Tensor::FromValues<int32_t>({1}, {1})), Error);
  EXPECT_THROW(Embedding(table.View({6}), Tensor::FromValues<int64_t>({1}, {0})), Error);
}

}  // namespace
}  // namespace fovea
