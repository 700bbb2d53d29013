#include "formats/pth.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/file.h"
#include "formats/safetensors.h"
#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea::formats {
namespace {

std::string Golden(const std::string& name) { return testing::SourcePath("tests/golden/formats/" + name); }

template <typename T>
std::string Little(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

// A stored zip archive made by hand.
std::string Zip(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string archive, directory;
  for (const auto& [name, content] : members) {
    const auto size = static_cast<uint32_t>(content.size());
    const std::string common = Little<uint16_t>(0) + Little<uint16_t>(0) + Little<uint32_t>(0) + Little<uint32_t>(0) +
                               Little(size) + Little(size) + Little(static_cast<uint16_t>(name.size())) +
                               Little<uint16_t>(0);
    directory += "PK\1\2" + Little<uint16_t>(20) + Little<uint16_t>(20) + common + std::string(10, '\0') +
                 Little(static_cast<uint32_t>(archive.size())) + name;
    archive += "PK\3\4" + Little<uint16_t>(20) + common + name + content;
  }
  const auto count = static_cast<uint16_t>(members.size());
  return archive + directory + "PK\5\6" + std::string(4, '\0') + Little(count) + Little(count) +
         Little(static_cast<uint32_t>(directory.size())) + Little(static_cast<uint32_t>(archive.size())) +
         Little<uint16_t>(0);
}

std::string Pth(const std::string& pickle, const std::string& storage = std::string(16, '\0')) {
  return Zip({{"x/data.pkl", pickle}, {"x/data/0", storage}});
}

std::string Text(const std::string& text) { return "X" + Little(static_cast<uint32_t>(text.size())) + text; }
std::string Global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }
std::string Int(int32_t value) { return "J" + Little(value); }
std::string Long(int64_t value) { return "\x8A\x08" + Little(value); }

// The opcodes that leave a float tensor over storage "0" of `numel` elements on the stack; the tuples are given as
// opcodes.
std::string TensorOf(const std::string& numel, const std::string& offset, const std::string& shape,
                     const std::string& strides) {
  return Global("torch._utils", "_rebuild_tensor_v2") + "((" + Text("storage") + Global("torch", "FloatStorage") +
         Text("0") + Text("cpu") + numel + "tQ" + offset + "(" + shape + "t(" + strides + "t\x89}tR";
}

std::string Program(const std::string& opcodes) { return "\x80\x02" + opcodes + "."; }

std::vector<NamedTensor> Parse(const std::string& file, const PthOptions& options = {}) {
  return ParsePth({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "bad.pth", nullptr, options);
}

void ExpectRefused(const std::string& file, ErrorCode code, const std::string& says) {
  try {
    Parse(file);
    ADD_FAILURE() << "accepted, expected: " << says;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.message();
    EXPECT_NE(error.message().find(says), std::string::npos) << "expected " << says << " in: " << error.message();
    EXPECT_NE(error.message().find("bad.pth"), std::string::npos) << error.message();
  }
}

constexpr auto kCorrupt = ErrorCode::kCorruptData;

TEST(Pth, ReadsTheLayoutsOfTorch) {
  const auto expected = SafetensorsFile::Open(Golden("checkpoint_expected.safetensors"));
  for (const char* name : {"zip.pth", "zip_protocol4.pth", "legacy.pth"}) {
    const std::vector<NamedTensor> tensors = ReadPth(Golden(name));
    EXPECT_EQ(tensors.size(), expected.tensors().size()) << name;
    EXPECT_EQ(tensors[0].name, "state_dict.base");
    for (const NamedTensor& named : tensors) {
      const Tensor reference = expected.Get(named.name);
      ASSERT_EQ(named.tensor.dtype(), reference.dtype()) << name << " " << named.name;
      ASSERT_EQ(named.tensor.shape(), reference.shape()) << name << " " << named.name;
      EXPECT_TRUE(named.tensor.is_contiguous());
      EXPECT_EQ(std::memcmp(named.tensor.raw(), reference.raw(), static_cast<size_t>(reference.size_bytes())), 0)
          << name << " " << named.name;
    }
  }
  const std::vector<NamedTensor> alone = ReadPth(Golden("tensor.pth"));
  ASSERT_EQ(alone.size(), 1u);
  EXPECT_EQ(alone[0].name, "");
  testing::ExpectClose(alone[0].tensor, Tensor::FromValues<float>({3}, {0, 1, 2}), 0);
  testing::ExpectClose(ReadPth(Golden("stored_by_python.pth"))[0].tensor, alone[0].tensor, 0);
}

TEST(Pth, SelectsAPart) {
  const std::vector<NamedTensor> tensors = ReadPth(Golden("zip.pth"), {.select = "state_dict"});
  EXPECT_EQ(tensors.size(), 18u);
  EXPECT_EQ(tensors[0].name, "base");
  EXPECT_EQ(ReadPth(Golden("zip.pth"), {.select = "state_dict.bf16"}).size(), 1u);
  EXPECT_THROW(ReadPth(Golden("zip.pth"), {.select = "state"}), Error);
  EXPECT_THROW(ReadPth(Golden("zip.pth"), {.select = "epoch.x"}), Error);
}

TEST(Pth, SharesStoragesWithTheMappedFile) {
  const std::vector<NamedTensor> tensors = ReadPth(Golden("zip.pth"), {.select = "state_dict"});
  const auto find = [&](const std::string& name) {
    return std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& named) { return named.name == name; })
        ->tensor;
  };
  EXPECT_EQ(find("row").raw(), find("base").raw() + 2 * 6 * sizeof(float));
  EXPECT_NE(find("transposed").raw(), find("base").raw());
}

TEST(Pth, RefusesFunctionsByName) {
  const auto refused = ErrorCode::kUnimplemented;
  const std::string system = Program(Global("os", "system") + Text("echo foreign code") + "\x85R");
  ExpectRefused(Pth(system), refused, "bad.pth asks for os.system, which is not allowed");
  ExpectRefused(system, refused, "os.system");
  ExpectRefused(Pth("\x80\x04" + Text("os") + Text("system") + "\x93."), refused, "os.system");
  ExpectRefused(Pth(Program("(" + Text("x") + "ios\nsystem\n")), refused, "os.system");
  ExpectRefused(Pth(Program("(icollections\nOrderedDict\n")), refused, "INST");
  ExpectRefused(Pth(Program(Global("collections", "OrderedDict") + ")\x81")), refused, "NEWOBJ");
  ExpectRefused(Pth(Program("\x82\x01")), refused, "EXT1");
  ExpectRefused(Pth(Program(Global("torch", "load"))), refused, "torch.load");
  ExpectRefused(Pth(Program(Global("torch._utils", "_rebuild_tensor_v2.__globals__"))), refused, "__globals__");
  for (const char* name : {"evil.pth", "evil_legacy.pth"}) {
    try {
      ReadPth(Golden(name));
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), refused);
      EXPECT_NE(error.message().find("posix.system"), std::string::npos) << error.message();
    }
  }
}

TEST(Pth, RefusesWhatItDoesNotSupportByName) {
  for (const auto& [name, says] :
       {std::pair("complex.pth", "ComplexFloatStorage"), std::pair("compressed.pth", "compressed"),
        std::pair("torchscript.pth", "TorchScript")}) {
    try {
      ReadPth(Golden(name));
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnimplemented) << error.message();
      EXPECT_NE(error.message().find(says), std::string::npos) << error.message();
    }
  }
  ExpectRefused(Zip({{"x/data.pkl", Program("}")}, {"x/byteorder", "big"}}), ErrorCode::kUnimplemented, "byte order");
}

TEST(Pth, RefusesTensorsThatLeaveTheirStorage) {
  const std::string four = Int(4);
  EXPECT_EQ(Parse(Pth(Program(TensorOf(four, Int(0), four, Int(1)))))[0].tensor.shape(), Shape({4}));
  EXPECT_EQ(Parse(Pth(Program(TensorOf(four, Int(3), Int(1), Long(INT64_MAX)))))[0].tensor.shape(),
            Shape({1}));  // a stride never used
  for (const std::string& tensor :
       {TensorOf(four, Int(1), four, Int(1)), TensorOf(four, Int(0), Int(5), Int(1)),
        TensorOf(four, Int(-1), Int(1), Int(1)), TensorOf(four, Int(0), Int(2), Int(4)),
        TensorOf(four, Int(3), Int(2), Int(-1)), TensorOf(four, Long(INT64_MAX), Int(1), Int(1)),
        TensorOf(four, Long(INT64_MAX), Int(2), Long(INT64_MAX)),
        TensorOf(four, Int(0), Int(3) + Int(3), Long(INT64_MAX) + Long(INT64_MAX))}) {
    ExpectRefused(Pth(Program(tensor)), kCorrupt, "leaves its storage");
  }
  ExpectRefused(Pth(Program(TensorOf(Int(5), Int(0), four, Int(1)))), kCorrupt, "20 bytes in storage");
  ExpectRefused(Pth(Program(TensorOf(Int(-4), Int(0), four, Int(1)))), kCorrupt, "storage with a size");
  ExpectRefused(Pth(Program(TensorOf(Long(int64_t{1} << 62), Int(0), four, Int(1)))), kCorrupt, "storage");
  ExpectRefused(Pth(Program(TensorOf(four, Int(0), Int(-1), Int(1)))), kCorrupt, "sizes >= 0");
  ExpectRefused(Pth(Program(TensorOf(four, Int(0), four, ""))), kCorrupt, "as many strides");
  ExpectRefused(Pth(Program(TensorOf(four, Int(0), Long(int64_t{1} << 40) + Long(int64_t{1} << 40), Int(0) + Int(0)))),
                kCorrupt, "2^48");
  std::string nine;
  for (int i = 0; i < 9; ++i) nine += Int(1);
  ExpectRefused(Pth(Program(TensorOf(four, Int(0), nine, nine))), kCorrupt, "8 dimensions");
  // 4 TB from sixteen bytes.
  ExpectRefused(Pth(Program(TensorOf(four, Int(0), Long(int64_t{1} << 40), Int(0)))), ErrorCode::kResourceExhausted,
                "too large");
}

TEST(Pth, SurvivesPickleBombs) {
  std::string nested;
  for (int i = 0; i < 200; ++i) nested += "}" + Text("k");
  ExpectRefused(Pth(Program(nested + "}" + std::string(200, 's'))), ErrorCode::kResourceExhausted, "nested deeper");
  // Each list holds the one before twice: 2^60 values to walk.
  std::string doubled("]q\0", 3);
  for (int i = 0; i < 60; ++i) {
    doubled += std::string("](h") + static_cast<char>(i) + "h" + static_cast<char>(i) + "eq" + static_cast<char>(i + 1);
  }
  ExpectRefused(Pth(Program("(" + doubled + "l")), ErrorCode::kResourceExhausted, "nested deeper");
  // A list that holds itself.
  ExpectRefused(Pth(Program(std::string("]q\0h\0a", 6))), ErrorCode::kResourceExhausted, "nested deeper");
  // A million levels of tuples: no recursion while building or freeing.
  EXPECT_THROW(Parse(Pth(Program(")" + std::string(1'000'000, '\x85')))), Error);
  EXPECT_THROW(Parse(Pth(Program(std::string(5'000'000, ']')))), Error);
  ExpectRefused(Pth(Program("]r\xFF\xFF\xFF\xFF" + std::string("0j\xFE\xFF\xFF\xFF"))), kCorrupt, "never written");
}

TEST(Pth, RefusesBrokenPickles) {
  for (const std::string& opcodes :
       {std::string(""), std::string("0"), std::string("t"), std::string("a"), std::string("]]"), std::string("(]a"),
        std::string("]}s"), std::string("}(Nu"), std::string("NNa"), std::string("NR"), std::string("NNR"),
        std::string("NNb"), std::string("Nh\x05"), std::string("NN\x93"), std::string("NQ"),
        "}" + Text("a") + Text("b") + "R"}) {
    EXPECT_THROW(Parse(Pth(Program(opcodes))), Error) << opcodes;
  }
  ExpectRefused(Pth("\x80\x02}"), kCorrupt, "cut short");
  ExpectRefused(Pth("\x80\x02}.."), kCorrupt, "follows the end");
  ExpectRefused(Pth("\x80\x02X\xFF\xFF\xFF\xFF."), kCorrupt, "cut short");
  ExpectRefused(Pth("\x80\x02\x8D" + std::string(8, '\xFF') + "."), kCorrupt, "cut short");
  ExpectRefused(Pth("\x80\x01}."), ErrorCode::kUnimplemented, "protocol");
  ExpectRefused(Pth(Program("}(" + Text("a") + TensorOf(Int(4), Int(0), Int(4), Int(1)) + Text("a") +
                            TensorOf(Int(4), Int(0), Int(4), Int(1)) + "u")),
                kCorrupt, "two tensors named");
}

TEST(Pth, RefusesBrokenArchives) {
  const std::string good = Pth(Program(TensorOf(Int(4), Int(0), Int(4), Int(1))));
  EXPECT_EQ(Parse(good).size(), 1u);
  for (size_t size = 0; size < good.size(); ++size) EXPECT_THROW(Parse(good.substr(0, size)), Error) << size;
  ExpectRefused(Zip({{"x/data.pkl", Program("}")}, {"x/data.pkl", Program("}")}}), kCorrupt, "two members");
  ExpectRefused(Zip({{"x/data.pkl", Program("}")}, {"y/data.pkl", Program("}")}}), kCorrupt, "several");
  ExpectRefused(Zip({{"x/data", ""}}), kCorrupt, "data.pkl");
  ExpectRefused(Zip({{"x/data.pkl", Program(TensorOf(Int(4), Int(0), Int(4), Int(1)))}}), kCorrupt, "got none");
  std::string overlap = good;  // the second member's directory entry points at the first member
  const size_t second = overlap.rfind("PK\1\2");
  overlap.replace(second + 42, 4, std::string(4, '\0'));
  ExpectRefused(overlap, kCorrupt, "differs");
  std::string grown = good;
  grown.replace(second + 20, 8, Little<uint32_t>(1 << 30) + Little<uint32_t>(1 << 30));
  EXPECT_THROW(Parse(grown), Error);
}

// Old versions of torch could save a part of a storage as a storage of its own: (key, offset, size) behind the size.
std::string LegacyWithPart(int32_t offset, int32_t size) {
  const std::string id = "((" + Text("storage") + Global("torch", "FloatStorage") + Text("k") + Text("cpu") + Int(4) +
                         "(" + Text("part") + Int(offset) + Int(size) + "ttQ";
  const std::string object =
      Global("torch._utils", "_rebuild_tensor_v2") + id + Int(0) + Int(2) + "\x85" + Int(1) + "\x85\x89}tR";
  std::string storage = Little<int64_t>(4);
  for (const float value : {5.0f, 6.0f, 7.0f, 8.0f}) storage += Little(value);
  const std::string magic = "\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";
  return Program(magic) + Program(Int(1001)) + Program("}" + Text("little_endian") + "\x88s") + Program(object) +
         Program("]" + Text("k") + "a") + storage;
}

TEST(Pth, ReadsPartsOfStoragesInOldFiles) {
  testing::ExpectClose(Parse(LegacyWithPart(1, 2))[0].tensor, Tensor::FromValues<float>({2}, {6, 7}), 0);
  ExpectRefused(LegacyWithPart(1, 1), kCorrupt, "leaves its storage");
  ExpectRefused(LegacyWithPart(3, 2), kCorrupt, "inside it");
  ExpectRefused(LegacyWithPart(-1, 2), kCorrupt, "inside it");
  std::string big_endian = LegacyWithPart(1, 2);
  big_endian[big_endian.find("little_endian") + std::string("little_endian").size()] = '\x89';
  ExpectRefused(big_endian, ErrorCode::kUnimplemented, "big-endian");
}

TEST(Pth, RefusesBrokenLegacyFiles) {
  const std::vector<uint8_t> bytes = base::ReadFile(Golden("legacy.pth"), 1 << 20);
  const std::string good(bytes.begin(), bytes.end());
  for (size_t size = 0; size < good.size(); size += 7) EXPECT_THROW(Parse(good.substr(0, size)), Error) << size;
  ExpectRefused(good + "x", kCorrupt, "follows the last storage");
  std::string magic = good;
  magic[5] ^= 1;
  ExpectRefused(magic, kCorrupt, "magic number");
  ExpectRefused("hello", kCorrupt, "binary pickle");
}

}  // namespace
}  // namespace fovea::formats
