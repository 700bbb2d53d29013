#include "ops/arithmetic.h"

#include <gtest/gtest.h>

#include <cmath>

#include "testing/golden.h"

namespace fovea {
namespace {

using testing::ExpectClose;
using testing::ExpectGradientsMatch;
using Inputs = std::vector<Tensor>;

const Tensor kA = Tensor::FromValues<float>({2, 2}, {1, 2, 3, 4});
const Tensor kB = Tensor::FromValues<float>({2}, {10, 20});

TEST(ArithmeticOp, ValuesByHand) {
  ExpectClose(kA + kB, Tensor::FromValues<float>({2, 2}, {11, 22, 13, 24}), 0.0f);
  ExpectClose(kA - kB, Tensor::FromValues<float>({2, 2}, {-9, -18, -7, -16}), 0.0f);
  ExpectClose(kA * kB, Tensor::FromValues<float>({2, 2}, {10, 40, 30, 80}), 0.0f);
  ExpectClose(kB / kA, Tensor::FromValues<float>({2, 2}, {10, 10, 10.0f / 3.0f, 5}), 0.0f);
  ExpectClose(2.0f - kA * 0.5f, Tensor::FromValues<float>({2, 2}, {1.5f, 1, 0.5f, 0}), 0.0f);
  ExpectClose(-(kA / 2.0f) + 1.0f, Tensor::FromValues<float>({2, 2}, {0.5f, 0, -0.5f, -1}), 0.0f);
  ExpectClose(Square(kA), Tensor::FromValues<float>({2, 2}, {1, 4, 9, 16}), 0.0f);
  ExpectClose(Sqrt(Square(kA)), kA, 0.0f);
  ExpectClose(Log(Exp(kA)), kA, 1e-6f);
  ExpectClose((kA.To(DType::kBF16) + kB.To(DType::kBF16)), Tensor::FromValues<float>({2, 2}, {11, 22, 13, 24}), 0.0f);
}

TEST(ArithmeticOp, GradientsSumOverBroadcastAxes) {
  const Shape shapes[][2] = {{{2, 3, 4, 5}, {2, 1, 1, 5}},
                             {{2, 1, 1, 5}, {2, 3, 4, 5}},
                             {{3, 4}, {4}},
                             {{3, 1}, {1, 4}},
                             {{}, {3}},
                             {{3, 4}, {3, 4}}};
  for (const auto& [left, right] : shapes) {
    const Inputs in = {testing::RandomNormal(left, 1), testing::RandomUniform(right, 2, 1.0f, 2.0f)};
    ExpectGradientsMatch([](const Inputs& t) { return t[0] + t[1]; }, in);
    ExpectGradientsMatch([](const Inputs& t) { return t[0] - t[1]; }, in);
    ExpectGradientsMatch([](const Inputs& t) { return t[0] * t[1]; }, in);
    ExpectGradientsMatch([](const Inputs& t) { return t[0] / t[1]; }, in);
  }
}

TEST(ArithmeticOp, GradientsOfOneInput) {
  const Inputs in = {testing::RandomUniform({3, 5}, 3, 0.5f, 2.0f)};
  ExpectGradientsMatch([](const Inputs& t) { return Exp(t[0]); }, in);
  ExpectGradientsMatch([](const Inputs& t) { return Log(t[0]); }, in);
  ExpectGradientsMatch([](const Inputs& t) { return Sqrt(t[0]); }, in);
  ExpectGradientsMatch([](const Inputs& t) { return Square(t[0]); }, in);
  ExpectGradientsMatch([](const Inputs& t) { return 3.0f - t[0] * 2.0f; }, in);
  ExpectGradientsMatch([](const Inputs& t) { return t[0] * t[0]; }, in);  // one tensor twice
}

TEST(ArithmeticOp, Where) {
  Tensor mask = Tensor::Empty({3, 1}, DType::kBool);
  for (int i = 0; i < 3; ++i) mask.mutable_data<bool>()[i] = i == 1;
  const Tensor a = testing::RandomNormal({3, 4}, 4), b = testing::RandomNormal({4}, 5);
  const Tensor y = Where(mask, a, b);
  for (int i = 0; i < 12; ++i) EXPECT_EQ(y.data<float>()[i], i / 4 == 1 ? a.data<float>()[i] : b.data<float>()[i % 4]);
  ExpectGradientsMatch([&](const Inputs& t) { return Where(mask, t[0], t[1]); }, {a, b});
  // A gradient that would be NaN on the side not taken stays out.
  Tape tape;
  const Tensor zero = Tensor::Zeros({3, 4});
  tape.Watch(zero);
  const Gradients gradients = tape.Backward(Where(mask, Tensor::Full({3, 4}, 1.0f), zero), Tensor::Full({3, 4}, 1.0f));
  EXPECT_EQ(gradients[zero].data<float>()[4], 0.0f);
  EXPECT_EQ(gradients[zero].data<float>()[0], 1.0f);
}

TEST(ArithmeticOp, ErrorsNameBothShapes) {
  testing::ExpectError([] { Add(Tensor::Zeros({2, 3}), Tensor::Zeros({2, 4})); }, "[2,4]");
  testing::ExpectError([] { Mul(Tensor::Zeros({2}), Tensor::Zeros({2}, DType::kBF16)); },
                       "[mul] expected inputs of one type");
  testing::ExpectError([] { Where(Tensor::Zeros({2}), kB, kB); }, "[where] expected a bool mask, got f32");
}

}  // namespace
}  // namespace fovea
