// Damaged and hostile pictures and models: a clear error naming the file and the reason, exit code 1, never a crash,
// and the other inputs are done.
#include <filesystem>

#include "cli_run.h"
#include "fovea/image.h"

namespace fovea::e2e {
namespace {

std::string BigEndian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

std::string LittleEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

uint32_t Crc32(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

std::string PngChunk(const std::string& type, const std::string& data) {
  return BigEndian(static_cast<uint32_t>(data.size())) + type + data + BigEndian(Crc32(type + data));
}

std::string SampleBytes(const std::string& name) {
  const auto bytes = base::ReadFile(Sample(name), 1 << 24);
  return {bytes.begin(), bytes.end()};
}

class CliBadInput : public ::testing::Test {
 protected:
  // The file is refused by name, and the good picture after it is still answered.
  void ExpectRefused(const std::string& path, const std::string& reason_has = "") {
    const Result result = RunFovea({"classify", "--json", path, Sample("cat.jpg")});
    EXPECT_EQ(result.exit, 1) << path << " " << result.err;
    EXPECT_EQ(result.signal, 0) << path;
    EXPECT_NE(result.err.find(base::PrintableUtf8(path)), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(reason_has), std::string::npos) << result.err;
    const auto lines = result.Lines();
    ASSERT_EQ(lines.size(), 2u) << path;
    EXPECT_TRUE(lines[0].contains("error")) << lines[0];
    EXPECT_TRUE(lines[1].contains("labels")) << lines[1];
  }
  void ExpectRefusedBytes(const std::string& name, std::string_view bytes, const std::string& reason_has = "") {
    WriteBytes(folder_.File(name), bytes);
    ExpectRefused(folder_.File(name), reason_has);
  }

  testing::TemporaryFolder folder_;
};

TEST_F(CliBadInput, EmptyAndForeignFiles) {
  ExpectRefusedBytes("empty.jpg", "");
  ExpectRefusedBytes("text.jpg", "This is a letter, no picture.\n");
  ExpectRefusedBytes("one-byte.png", "\x89");
  ExpectRefused(folder_.File("missing.jpg"));
  ExpectRefused("/dev/zero");
}

TEST_F(CliBadInput, HugeSizesAreRefusedFromTheHeader) {
  std::string png = "\x89PNG\r\n\x1A\n" +
                    PngChunk("IHDR", BigEndian(20000) + BigEndian(20000) + std::string("\x08\x02\x00\x00\x00", 5));
  png += PngChunk("IDAT", std::string(231, 'x'));
  ASSERT_LE(png.size(), 300u);
  ExpectRefusedBytes("huge.png", png);
  std::string bmp = "BM" + LittleEndian(300, 4) + LittleEndian(0, 4) + LittleEndian(54, 4) + LittleEndian(40, 4) +
                    LittleEndian(20000, 4) + LittleEndian(20000, 4) + LittleEndian(1, 2) + LittleEndian(24, 2) +
                    std::string(24, '\0');
  bmp.resize(300);
  ExpectRefusedBytes("huge.bmp", bmp);
}

TEST_F(CliBadInput, TruncatedFilesOfEachFormat) {
  const std::string jpeg = SampleBytes("cat.jpg"), png = SampleBytes("printed-page.png");
  for (const size_t length : {size_t{3}, size_t{100}, jpeg.size() / 2})
    ExpectRefusedBytes("cut.jpg", jpeg.substr(0, length));
  for (const size_t length : {size_t{9}, size_t{30}, png.size() / 2})
    ExpectRefusedBytes("cut.png", png.substr(0, length));
}

TEST_F(CliBadInput, ThinPicturesAreStillPictures) {
  for (const auto& [width, height] : {std::pair<int64_t, int64_t>{1, 1}, {1, 20000}, {20000, 1}}) {
    Image image = Image::Allocate(width, height);
    std::fill_n(image.mutable_row(0), image.size_bytes(), uint8_t{200});
    const std::string path = folder_.File("thin.png");
    WritePng(path, image);
    const Result result = RunFovea({"classify", "--json", path});
    EXPECT_EQ(result.exit, 0) << width << "x" << height << " " << result.err;
    ASSERT_EQ(result.Lines().size(), 1u);
    EXPECT_EQ(result.Lines()[0]["labels"].size(), 5u);
  }
}

TEST_F(CliBadInput, TheContentDecidesNotTheName) {
  WriteBytes(folder_.File("cat.png"), SampleBytes("cat.jpg"));
  WriteBytes(folder_.File("cat"), SampleBytes("cat.jpg"));
  const auto lines =
      RunFovea({"classify", "--json", Sample("cat.jpg"), folder_.File("cat.png"), folder_.File("cat")}).Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1]["labels"], lines[0]["labels"]);
  EXPECT_EQ(lines[2]["labels"], lines[0]["labels"]);
}

TEST_F(CliBadInput, LinksThatLeadInCircles) {
  std::filesystem::create_directories(folder_.File("a/b"));
  std::filesystem::create_directory_symlink("../..", folder_.File("a/b/up"));
  std::filesystem::copy_file(Sample("cat.jpg"), folder_.File("a/cat.jpg"));
  const Result result = RunFovea({"classify", "--json", folder_.File("a")});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("a/b/up"), std::string::npos) << result.err;
  std::filesystem::create_symlink("self.jpg", folder_.File("self.jpg"));
  ExpectRefused(folder_.File("self.jpg"));
}

TEST_F(CliBadInput, UnreadableFile) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads every file";
  WriteBytes(folder_.File("secret.jpg"), SampleBytes("cat.jpg"));
  std::filesystem::permissions(folder_.File("secret.jpg"), std::filesystem::perms::none);
  ExpectRefused(folder_.File("secret.jpg"), "ermission denied");
}

TEST_F(CliBadInput, NamesThatAreNoUtf8) {
  const std::string good = folder_.File("caf\xE9.jpg"), bad = folder_.File("\xFF\x1B[31m.jpg");
  WriteBytes(good, SampleBytes("cat.jpg"));
  WriteBytes(bad, "no picture");
  const Result result = RunFovea({"classify", "--json", good, bad});
  EXPECT_EQ(result.exit, 1);
  const auto lines = result.Lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["path"], folder_.File("caf\uFFFD.jpg"));
  const std::string hex = lines[0]["path_bytes"];
  EXPECT_TRUE(hex.ends_with("636166e92e6a7067")) << hex;
  EXPECT_TRUE(lines[1].contains("error"));
  EXPECT_EQ(result.err.find('\x1B'), std::string::npos) << "a file name must not steer the terminal";
}

// A copy of the bundled model's folder with other weights.
class CliBadModel : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"config.json", "preprocessor_config.json"}) {
      std::filesystem::copy_file(testing::SourcePath(std::string("models/efficientnet-lite2/") + name),
                                 folder_.File(name));
    }
  }
  void ExpectRefused(const std::string& file, std::string_view bytes, const std::string& reason_has = "") {
    WriteBytes(folder_.File(file), bytes);
    const Result result = RunFovea({"classify", "--model", folder_.path(), Sample("cat.jpg")});
    EXPECT_EQ(result.exit, 1) << result.err;
    EXPECT_EQ(result.signal, 0);
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(folder_.File(file)), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(reason_has), std::string::npos) << result.err;
    std::filesystem::remove(folder_.File(file));
  }
  void ExpectSafetensorsRefused(const std::string& header, size_t data_bytes = 16) {
    ExpectRefused("model.safetensors", LittleEndian(header.size(), 8) + header + std::string(data_bytes, '\0'));
  }

  testing::TemporaryFolder folder_;
};

TEST_F(CliBadModel, MalformedSafetensors) {
  ExpectRefused("model.safetensors", "");
  ExpectRefused("model.safetensors", LittleEndian(uint64_t{4} << 30, 8) + "{}");  // a header of 4 GB
  ExpectRefused("model.safetensors", LittleEndian(~uint64_t{0}, 8) + "{}");
  ExpectSafetensorsRefused("no json");
  ExpectSafetensorsRefused(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})");  // overlap
  ExpectSafetensorsRefused(
      R"({"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,16]}})");  // overflow
  ExpectSafetensorsRefused(R"({"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}})");
  ExpectSafetensorsRefused(R"({"a":{"dtype":"F32","shape":[1024],"data_offsets":[0,4096]}})");  // past the end
  ExpectSafetensorsRefused(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}})");
}

TEST_F(CliBadModel, WellFormedWeightsOfAnotherModel) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})";
  WriteBytes(folder_.File("model.safetensors"), LittleEndian(header.size(), 8) + header + std::string(16, '\0'));
  const Result result = RunFovea({"classify", "--model", folder_.path(), Sample("cat.jpg")});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find(folder_.path()), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("efficientnet.embeddings.convolution.weight"), std::string::npos)
      << "names what is missing: " << result.err;
}

TEST_F(CliBadModel, APickleThatCallsTheShellIsRefusedByName) {
  const std::string marker = folder_.File("executed");
  const std::string command = "touch " + marker;
  const std::string magic("\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.",
                          15);  // what legacy PyTorch files start with
  const std::string version = "\x80\x02M\xE9\x03.", system_info("\x80\x02}q\x00.", 6);
  const std::string hostile =
      "\x80\x02" + std::string("cposix\nsystem\nX") + LittleEndian(command.size(), 4) + command + "\x85R.";
  ExpectRefused("pytorch_model.bin", hostile);
  ExpectRefused("pytorch_model.bin", magic + version + system_info + hostile, "posix.system");
  EXPECT_FALSE(std::filesystem::exists(marker));
}

TEST_F(CliBadModel, DamagedConfigurationIsNamed) {
  std::filesystem::remove(folder_.File("config.json"));
  ExpectRefused("config.json", "{\"model_type\": ");
  ExpectRefused("config.json", R"({"model_type": "no-such-architecture"})", "no-such-architecture");
  ExpectRefused("config.json", std::string(1000, '[') + std::string(1000, ']'));
  const Result missing = RunFovea({"info", folder_.File("nowhere")});
  EXPECT_EQ(missing.exit, 1);
  EXPECT_NE(missing.err.find("nowhere"), std::string::npos) << missing.err;
}

}  // namespace
}  // namespace fovea::e2e
