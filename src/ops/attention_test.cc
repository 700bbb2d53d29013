#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/error.h"
#include "ops/shape.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea {
namespace {

using testing::ExpectClose;
using testing::RandomNormal;

TEST(AttentionOp, MatchesPyTorch) {
  testing::ExpectGolden("attention", 5e-6f, 0.1f,
                        [](const nlohmann::json& attributes, const testing::NamedTensors& in) {
                          AttentionOptions options{.is_causal = attributes["is_causal"].get<bool>()};
                          if (attributes.contains("scale")) options.scale = attributes["scale"].get<float>();
                          if (in.contains("bias")) options.bias = in.at("bias");
                          if (in.contains("key_mask")) options.key_mask = in.at("key_mask").To(DType::kBool);
                          return ScaledDotProductAttention(in.at("q"), in.at("k"), in.at("v"), options);
                        });
}

TEST(AttentionOp, Gradients) {
  const auto f = [](const std::vector<Tensor>& in) {
    return ScaledDotProductAttention(in[0], in[1], in[2], {.is_causal = true, .bias = in[3]});
  };
  testing::ExpectGradientsMatch(f, {RandomNormal({2, 4, 7, 5}, 1), RandomNormal({2, 2, 9, 5}, 2),
                                    RandomNormal({2, 2, 9, 5}, 3), RandomNormal({4, 7, 9}, 4)});
}

// Heads split and joined as a model does it, without copies.
TEST(AttentionOp, WorksOnPermutedHeadsAndReturnsThemReadyToJoin) {
  const Tensor x = RandomNormal({2, 11, 24}, 1);  // [B,T,3HE]
  const auto heads = [&](const Tensor& in, int which) {
    return Permute(Reshape(Slice(in, 2, which * 8, which * 8 + 8).Contiguous(), {2, 11, 2, 4}), {0, 2, 1, 3});
  };
  const Tensor y = ScaledDotProductAttention(heads(x, 0), heads(x, 1), heads(x, 2));  // [B,H,T,E]
  const Tensor joined = Permute(y, {0, 2, 1, 3});
  EXPECT_TRUE(joined.is_contiguous());
  const Tensor dense =
      ScaledDotProductAttention(heads(x, 0).Contiguous(), heads(x, 1).Contiguous(), heads(x, 2).Contiguous());
  ExpectClose(y, dense, 0);
}

TEST(AttentionOp, HiddenRowsGiveZerosAndNoGradient) {
  const Tensor q = RandomNormal({1, 2, 12, 4}, 1), k = RandomNormal({1, 2, 6, 4}, 2), v = RandomNormal({1, 2, 6, 4}, 3);
  const Tensor mask = Tensor::Empty({1, 6}, DType::kBool);
  std::fill_n(mask.mutable_data<bool>(), 6, false);
  Tape tape;
  for (const Tensor& leaf : {q, k, v}) tape.Watch(leaf);
  const Tensor y = ScaledDotProductAttention(q, k, v, {.key_mask = mask});
  ExpectClose(y, Tensor::Zeros(q.shape()), 0);
  const Gradients gradients = tape.Backward(y, Tensor::Full(y.shape(), 1.0f));
  ExpectClose(gradients[q], Tensor::Zeros(q.shape()), 0);
  ExpectClose(gradients[k], Tensor::Zeros(k.shape()), 0);
  ExpectClose(gradients[v], Tensor::Zeros(v.shape()), 0);
}

TEST(AttentionOp, RefusesWhatDoesNotFit) {
  const Tensor q = RandomNormal({1, 4, 3, 8}, 1), k = RandomNormal({1, 4, 5, 8}, 2);
  EXPECT_THROW(ScaledDotProductAttention(q, k, RandomNormal({1, 4, 6, 8}, 3)), Error);
  EXPECT_THROW(ScaledDotProductAttention(q, RandomNormal({1, 3, 5, 8}, 2), RandomNormal({1, 3, 5, 8}, 2)), Error);
  EXPECT_THROW(ScaledDotProductAttention(q, RandomNormal({1, 4, 5, 7}, 2), k), Error);
  EXPECT_THROW(ScaledDotProductAttention(q, k.To(DType::kBF16), k), Error);
  EXPECT_THROW(ScaledDotProductAttention(q.View({4, 3, 8}), k, k), Error);
  EXPECT_THROW(ScaledDotProductAttention(q, k, k, {.bias = RandomNormal({4, 5, 3}, 4)}), Error);
  EXPECT_THROW(ScaledDotProductAttention(q, k, k, {.key_mask = RandomNormal({1, 5}, 4)}), Error);
}

}  // namespace
}  // namespace fovea
