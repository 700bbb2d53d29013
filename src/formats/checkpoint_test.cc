#include "formats/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/file.h"
#include "formats/safetensors.h"
#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea::formats {
namespace {

void Write(const std::string& path, const std::vector<NamedTensor>& tensors) { WriteSafetensors(path, tensors); }

const NamedTensor kA = {"a", Tensor::Scalar(1)};
const NamedTensor kB = {"b", Tensor::Scalar(2)};

std::string Message(const std::string& path) {
  try {
    ReadCheckpoint(path);
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

TEST(Checkpoint, FindsTheFileInAFolder) {
  const testing::TemporaryFolder folder;
  EXPECT_NE(Message(folder.path()).find("no weights"), std::string::npos);
  EXPECT_NE(Message(folder.File("none")), "");
  std::filesystem::copy(testing::SourcePath("tests/golden/formats/tensor.pth"), folder.File("mine.pth"));
  EXPECT_EQ(ReadCheckpoint(folder.path())[0].name, "");  // the only one there is
  Write(folder.File("other.safetensors"), {kA});
  EXPECT_NE(Message(folder.path()).find("several weight files"), std::string::npos);
  std::filesystem::copy(testing::SourcePath("tests/golden/formats/legacy.pth"), folder.File("pytorch_model.bin"));
  EXPECT_EQ(ReadCheckpoint(folder.path())[0].name, "state_dict.base");
  Write(folder.File("model.safetensors"), {kB});
  EXPECT_EQ(ReadCheckpoint(folder.path())[0].name, "b");
  EXPECT_EQ(ReadCheckpoint(folder.File("other.safetensors"))[0].name, "a");
}

TEST(Checkpoint, JoinsShards) {
  const testing::TemporaryFolder folder;
  Write(folder.File("s1.safetensors"), {kA});
  Write(folder.File("s2.safetensors"), {kB});
  const std::string index = folder.File("model.safetensors.index.json");
  base::WriteTextFileAtomically(
      index, R"({"metadata": {"total_size": 8}, "weight_map": {"b": "s2.safetensors", "a": "s1.safetensors"}})");
  for (const std::string& path : {folder.path(), index}) {
    const auto tensors = ReadCheckpoint(path);
    ASSERT_EQ(tensors.size(), 2u);
    EXPECT_EQ(tensors[0].name, "a");
    EXPECT_EQ(tensors[1].tensor.item(), 2.0f);
  }
  base::WriteTextFileAtomically(index, R"({"weight_map": {"a": "s2.safetensors"}})");
  EXPECT_NE(Message(index).find("no such tensor"), std::string::npos);
  base::WriteTextFileAtomically(index, R"({"weight_map": {"a": "s1.safetensors", "c": "s3.safetensors"}})");
  EXPECT_NE(Message(index).find("s3.safetensors, which is not there"), std::string::npos) << Message(index);
  Write(folder.File("s3.safetensors"), {kA, {"c", Tensor::Scalar(3)}});
  EXPECT_NE(Message(index).find("two shards"), std::string::npos);
}

// Both kinds of shards, as torch and safetensors write them, with f32, f16 and bf16 side by side: (i - 5) / 4.
TEST(Checkpoint, ReadsTheShardsOfEitherKindInEveryType) {
  for (const std::string kind : {"sharded_safetensors", "sharded_bin"}) {
    SCOPED_TRACE(kind);
    std::map<std::string, Tensor> tensors;
    for (const NamedTensor& named : ReadCheckpoint(testing::SourcePath("tests/golden/formats/" + kind)))
      tensors[named.name] = named.tensor;
    ASSERT_EQ(tensors.size(), 4u);
    EXPECT_EQ(tensors["wte.weight"].dtype(), DType::kF32);
    EXPECT_EQ(tensors["h.0.weight"].dtype(), DType::kF16);
    EXPECT_EQ(tensors["h.1.weight"].dtype(), DType::kBF16);
    EXPECT_EQ(tensors["wte.weight"].shape(), (Shape{3, 4}));
    EXPECT_EQ(tensors["h.1.weight"].shape(), (Shape{4, 3}));
    for (const auto& [name, tensor] : tensors) {
      const Tensor values = tensor.To(DType::kF32);
      for (int64_t i = 0; i < values.numel(); ++i)
        EXPECT_EQ(values.data<float>()[i], static_cast<float>(i - 5) / 4) << name;
    }
  }
}

TEST(Checkpoint, AShardCutShortIsNamed) {
  const testing::TemporaryFolder folder;
  const std::string copy = folder.File("copy"), shard = copy + "/pytorch_model-00002-of-00002.bin";
  std::filesystem::copy(testing::SourcePath("tests/golden/formats/sharded_bin"), copy);
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) / 2);
  EXPECT_NE(Message(copy).find("pytorch_model-00002-of-00002.bin"), std::string::npos) << Message(copy);
  std::filesystem::remove(shard);
  EXPECT_NE(Message(copy).find("pytorch_model-00002-of-00002.bin, which is not there"), std::string::npos);
}

TEST(Checkpoint, ShardsStayBesideTheirIndex) {
  const testing::TemporaryFolder folder;
  const std::string index = folder.File("model.safetensors.index.json");
  for (const std::string shard :
       {R"("../x.safetensors")", R"("/etc/passwd")", R"("sub/x")", R"("..")", R"("a\u0000b")", R"("")", "3", "{}"}) {
    base::WriteTextFileAtomically(index, R"({"weight_map": {"a": )" + shard + "}}");
    EXPECT_NE(Message(index).find("beside it"), std::string::npos) << shard;
  }
  base::WriteTextFileAtomically(index, "{}");
  EXPECT_NE(Message(index).find("weight_map"), std::string::npos);
}

}  // namespace
}  // namespace fovea::formats
