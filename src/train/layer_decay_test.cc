// Which factor each parameter gets, from the formula of BEiT: decay^(blocks + 1 - depth).
#include "train/layer_decay.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "testing/testing.h"
#include "train/initial.h"
#include "train/network.h"
#include "train/training_testing.h"

namespace fovea::train {
namespace {

TEST(LayerDecay, TwoTowersCountTheirOwnBlocks) {
  const Network network = BuildNetwork({.model = testing::SourcePath("tests/golden/clip_tiny")}, {});
  const auto rates = LayerRates(*network.model, 0.5);
  EXPECT_EQ(rates.at("vision_model.embeddings.patch_embedding.weight"), 0.125);
  EXPECT_EQ(rates.at("vision_model.embeddings.class_embedding"), 0.125);
  EXPECT_EQ(rates.at("vision_model.pre_layrnorm.weight"), 0.125);
  EXPECT_EQ(rates.at("vision_model.encoder.layers.0.self_attn.q_proj.weight"), 0.25);
  EXPECT_EQ(rates.at("vision_model.encoder.layers.1.mlp.fc1.bias"), 0.5);
  EXPECT_EQ(rates.at("vision_model.post_layernorm.weight"), 1.0);
  EXPECT_EQ(rates.at("text_model.embeddings.token_embedding.weight"), 0.125);
  EXPECT_EQ(rates.at("text_model.encoder.layers.0.layer_norm1.weight"), 0.25);
  EXPECT_EQ(rates.at("text_model.final_layer_norm.weight"), 1.0);
  EXPECT_EQ(rates.at("visual_projection.weight"), 1.0);
  EXPECT_EQ(rates.at("text_projection.weight"), 1.0);
  EXPECT_EQ(rates.at("logit_scale"), 1.0);
}

TEST(LayerDecay, BlocksOfAConvolutionalNetwork) {
  testing::TemporaryFolder folder;
  WriteTinyModel(folder.File("base"));
  const Network network = BuildNetwork({.model = folder.File("base")}, {});
  const auto rates = LayerRates(*network.model, 0.5);
  std::map<std::string, double> blocks;
  for (const auto& [path, rate] : rates) {
    const size_t at = path.find("encoder.blocks.");
    if (at != std::string::npos) blocks[path.substr(at, 16)] = rate;
  }
  const auto count = static_cast<int64_t>(blocks.size());
  ASSERT_GE(count, 2);
  for (int64_t i = 0; i < count; ++i)
    EXPECT_EQ(blocks.at("encoder.blocks." + std::to_string(i)), std::pow(0.5, static_cast<double>(count - i)));
  EXPECT_EQ(rates.at("efficientnet.embeddings.convolution.weight"), std::pow(0.5, static_cast<double>(count + 1)));
  EXPECT_EQ(rates.at("efficientnet.encoder.top_conv.weight"), 1.0);
  EXPECT_EQ(rates.at("classifier.weight"), 1.0);
}

TEST(InitialValue, WhatArchitecturesDefineThemselves) {
  const nn::Parameter vector(Shape{3}), scalar(Shape{});
  const auto start = [](const std::string& path, const nn::Parameter& parameter, const std::string& config) {
    return InitialValue(path, parameter, base::Config::Parse(config, "test"), 1).values<float>()[0];
  };
  EXPECT_FLOAT_EQ(
      start("encoder.stages.0.layers.1.layer_scale_parameter", vector, R"({"layer_scale_init_value": 0.25})"), 0.25f);
  EXPECT_FLOAT_EQ(start("a.layer_scale_parameter", vector, "{}"), 1e-6f);
  EXPECT_FLOAT_EQ(start("encoder.layer.0.layer_scale1.lambda1", vector, R"({"layerscale_value": 0.5})"), 0.5f);
  EXPECT_FLOAT_EQ(start("logit_scale", scalar, R"({"model_type": "clip"})"), 2.6592f);
  EXPECT_FLOAT_EQ(start("logit_scale", scalar, R"({"model_type": "siglip"})"), 2.3025851f);
  EXPECT_FLOAT_EQ(start("logit_bias", scalar, R"({"model_type": "siglip"})"), -10.0f);
  EXPECT_FLOAT_EQ(start("temperature", scalar, R"({"temperature_init_value": 0.7})"), 0.7f);
  EXPECT_FLOAT_EQ(start("norm.weight", vector, "{}"), 1.0f);
  EXPECT_FLOAT_EQ(start("norm.bias", vector, "{}"), 0.0f);
}

TEST(InitialValue, AnLstmStartsAsPyTorchsWithItsForgetGateOpen) {
  constexpr int64_t kHidden = 48;
  const base::Config config = base::Config::Parse("{}", "test");
  const auto deviation = [](const std::string& path, const base::Config& of) {
    const Tensor value = InitialValue(path, nn::Parameter(Shape{4 * kHidden, 64}), of, 1);
    double squares = 0;
    for (const float x : value.values<float>()) squares += static_cast<double>(x) * x;
    return std::sqrt(squares / static_cast<double>(value.numel()));
  };
  EXPECT_NEAR(deviation("rnn.weight_ih_l0", config), 1 / std::sqrt(3.0 * kHidden), 2e-3);
  EXPECT_NEAR(deviation("decoder.decode_step.weight_hh", config), 1 / std::sqrt(3.0 * kHidden), 2e-3);
  EXPECT_NEAR(deviation("decoder.linear.weight", config), 0.02, 1e-3);
  const base::Config captioner = base::Config::Parse(R"({"model_type": "show_and_tell"})", "test");
  EXPECT_NEAR(deviation("decoder.linear.weight", captioner), 0.0462, 1e-3);
  const Tensor bias = InitialValue("decoder.lstm.bias_ih_l1", nn::Parameter(Shape{4 * kHidden}), config, 1);
  for (int64_t i = 0; i < 4 * kHidden; ++i)
    EXPECT_EQ(bias.data<float>()[i], i / kHidden == 1 ? 1.0f : 0.0f) << i;  // input, forget, cell, output
  const Tensor other = InitialValue("decoder.lstm.bias_hh_l1", nn::Parameter(Shape{4 * kHidden}), config, 1);
  EXPECT_EQ(other.data<float>()[kHidden], 0.0f);
}

}  // namespace
}  // namespace fovea::train
