// GGUF files of every architecture that is read, against the logits of transformers; see tools/dump_gguf_golden.py.
#include "runtime/gguf_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/strings.h"
#include "fovea/error.h"
#include "runtime/loaded_model.h"
#include "runtime/model_folder.h"
#include "tensor/tape.h"
#include "testing/stored.h"
#include "testing/testing.h"

namespace fovea::runtime {
namespace {

std::string Golden(const std::string& name) { return testing::SourcePath("tests/golden/gguf/" + name); }

// The largest difference, as a share of the largest magnitude that is expected.
double Compare(const Tensor& actual, const Tensor& expected) {
  EXPECT_EQ(actual.shape(), expected.shape());
  double largest = 0, most = 0;
  for (int64_t i = 0; i < expected.numel(); ++i) {
    const double e = expected.data<float>()[i], d = actual.data<float>()[i] - e;
    largest = std::max(largest, std::fabs(d));
    most = std::max(most, std::fabs(e));
  }
  return largest / most;
}

TEST(GgufModel, GivesTheLogitsOfTheReference) {
  for (const char* name : {"llama_f32", "qwen2_f16", "qwen3_bf16", "gemma3_f16", "gpt2_f32"}) {
    const auto model = LoadedModel::Load(Golden(std::string(name) + ".gguf"), name);
    const auto golden = testing::ReadStored("tests/golden/gguf/" + std::string(name) + ".safetensors");
    const auto outputs = model->network().Decode({.ids = golden.at("ids")});
    EXPECT_LT(Compare(outputs.logits, golden.at("logits")), 1e-4) << name;
  }
}

TEST(GgufModel, ComputesOnBlocksWhatTheReferenceDoesOnTheirValues) {
  for (const char* name : {"llama_q8_0", "llama_q4_k", "qwen2_q5_1", "qwen3_q4_1", "gemma3_q4_0", "gpt2_q5_0"}) {
    const auto model = LoadedModel::Load(Golden(std::string(name) + ".gguf"), name);
    int64_t in_blocks = 0;
    nn::ForEachParameter(const_cast<models::Model&>(model->network()),
                         [&](const std::string&, nn::Parameter& p) { in_blocks += p.blocks() != nullptr ? 1 : 0; });
    EXPECT_GE(in_blocks, 7) << name;
    const auto golden = testing::ReadStored("tests/golden/gguf/" + std::string(name) + ".safetensors");
    const auto outputs = model->network().Decode({.ids = golden.at("ids")});
    EXPECT_LT(Compare(outputs.logits, golden.at("logits")), 2e-4) << name;
  }
}

TEST(GgufModel, StepsWithACacheGiveTheWholeSequence) {
  for (const char* name : {"llama_q4_k", "gemma3_q4_0"}) {
    const auto model = LoadedModel::Load(Golden(std::string(name) + ".gguf"), name);
    const auto golden = testing::ReadStored("tests/golden/gguf/" + std::string(name) + ".safetensors");
    const Tensor ids = golden.at("ids").Sliced(0, 1, 2).Contiguous();
    const Tensor whole = golden.at("logits").Sliced(0, 1, 2).Contiguous();
    const auto spec = model->network().Decoder();
    nn::DecodeCache cache(spec.Cache(), {});
    nn::DecodeCache* const caches[] = {&cache};
    int64_t at = 0;
    for (const int64_t count : {5, 1, 1, 5}) {
      const Tensor part = ids.Sliced(1, at, at + count).Contiguous();
      const auto outputs = model->network().Decode({.ids = part, .caches = caches});
      at += count;
      EXPECT_LT(Compare(outputs.logits, whole.Sliced(1, at - count, at).Contiguous()), 2e-4) << name << " " << at;
    }
  }
}

TEST(GgufModel, RefusesToTrainAndToSave) {
  const auto model = LoadedModel::Load(Golden("llama_q8_0.gguf"), "x");
  const testing::TemporaryFolder folder;
  testing::ExpectError([&] { model->Save(folder.File("out"), "f32"); }, "GGUF file");
  nn::ForEachParameter(const_cast<models::Model&>(model->network()), [&](const std::string&, nn::Parameter& p) {
    if (p.blocks() == nullptr) return;
    testing::ExpectError([&] { p.value(); }, "q8_0 blocks");
    EXPECT_EQ(p.Dense().shape(), p.shape());
  });
  Tape tape;
  Tensor x = testing::RandomNormal({1, 3, 64}, 1);
  tape.Watch(x);
  testing::ExpectError([&] { model->network().Decode({.embeddings = x}); }, "no gradient");
}

TEST(GgufModel, IsFoundByPathAndByFolder) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder.File("a.gguf"), std::ios::binary)
      << std::ifstream(Golden("llama_q8_0.gguf"), std::ios::binary).rdbuf();
  EXPECT_EQ(ResolveModelFolder(folder.File("a.gguf")), folder.File("a.gguf"));
  EXPECT_EQ(ResolveModelFolder(folder.path()), folder.File("a.gguf"));
  std::ofstream(folder.File("b.gguf"), std::ios::binary) << "GGUF";
  testing::ExpectError([&] { ResolveModelFolder(folder.path()); }, "exactly one .gguf");
  std::ofstream(folder.File("c.gguf"), std::ios::binary) << "PK";
  testing::ExpectError([&] { ResolveModelFolder(folder.File("c.gguf")); }, "no GGUF file");
  testing::ExpectError([&] { LoadedModel::Load(folder.File("b.gguf"), "b"); }, "cut short");
}

// Files of metadata alone, with one matrix of words.
formats::GgufFile Made(const testing::TemporaryFolder& folder, std::vector<formats::GgufEntry> entries,
                       const std::string& extra = "") {
  static const std::vector<uint8_t> zeros(4096);
  std::vector<formats::GgufTensor> tensors = {
      {.name = "token_embd.weight", .shape = {4, 32}, .block = BlockType::kQ8_0, .bytes = std::span(zeros).first(136)}};
  if (!extra.empty())
    tensors.push_back(
        {.name = extra, .shape = {4, 32}, .block = BlockType::kQ8_0, .bytes = std::span(zeros).first(136)});
  formats::WriteGguf(folder.File("made.gguf"), entries, nullptr, tensors);
  return formats::GgufFile::Open(folder.File("made.gguf"));
}

std::vector<formats::GgufEntry> LlamaEntries() {
  return {{"general.architecture", std::string("llama")},
          {"llama.context_length", uint32_t{64}},
          {"llama.embedding_length", uint32_t{32}},
          {"llama.feed_forward_length", uint32_t{64}},
          {"llama.block_count", uint32_t{1}},
          {"llama.attention.head_count", uint32_t{2}},
          {"llama.attention.layer_norm_rms_epsilon", 1e-5f}};
}

TEST(GgufModel, RefusesWhatItDoesNotKnowByName) {
  const testing::TemporaryFolder folder;
  auto entries = LlamaEntries();
  EXPECT_EQ(GgufConfig(Made(folder, entries)).Require<int64_t>("num_key_value_heads"), 2);
  entries[0].value = std::string("mamba");
  testing::ExpectError([&] { GgufConfig(Made(folder, entries)); }, "\"mamba\"; Fovea reads llama");
  entries = LlamaEntries();
  entries.push_back({"llama.expert_count", uint32_t{8}});
  testing::ExpectError([&] { GgufConfig(Made(folder, entries)); }, "mixes experts");
  entries = LlamaEntries();
  entries.push_back({"llama.rope.scaling.type", std::string("longrope")});
  testing::ExpectError([&] { GgufConfig(Made(folder, entries)); }, "\"longrope\"");
  entries = LlamaEntries();
  entries[2].value = uint32_t{0};
  testing::ExpectError([&] { GgufConfig(Made(folder, entries)); }, "llama.embedding_length");
  entries = LlamaEntries();
  entries.erase(entries.begin() + 3);
  testing::ExpectError([&] { GgufConfig(Made(folder, entries)); }, "lacks the metadata \"llama.feed_forward_length\"");
  entries = LlamaEntries();
  entries.push_back({"llama.attention.head_count_kv", std::vector<int32_t>{1, 2}});
  testing::ExpectError([&] { GgufConfig(Made(folder, entries)); }, "different numbers of key heads");
  testing::ExpectError([&] { GgufWeights(Made(folder, LlamaEntries(), "blk.0.ssm_a.weight")); }, "blk.0.ssm_a.weight");
  // Sizes of the metadata that the tensors do not have: the error names both.
  testing::ExpectError([&] { LoadedModel::Load(Made(folder, LlamaEntries()).metadata().source(), "x"); }, "missing");
}

TEST(GgufModel, TakesLinearAndYarnScaling) {
  const testing::TemporaryFolder folder;
  auto entries = LlamaEntries();
  entries.push_back({"llama.rope.scaling.type", std::string("linear")});
  entries.push_back({"llama.rope.scaling.factor", 4.0f});
  const auto linear = GgufConfig(Made(folder, entries)).Object("rope_scaling");
  EXPECT_EQ(linear.Require<std::string>("rope_type"), "linear");
  EXPECT_EQ(linear.Require<double>("factor"), 4.0);
  entries[7].value = std::string("yarn");
  entries.push_back({"llama.rope.scaling.original_context_length", uint32_t{32}});
  const auto yarn = GgufConfig(Made(folder, entries)).Object("rope_scaling");
  EXPECT_EQ(yarn.Require<std::string>("rope_type"), "yarn");
  EXPECT_EQ(yarn.Require<int64_t>("original_max_position_embeddings"), 32);
}

TEST(GgufModel, NamesTensorsBothWays) {
  EXPECT_EQ(GgufTensorName("llama", "model.layers.12.mlp.up_proj.weight"), "blk.12.ffn_up.weight");
  EXPECT_EQ(GgufTensorName("gemma3_text", "model.layers.0.post_attention_layernorm.weight"),
            "blk.0.post_attention_norm.weight");
  EXPECT_EQ(GgufTensorName("qwen2", "model.layers.0.post_attention_layernorm.weight"), "blk.0.ffn_norm.weight");
  EXPECT_EQ(GgufTensorName("gpt2", "transformer.h.3.attn.c_attn.bias"), "blk.3.attn_qkv.bias");
  EXPECT_EQ(GgufTensorName("llama", "model.layers.x.mlp.up_proj.weight"), "");
  EXPECT_EQ(GgufTensorName("llama", "vision.patch.weight"), "");
}

}  // namespace
}  // namespace fovea::runtime
