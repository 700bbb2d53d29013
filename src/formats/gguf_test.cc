#include "formats/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea::formats {
namespace {

std::string MixedPath() { return testing::SourcePath("tests/golden/gguf/mixed.gguf"); }

GgufFile Parse(const std::string& bytes) {
  const auto owner = std::make_shared<std::string>(bytes);
  return GgufFile::Parse({reinterpret_cast<const uint8_t*>(owner->data()), owner->size()}, "x.gguf", owner);
}

// Files of bytes, written by hand.
template <typename T>
std::string Bytes(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}
std::string Text(const std::string& text) { return Bytes<uint64_t>(text.size()) + text; }
std::string Head(uint64_t tensors, uint64_t values, uint32_t version = 3) {
  return "GGUF" + Bytes(version) + Bytes(tensors) + Bytes(values);
}
std::string TensorEntry(const std::string& name, const std::vector<int64_t>& dims, uint32_t type, uint64_t offset) {
  std::string bytes = Text(name) + Bytes<uint32_t>(static_cast<uint32_t>(dims.size()));
  for (const int64_t dim : dims) bytes += Bytes(dim);
  return bytes + Bytes(type) + Bytes(offset);
}
std::string Padded(std::string bytes, size_t data) {
  bytes.resize((bytes.size() + 31) / 32 * 32 + data, '\0');
  return bytes;
}
const std::string kLong(200, ' ');

TEST(Gguf, ReadsTheMetadataThatTheReferenceWrote) {
  const auto file = GgufFile::Open(MixedPath());
  const GgufMetadata& m = file.metadata();
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(m.Require<std::string>("general.architecture"), "llama");
  EXPECT_EQ(m.Require<int64_t>("test.u8"), 200);
  EXPECT_EQ(m.Require<int64_t>("test.i8"), -100);
  EXPECT_EQ(m.Require<int64_t>("test.u16"), 60000);
  EXPECT_EQ(m.Require<int64_t>("test.i16"), -30000);
  EXPECT_EQ(m.Require<int64_t>("test.u32"), 4000000000);
  EXPECT_EQ(m.Require<int64_t>("test.i32"), -2000000000);
  EXPECT_EQ(m.Require<int64_t>("test.u64"), INT64_MAX);  // beyond is cut, never negative
  EXPECT_EQ(m.Require<int64_t>("test.i64"), -(int64_t{1} << 62));
  EXPECT_EQ(m.Require<double>("test.f32"), 0.15625);
  EXPECT_EQ(m.Require<double>("test.f64"), 1e-300);
  EXPECT_EQ(m.Require<double>("test.i16"), -30000.0);
  EXPECT_TRUE(m.Require<bool>("test.yes"));
  EXPECT_EQ(m.Require<std::string>("test.text"), "caf\u00e9 \u2581");
  EXPECT_EQ(m.Require<std::vector<std::string>>("test.words"),
            (std::vector<std::string>{"a", "", "\u2581the", "\u00e9"}));
  EXPECT_EQ(m.Require<std::vector<double>>("test.scores"), (std::vector<double>{0.5, -1.25, 3.0}));
  EXPECT_EQ(m.Require<std::vector<int64_t>>("test.kinds"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(m.Require<std::vector<bool>>("test.flags"), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(m.Count("test.words"), 4);
  EXPECT_EQ(m.Count("none"), 0);
  EXPECT_EQ(m.Get<int64_t>("none", 7), 7);
  testing::ExpectError([&] { m.Require<int64_t>("none"); }, "lacks the metadata \"none\"");
  testing::ExpectError([&] { m.Require<int64_t>("test.text"); }, "expected an integer for \"test.text\"");
  testing::ExpectError([&] { m.Require<bool>("test.u8"); }, "got an integer");
  testing::ExpectError([&] { m.Require<std::vector<int64_t>>("test.scores"); }, "got a list of 3 x f32");
  testing::ExpectError([&] { m.Require<std::vector<std::string>>("test.kinds"); }, "expected a list of texts");
}

TEST(Gguf, KeepsDetachedMetadataWithoutTheFile) {
  GgufMetadata kept;
  {
    const auto owner = std::make_shared<std::vector<uint8_t>>(base::ReadFile(MixedPath(), 1 << 20));
    kept = GgufFile::Parse(*owner, "mixed", owner).metadata().Detached();
    EXPECT_EQ(owner.use_count(), 1);
    std::fill(owner->begin(), owner->end(), uint8_t{0});
  }
  EXPECT_EQ(kept.Require<std::string>("test.text"), "caf\u00e9 \u2581");
  EXPECT_EQ(kept.Require<std::vector<std::string>>("test.words")[2], "\u2581the");
  EXPECT_EQ(kept.Require<std::vector<double>>("test.scores")[1], -1.25);
  EXPECT_EQ(kept.Require<int64_t>("test.i8"), -100);
}

TEST(Gguf, ReadsTheTensorsThatTheReferenceWrote) {
  const auto file = GgufFile::Open(MixedPath());
  const std::string json_path = testing::SourcePath("tests/golden/gguf/mixed.json");
  const auto expected = base::ParseJson(base::ReadTextFile(json_path), json_path);
  EXPECT_EQ(file.tensors().size(), expected.size());
  size_t plain = 0, blocks = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    const auto& stored = expected[tensor.name];
    EXPECT_EQ(std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end()),
              stored["shape"].get<std::vector<int64_t>>())
        << tensor.name;
    if (tensor.block) {
      EXPECT_EQ(base::AsciiLower(tensor.name), BlockTypeName(*tensor.block));
      EXPECT_EQ(static_cast<int64_t>(tensor.bytes.size()),
                tensor.shape.numel() / BlockItems(*tensor.block) * BlockBytes(*tensor.block));
      ++blocks;
      continue;
    }
    const Tensor values = file.Plain(tensor).To(DType::kF32);
    double sum = 0;
    for (const float value : values.values<float>()) sum += value;
    EXPECT_NEAR(sum, stored["sum"].get<double>(), 1e-5) << tensor.name;
    ++plain;
  }
  EXPECT_EQ(plain, 3u);
  EXPECT_EQ(blocks, std::size(kAllBlockTypes));
}

TEST(Gguf, WritesWhatItReads) {
  const auto file = GgufFile::Open(MixedPath());
  const testing::TemporaryFolder folder;
  const std::vector<GgufEntry> entries = {{"general.file_type", uint32_t{7}},
                                          {"test.text", std::string("new")},
                                          {"added.flag", true},
                                          {"added.float", 2.5f},
                                          {"added.long", int64_t{-5}},
                                          {"added.words", std::vector<std::string>{"x", "yz"}},
                                          {"added.scores", std::vector<float>{1, 2}},
                                          {"added.kinds", std::vector<int32_t>{-1}}};
  WriteGguf(folder.File("y.gguf"), entries, &file, file.tensors());
  const auto again = GgufFile::Open(folder.File("y.gguf"));
  EXPECT_EQ(again.metadata().Require<std::string>("test.text"), "new");
  EXPECT_EQ(again.metadata().Require<int64_t>("general.file_type"), 7);
  EXPECT_EQ(again.metadata().Require<int64_t>("added.long"), -5);
  EXPECT_EQ(again.metadata().Require<double>("added.float"), 2.5);
  EXPECT_TRUE(again.metadata().Require<bool>("added.flag"));
  EXPECT_EQ(again.metadata().Require<std::vector<std::string>>("added.words"), (std::vector<std::string>{"x", "yz"}));
  EXPECT_EQ(again.metadata().Require<std::vector<double>>("added.scores"), (std::vector<double>{1, 2}));
  EXPECT_EQ(again.metadata().Require<std::vector<int64_t>>("added.kinds"), (std::vector<int64_t>{-1}));
  EXPECT_EQ(again.metadata().Require<std::vector<std::string>>("test.words").size(), 4u);  // kept
  EXPECT_EQ(again.metadata().Require<std::vector<bool>>("test.flags").size(), 3u);
  EXPECT_FALSE(again.metadata().Has("general.alignment"));  // 64 there, 32 here
  ASSERT_EQ(again.tensors().size(), file.tensors().size());
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    EXPECT_EQ(again.tensors()[i].name, file.tensors()[i].name);
    EXPECT_EQ(again.tensors()[i].shape, file.tensors()[i].shape);
    EXPECT_TRUE(std::ranges::equal(again.tensors()[i].bytes, file.tensors()[i].bytes)) << file.tensors()[i].name;
  }
  std::vector<GgufTensor> twice(2, file.tensors()[0]);
  testing::ExpectError([&] { WriteGguf(folder.File("z.gguf"), {}, nullptr, twice); }, "each once");
  twice.resize(1);
  twice[0].shape = Shape({4, 5});
  testing::ExpectError([&] { WriteGguf(folder.File("z.gguf"), {}, nullptr, twice); }, "80 bytes");
}

TEST(Gguf, RefusesWhatIsNoGguf) {
  testing::ExpectError([] { Parse("GGU"); }, "start with \"GGUF\"");
  testing::ExpectError([] { Parse("GGUF\3"); }, "cut short");
  testing::ExpectError([] { Parse(Head(0, 0, 1) + kLong); }, "version 1");
  testing::ExpectError([] { Parse(Head(0, 0, 4) + kLong); }, "version 4");
  testing::ExpectError([] { Parse(Head(0, 0, 3 << 24) + kLong); }, "big endian");
  EXPECT_EQ(Parse(Head(0, 0, 2)).tensors().size(), 0u);
}

TEST(Gguf, RefusesCountsThatTheFileCannotHold) {
  testing::ExpectError([] { Parse(Head(0, uint64_t{1} << 60) + kLong); }, "more than its");
  testing::ExpectError([] { Parse(Head(uint64_t{1} << 60, 0) + kLong); }, "more than its");
  const std::string key = Head(0, 1) + Text("k");
  testing::ExpectError([&] { Parse(key + Bytes(uint32_t{9}) + Bytes(uint32_t{4}) + Bytes(UINT64_MAX / 2) + kLong); },
                       "does not fit");
  testing::ExpectError([&] { Parse(key + Bytes(uint32_t{9}) + Bytes(uint32_t{8}) + Bytes(uint64_t{20}) + kLong); },
                       "cut short");
  testing::ExpectError([&] { Parse(key + Bytes(uint32_t{8}) + Bytes(UINT64_MAX) + kLong); }, "cut short");
  testing::ExpectError([] { Parse(Head(0, 1) + Bytes(UINT64_MAX) + kLong); }, "the name of an entry");
  testing::ExpectError([] { Parse(Head(1, 0) + Bytes(uint64_t{5000}) + std::string(6000, 'x')); }, "name of a tensor");
}

TEST(Gguf, RefusesMetadataThatMakesNoSense) {
  const std::string key = Head(0, 1) + Text("k");
  testing::ExpectError([&] { Parse(key + Bytes(uint32_t{13}) + kLong); }, "type of metadata");
  testing::ExpectError([&] { Parse(key + Bytes(uint32_t{7}) + "\2" + kLong); }, "true (1) or false (0)");
  testing::ExpectError([&] { Parse(key + Bytes(uint32_t{9}) + Bytes(uint32_t{9}) + Bytes(uint64_t{1}) + kLong); },
                       "lists of lists");
  testing::ExpectError([&] { Parse(key + Bytes(uint32_t{9}) + Bytes(uint32_t{99}) + Bytes(uint64_t{1}) + kLong); },
                       "type of items");
  const std::string entry = Text("k") + Bytes(uint32_t{4}) + Bytes(uint32_t{1});
  testing::ExpectError([&] { Parse(Head(0, 2) + entry + entry + kLong); }, "twice");
  const std::string alignment = Head(0, 1) + Text("general.alignment") + Bytes(uint32_t{4});
  testing::ExpectError([&] { Parse(alignment + Bytes(uint32_t{0}) + kLong); }, "power of two");
  testing::ExpectError([&] { Parse(alignment + Bytes(uint32_t{48}) + kLong); }, "power of two");
  testing::ExpectError([&] { Parse(alignment + Bytes(uint32_t{1u << 31}) + kLong); }, "power of two");
}

TEST(Gguf, RefusesTensorsThatDoNotFit) {
  const auto one = [](const std::string& entry, size_t data = 64) { return Parse(Padded(Head(1, 0) + entry, data)); };
  EXPECT_EQ(one(TensorEntry("a", {4, 2}, 0, 32)).tensors()[0].shape, Shape({2, 4}));
  testing::ExpectError([&] { one(TensorEntry("a", {4, 2}, 0, 64)); }, "cut short");
  testing::ExpectError([&] { one(TensorEntry("a", {4, 2}, 0, 8)); }, "multiple of 32 bytes");
  testing::ExpectError([&] { one(TensorEntry("a", {4, 2}, 0, uint64_t{1} << 63)); }, "cut short");
  testing::ExpectError([&] { one(TensorEntry("a", {int64_t{1} << 40, int64_t{1} << 40}, 0, 0)); }, "2^48");
  testing::ExpectError([&] { one(TensorEntry("a", {-1, 2}, 0, 0)); }, "sizes >= 0");
  testing::ExpectError([&] { one(TensorEntry("a", {1, 1, 1, 1, 1}, 0, 0)); }, "at most 4 dimensions");
  testing::ExpectError([&] { one(TensorEntry("a", {48}, 8, 0)); }, "multiple of 32");
  testing::ExpectError([&] { one(TensorEntry("a", {}, 8, 0)); }, "multiple of 32");
  testing::ExpectError([&] { one(TensorEntry("a", {256}, 10, 0), 200); }, "Q2_K");
  testing::ExpectError([&] { one(TensorEntry("a", {32}, 77, 0)); }, "type number 77");
  const auto two = [](const std::string& a, const std::string& b) { Parse(Padded(Head(2, 0) + a + b, 96)); };
  EXPECT_NO_THROW(two(TensorEntry("a", {8}, 0, 0), TensorEntry("b", {16}, 0, 32)));
  testing::ExpectError([&] { two(TensorEntry("a", {9}, 0, 0), TensorEntry("b", {16}, 0, 32)); }, "overlaps");
  testing::ExpectError([&] { two(TensorEntry("a", {8}, 0, 0), TensorEntry("a", {16}, 0, 32)); }, "twice");
}

TEST(Gguf, EveryCutOfAFileIsRefused) {
  const auto whole = base::ReadFile(MixedPath(), 1 << 20);
  const auto last = GgufFile::Open(MixedPath()).tensors().back();
  const auto owner = std::make_shared<int>(0);
  const size_t needed = whole.size() - 64 + last.bytes.size() % 64;  // padding may be missing
  for (size_t size = 0; size < needed; size += size < 1500 ? 1 : 37) {
    EXPECT_THROW(GgufFile::Parse(std::span(whole).first(size), "cut", owner), Error) << size;
  }
}

}  // namespace
}  // namespace fovea::formats
