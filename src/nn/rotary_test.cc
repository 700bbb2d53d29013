#include "nn/rotary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea::nn {
namespace {

base::Config Parse(const std::string& text) { return base::Config::Parse(text, "config.json"); }

// The angle of pair i at one position, from its cosine and sine.
double Angle(const Rotary::Angles& angles, int64_t i) {
  return std::atan2(angles.sin.data<float>()[i], angles.cos.data<float>()[i]);
}

TEST(Rotary, PlainAnglesByHand) {
  const Rotary rotary(ReadRope(Parse(R"({"rope_theta": 100.0})"), "test", {.head_dim = 4}));
  const auto angles = rotary.At(Tensor::FromValues<int64_t>({1, 2}, {0, 3}));
  EXPECT_EQ(angles.cos.shape(), Shape({1, 2, 2}));
  EXPECT_NEAR(Angle(angles, 0), 0.0, 1e-6);
  EXPECT_NEAR(Angle(angles, 2), 3.0, 1e-6);  // 3 * 100^0
  EXPECT_NEAR(Angle(angles, 3), 0.3, 1e-6);  // 3 * 100^(-1/2)
}

TEST(Rotary, OldAndNewKeysSayTheSame) {
  const auto old_keys = Parse(R"({"rope_theta": 50.0, "rope_scaling": {"type": "linear", "factor": 2.0}})");
  const auto new_keys = Parse(R"({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 50.0}})");
  const Tensor positions = Tensor::FromValues<int64_t>({1, 3}, {1, 5, 40});
  const auto a = Rotary(ReadRope(old_keys, "test", {.head_dim = 8})).At(positions);
  const auto b = Rotary(ReadRope(new_keys, "test", {.head_dim = 8})).At(positions);
  testing::ExpectClose(a.cos, b.cos, 0.0f);
  EXPECT_NEAR(Angle(a, 0), 0.5, 1e-6);
}

TEST(Rotary, KindsOfLayers) {
  const auto config = Parse(
      R"({"rope_parameters": {"near": {"rope_theta": 4.0}, "far": {"rope_theta": 9.0, "rope_type": "default"}}})");
  EXPECT_EQ(ReadRope(config, "test", {.head_dim = 4, .layer_type = "near"}).theta, 4.0);
  EXPECT_EQ(ReadRope(config, "test", {.head_dim = 4, .layer_type = "far"}).theta, 9.0);
}

TEST(Rotary, SectionsFollowTimeRowAndColumn) {
  const std::string keys = R"({"rope_theta": 1.00011, "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1])";
  const Tensor positions = Tensor::FromValues<int64_t>({3, 1, 1}, {1, 2, 3});
  const auto blocks = Rotary(ReadRope(Parse(keys + "}}"), "test", {.head_dim = 8})).At(positions);
  const double expected[] = {1, 1, 2, 3}, woven[] = {1, 2, 3, 1};
  const auto mixed =
      Rotary(ReadRope(Parse(keys + R"(, "mrope_interleaved": true}})"), "test", {.head_dim = 8})).At(positions);
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(Angle(blocks, i), expected[i], 1e-3) << i;
    EXPECT_NEAR(Angle(mixed, i), woven[i], 1e-3) << i;
  }
}

TEST(Rotary, WhatIsNotCoveredIsRefused) {
  const auto code_of = [](const std::string& text, int64_t head_dim) {
    try {
      ReadRope(Parse(text), "test", {.head_dim = head_dim});
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code_of(R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})", 8), ErrorCode::kUnimplemented);
  EXPECT_EQ(code_of(R"({"rope_scaling": {"type": "longrope"}})", 8), ErrorCode::kUnimplemented);
  EXPECT_EQ(code_of(R"({"rope_scaling": {"type": "linear"}})", 8), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of(R"({"rope_theta": -1.0})", 8), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of("{}", 7), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of(R"({"rope_scaling": {"type": "mrope", "mrope_section": [2, 2, 2]}})", 8),
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fovea::nn
