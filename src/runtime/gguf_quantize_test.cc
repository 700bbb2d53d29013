// Files that are written are read again and must give the logits of transformers (tools/dump_gguf_golden.py), as far as
// rounding allows.
#include "runtime/gguf_quantize.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "runtime/loaded_model.h"
#include "testing/stored.h"
#include "testing/testing.h"

namespace fovea::runtime {
namespace {

std::string Golden(const std::string& name) { return testing::SourcePath("tests/golden/gguf/" + name + ".gguf"); }

// Root mean square of the error of the logits of `path`, as a share of that of the logits that are stored for `name`.
double LogitError(const std::string& path, const std::string& name) {
  const auto golden = testing::ReadStored("tests/golden/gguf/" + name + ".safetensors");
  const auto model = LoadedModel::Load(path, name);
  const Tensor logits = model->network().Decode({.ids = golden.at("ids")}).logits;
  const Tensor& expected = golden.at("logits");
  double error = 0, power = 0;
  for (int64_t i = 0; i < expected.numel(); ++i) {
    error += std::pow(logits.data<float>()[i] - expected.data<float>()[i], 2);
    power += std::pow(expected.data<float>()[i], 2);
  }
  return std::sqrt(error / power);
}

void ExpectErrors(const std::vector<BlockError>& errors, const std::string& type, double least, double most) {
  int64_t in_blocks = 0;
  for (const BlockError& error : errors) {
    if (error.type != type) continue;
    ++in_blocks;
    EXPECT_GT(error.error, least) << error.tensor;
    EXPECT_LT(error.error, most) << error.tensor;
  }
  EXPECT_GE(in_blocks, 5);
}

TEST(GgufQuantize, WritesGgufFromGguf) {
  const testing::TemporaryFolder folder;
  const auto q8 = WriteGgufModel(Golden("llama_f32"), folder.File("q8.gguf"), BlockType::kQ8_0);
  ExpectErrors(q8, "q8_0", 0.002, 0.01);
  EXPECT_LT(LogitError(folder.File("q8.gguf"), "llama_f32"), 0.06);
  const auto q4 = WriteGgufModel(Golden("llama_f32"), folder.File("q4.gguf"), BlockType::kQ4_0);
  ExpectErrors(q4, "q4_0", 0.05, 0.15);
  EXPECT_GT(LogitError(folder.File("q4.gguf"), "llama_f32"), 0.06);
  const auto file = formats::GgufFile::Open(folder.File("q4.gguf")),
             given = formats::GgufFile::Open(Golden("llama_f32"));
  EXPECT_EQ(file.metadata().Require<int64_t>("general.file_type"), 2);
  for (const std::string& key : given.metadata().Keys()) EXPECT_TRUE(file.metadata().Has(key)) << key;
  EXPECT_EQ(file.tensors().size(), given.tensors().size());
  // Blocks are rounded once more.
  EXPECT_FALSE(WriteGgufModel(folder.File("q8.gguf"), folder.File("again.gguf"), BlockType::kQ4_0).empty());
  EXPECT_LT(LogitError(folder.File("again.gguf"), "llama_f32"), 0.6);
}

TEST(GgufQuantize, WritesGgufFromFolders) {
  for (const char* name : {"llama_f32", "qwen2_f16", "qwen3_bf16", "gemma3_f16", "gpt2_f32"}) {
    const testing::TemporaryFolder folder;
    const auto model = LoadedModel::Load(Golden(name), name);
    std::vector<NamedTensor> tensors;
    nn::ForEachParameter(const_cast<models::Model&>(model->network()), [&](const std::string& path, nn::Parameter& p) {
      tensors.push_back({path, p.value()});
    });
    base::WriteTextFileAtomically(folder.File("config.json"), model->config().Text());
    base::WriteTextFileAtomically(folder.File("tokenizer.json"), "{}");
    formats::WriteSafetensors(folder.File("model.safetensors"), tensors);
    const auto errors = WriteGgufModel(folder.path(), folder.File("out.gguf"), BlockType::kQ8_0);
    ExpectErrors(errors, "q8_0", 0.002, 0.01);
    EXPECT_LT(LogitError(folder.File("out.gguf"), name), 0.1) << name;
    const auto file = formats::GgufFile::Open(folder.File("out.gguf"));
    EXPECT_EQ(file.metadata().Require<std::string>("tokenizer.huggingface.json"), "{}");
    EXPECT_EQ(file.tensors().size(), formats::GgufFile::Open(Golden(name)).tensors().size()) << name;
  }
}

TEST(GgufQuantize, RefusesWhatItCannotWrite) {
  const testing::TemporaryFolder folder;
  testing::ExpectError([&] { WriteGgufModel(Golden("llama_f32"), Golden("llama_f32"), BlockType::kQ8_0); },
                       "another file than the model itself");
  testing::ExpectError([&] { WriteGgufModel(Golden("llama_f32"), folder.File("x.gguf"), BlockType::kQ6_K); }, "q6_k");
  testing::ExpectError(
      [&] { WriteGgufModel(testing::SourcePath("tests/golden/clip_tiny"), folder.File("x.gguf"), BlockType::kQ8_0); },
      "not written as GGUF");
}

}  // namespace
}  // namespace fovea::runtime
