#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea::formats {
namespace {

std::vector<uint8_t> FileOf(std::string_view header, size_t data_bytes) {
  std::vector<uint8_t> file(8 + header.size() + data_bytes);
  const uint64_t header_bytes = header.size();
  std::memcpy(file.data(), &header_bytes, 8);
  std::copy(header.begin(), header.end(), file.begin() + 8);
  for (size_t i = 0; i < data_bytes; ++i) file[8 + header.size() + i] = static_cast<uint8_t>(i & 1);
  return file;
}

TEST(Safetensors, ReadsWhatTheReferenceWrote) {
  const auto file = SafetensorsFile::Open(testing::SourcePath("tests/golden/formats/mixed.safetensors"));
  EXPECT_EQ(file.metadata(), (Metadata{{"format", "pt"}, {"note", "a \"quoted\" caf\xC3\xA9"}}));
  EXPECT_EQ(file.tensors().size(), 12u);
  for (const char* type : {"f32", "bf16", "f16", "f64", "i64", "i32", "i16", "i8", "u8"}) {
    const Tensor ramp = file.Get(std::string("ramp.") + type);
    EXPECT_EQ(DTypeName(ramp.dtype()), type);
    ASSERT_EQ(ramp.shape(), Shape({3, 4})) << type;
    const Tensor values = ramp.To(DType::kF32);
    for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(values.data<float>()[i], 3.0f * static_cast<float>(i)) << type;
  }
  const Tensor flags = file.Get("ramp.bool");
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(flags.data<bool>()[i], i % 2 == 1);
  EXPECT_EQ(file.Get("scalar").item(), 2.5f);
  EXPECT_EQ(file.Get("scalar").rank(), 0);
  EXPECT_EQ(file.Get("empty").shape(), Shape({2, 0}));
  EXPECT_FALSE(file.Has("none"));
  EXPECT_THROW(file.Get("none"), Error);
  for (size_t i = 1; i < file.tensors().size(); ++i)
    EXPECT_GE(file.tensors()[i].offset_bytes, file.tensors()[i - 1].offset_bytes);
}

TEST(Safetensors, PointsIntoTheFileWhenAlignedAndCopiesOtherwise) {
  const testing::TemporaryFolder folder;
  const std::vector<NamedTensor> saved = {{"byte", testing::RandomUniform({3}, 1, 0, 9).To(DType::kU8)},
                                          {"float", testing::RandomNormal({5, 2}, 2)}};
  WriteSafetensors(folder.File("x.safetensors"), saved);
  Tensor kept;
  {
    const auto file = SafetensorsFile::Open(folder.File("x.safetensors"));
    kept = file.Get("float");
    EXPECT_EQ(file.Get("float").raw(), kept.raw());  // the same bytes, not two copies
  }
  testing::ExpectClose(kept, saved[1].tensor, 0, "after the file object is gone");

  auto owner = std::make_shared<std::vector<uint8_t>>(base::ReadFile(folder.File("x.safetensors"), 1 << 20));
  owner->insert(owner->begin(), 1, 0);  // every float is now misaligned
  const auto shifted = SafetensorsFile::Parse(std::span<const uint8_t>(*owner).subspan(1), "shifted", owner);
  const Tensor copy = shifted.Get("float");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(copy.raw()) % 4, 0u);
  testing::ExpectClose(copy, saved[1].tensor, 0, "misaligned");
}

TEST(Safetensors, WritesAlignedFilesThatHoldEveryTypeAndName) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.File("all.safetensors");
  std::vector<NamedTensor> saved;
  for (const DType dtype : {DType::kBool, DType::kU8, DType::kI8, DType::kI16, DType::kF16, DType::kBF16, DType::kI32,
                            DType::kF32, DType::kI64, DType::kF64}) {
    saved.push_back({std::string(DTypeName(dtype)), testing::RandomIntegers({7}, 3, 0, 2).To(dtype)});
  }
  const std::vector<int> swap = {1, 0};
  saved.push_back({"a.\"b\"\n\xC3\xA9", testing::RandomNormal({3, 4}, 5).Permuted(swap)});
  saved.push_back({"nothing", Tensor::Empty({0, 4})});
  WriteSafetensors(path, saved, {{"k", "v"}});
  const auto file = SafetensorsFile::Open(path);
  EXPECT_EQ(file.metadata(), (Metadata{{"k", "v"}}));
  ASSERT_EQ(file.tensors().size(), saved.size());
  for (const NamedTensor& named : saved) {
    EXPECT_EQ(file.Get(named.name).dtype(), named.tensor.dtype());
    testing::ExpectClose(file.Get(named.name), named.tensor.Contiguous(), 0, named.name);
  }
  for (const TensorInfo& info : file.tensors()) EXPECT_EQ(info.offset_bytes % ItemSize(info.dtype), 0) << info.name;
  EXPECT_EQ(file.tensors()[0].offset_bytes % 64, 0);

  // The header as any JSON parser sees it.
  const std::vector<uint8_t> bytes = base::ReadFile(path, 1 << 20);
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), 8);
  const auto header =
      nlohmann::json::parse(bytes.begin() + 8, bytes.begin() + 8 + static_cast<std::ptrdiff_t>(header_bytes));
  EXPECT_EQ(header["bf16"]["dtype"], "BF16");
  EXPECT_EQ(header["nothing"]["shape"], (std::vector<int>{0, 4}));
}

TEST(Safetensors, WriterRefusesNamesThatCannotBeReadBack) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.File("x.safetensors");
  const Tensor one = Tensor::Scalar(1);
  for (const std::string name : {"", "__metadata__", "\xFF"}) {
    const std::vector<NamedTensor> bad = {{name, one}};
    EXPECT_THROW(WriteSafetensors(path, bad), Error) << name;
  }
  const std::vector<NamedTensor> twice = {{"a", one}, {"a", one}};
  EXPECT_THROW(WriteSafetensors(path, twice), Error);
  const std::vector<NamedTensor> undefined = {{"a", Tensor()}};
  EXPECT_THROW(WriteSafetensors(path, undefined), Error);
  EXPECT_THROW(base::ReadFile(path, 1 << 20), Error);  // nothing was left behind
}

struct BadFile {
  std::string header;
  size_t data_bytes;
  ErrorCode code;
  std::string says;
};

TEST(Safetensors, RefusesMalformedFilesByReason) {
  const auto corrupt = ErrorCode::kCorruptData;
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const BadFile files[] = {
      {"", 0, corrupt, "start with '{'"},
      {"[]", 0, corrupt, "start with '{'"},
      {"{", 0, corrupt, "not valid JSON"},
      {"{} x", 0, corrupt, "not valid JSON"},
      {"{\"\xFF\":1}", 0, corrupt, "not valid JSON"},
      {"{" + a + "," + a + "}", 8, corrupt, "twice"},
      {R"({"__metadata__":{"k":"v","k":"w"}})", 0, corrupt, "twice"},
      {R"({"__metadata__":{"k":1}})", 0, corrupt, "a number"},
      {R"({"__metadata__":{"k":{}}})", 0, corrupt, "an object"},
      {R"({"a":[]})", 0, corrupt, "a list"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, corrupt, "twice"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1}})", 8, corrupt, "extra"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", 8, corrupt, "got less"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8, corrupt, "got less"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", 8, corrupt, "third"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, corrupt, "negative"},
      {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8, corrupt, "fraction"},
      {R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", 8, corrupt, "a list"},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}})", 8, corrupt, "too many"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, corrupt, "2^48"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0, corrupt, "2^48"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", 8, corrupt, "too large"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, corrupt, "12 bytes"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, corrupt, "data offsets"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9000000000000000000]}})", 8, corrupt, "data offsets"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12, corrupt, "gap"},
      {"{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12, corrupt, "overlaps"},
      {"{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, corrupt, "overlaps"},
      {"{" + a + "}", 9, corrupt, "after the last tensor"},
      {"{" + a + "}", 7, corrupt, "data offsets"},
      {R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2, ErrorCode::kUnimplemented, "F8_E4M3"},
  };
  for (const BadFile& bad : files) {
    try {
      SafetensorsFile::Parse(FileOf(bad.header, bad.data_bytes), "bad.safetensors");
      ADD_FAILURE() << "accepted " << bad.header;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), bad.code) << bad.header << "\n" << error.message();
      EXPECT_NE(error.message().find(bad.says), std::string::npos) << bad.header << "\n" << error.message();
      EXPECT_NE(error.message().find("bad.safetensors"), std::string::npos) << error.message();
    }
  }
  EXPECT_NO_THROW(SafetensorsFile::Parse(FileOf("{" + a + "}  ", 8), "good"));  // the frame of the cases above is sound
  EXPECT_NO_THROW(SafetensorsFile::Parse(FileOf("{}", 0), "good"));
}

TEST(Safetensors, RefusesHeadersLongerThanTheFileOrTheLimit) {
  for (const uint64_t header_bytes : {uint64_t{100}, uint64_t{1} << 32, ~uint64_t{0}}) {
    std::vector<uint8_t> file = FileOf("{}", 0);
    std::memcpy(file.data(), &header_bytes, 8);
    EXPECT_THROW(SafetensorsFile::Parse(file, "bad"), Error) << header_bytes;
  }
  EXPECT_THROW(SafetensorsFile::Parse(std::vector<uint8_t>(7), "bad"), Error);
  EXPECT_THROW(SafetensorsFile::Parse({}, "bad"), Error);
}

TEST(Safetensors, RefusesBooleansThatAreNeitherZeroNorOne) {
  std::vector<uint8_t> bytes = FileOf(R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", 2);
  EXPECT_TRUE(SafetensorsFile::Parse(bytes, "x").Get("a").data<bool>()[1]);
  bytes.back() = 2;
  EXPECT_THROW(SafetensorsFile::Parse(bytes, "x").Get("a"), Error);
}

}  // namespace
}  // namespace fovea::formats
