#include "formats/webdataset.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "fovea/error.h"
#include "testing/testing.h"

namespace fovea::formats {
namespace {

std::string Golden(const std::string& name) { return testing::SourcePath("tests/golden/formats/" + name); }

std::string Text(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

// Archives made by hand, one block at a time.
class TarBuilder {
 public:
  TarBuilder& File(const std::string& name, const std::string& content, char type = '0',
                   const std::string& size_field = "") {
    std::string block(512, '\0');
    block.replace(0, name.size(), name);
    char size[13];
    std::snprintf(size, sizeof(size), "%011zo", content.size());
    block.replace(124, 12, size_field.empty() ? std::string(size, 12) : size_field);
    block.replace(148, 8, "        ");
    block[156] = type;
    block.replace(257, 8,
                  std::string("ustar\0"
                              "00",
                              8));
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<uint8_t>(c);
    char checksum[9];
    std::snprintf(checksum, sizeof(checksum), "%06o", sum);
    block.replace(148, 8, std::string(checksum, 7) + ' ');
    bytes_ += block + content + std::string((512 - content.size() % 512) % 512, '\0');
    return *this;
  }
  std::vector<uint8_t> Finish() const { return WithoutEnd(bytes_ + std::string(1024, '\0')); }
  std::vector<uint8_t> Unfinished() const { return WithoutEnd(bytes_); }

 private:
  static std::vector<uint8_t> WithoutEnd(const std::string& bytes) { return {bytes.begin(), bytes.end()}; }
  std::string bytes_;
};

using Files = std::map<std::string, std::string>;

// All samples, read by streaming and by the index, which must agree.
std::vector<std::pair<std::string, Files>> ReadAll(const std::vector<uint8_t>& bytes) {
  std::vector<std::pair<std::string, Files>> streamed, indexed;
  WebDatasetReader reader(std::make_unique<SpanSource>(bytes), "test.tar");
  WebDatasetReader::Sample sample;
  while (reader.Next(sample)) {
    Files files;
    for (const auto& [extension, content] : sample.files) files[extension] = Text(content);
    streamed.emplace_back(sample.key, files);
  }
  EXPECT_FALSE(reader.Next(sample));
  const WebDatasetIndex index = WebDatasetIndex::Parse(bytes, "test.tar");
  for (const auto& [key, files] : index.samples()) {
    Files contents;
    for (const auto& file : files) contents[file.extension] = Text(index.Bytes(file));
    indexed.emplace_back(key, contents);
  }
  EXPECT_EQ(streamed, indexed);
  return streamed;
}

void ExpectRefused(const std::vector<uint8_t>& bytes, ErrorCode code, const std::string& says) {
  const auto check = [&](auto&& read) {
    try {
      read();
      ADD_FAILURE() << "accepted, expected: " << says;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.message();
      EXPECT_NE(error.message().find(says), std::string::npos) << error.message();
    }
  };
  check([&] {
    WebDatasetReader reader(std::make_unique<SpanSource>(bytes), "bad.tar");
    WebDatasetReader::Sample sample;
    while (reader.Next(sample)) {
    }
  });
  check([&] { WebDatasetIndex::Parse(bytes, "bad.tar"); });
}

TEST(WebDataset, ReadsTheThreeDialectsOfPythonsTarfile) {
  std::string deep;
  for (int i = 0; i < 30; ++i) deep += "deep/";
  const std::string content = [] {
    std::string text;
    for (int i = 0; i < 200; ++i) text += "long";
    return text;
  }();
  for (const auto& [name, long_key] :
       {std::pair("ustar.tar", std::string(120, 'p') + "/" + std::string(90, 'q')),
        std::pair("gnu.tar", deep + std::string(120, 'x')), std::pair("pax.tar", deep + std::string(120, 'x'))}) {
    WebDatasetReader reader(Golden(name));
    WebDatasetReader::Sample sample;
    ASSERT_TRUE(reader.Next(sample)) << name;
    EXPECT_EQ(sample.key, "a/0001");
    ASSERT_EQ(sample.files.size(), 2u) << name;
    EXPECT_EQ(Text(sample.files["txt"]), "one");
    EXPECT_EQ(Text(sample.files["seg.png"]), "\x89PNG");
    ASSERT_TRUE(reader.Next(sample));
    EXPECT_EQ(sample.key, "a/v1.0/0002");
    EXPECT_TRUE(sample.files.at("txt").empty());
    ASSERT_TRUE(reader.Next(sample));
    EXPECT_EQ(sample.key, long_key);
    EXPECT_EQ(Text(sample.files.at("jpg")), content);
    EXPECT_FALSE(reader.Next(sample)) << name;

    const WebDatasetIndex index = WebDatasetIndex::Open(Golden(name));
    ASSERT_EQ(index.samples().size(), 3u);
    EXPECT_EQ(Text(index.Bytes(*index.samples()[2].Find("jpg"))), content);
    EXPECT_EQ(index.samples()[0].Find("json"), nullptr);
  }
}

TEST(WebDataset, GroupsNeighboursAndKeepsSeparatedOnesApart) {
  const auto samples = ReadAll(TarBuilder()
                                   .File("b.jpg", "1")
                                   .File("b.txt", "2")
                                   .File("a.txt", "3")
                                   .File("b.json", "4")
                                   .File("d", "", '5')
                                   .Finish());
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples[0].second, (Files{{"jpg", "1"}, {"txt", "2"}}));
  EXPECT_EQ(samples[2], (std::pair<std::string, Files>{"b", {{"json", "4"}}}));
  EXPECT_TRUE(ReadAll(TarBuilder().Finish()).empty());
}

TEST(WebDataset, FollowsPaxAndGnuHeaders) {
  const auto pax = ReadAll(TarBuilder()
                               .File("h", "14 path=p.txt\n9 size=3\n", 'x')
                               .File("short.txt", "abc", '0', std::string("00000000000\0", 12))
                               .Finish());
  ASSERT_EQ(pax.size(), 1u);
  EXPECT_EQ(pax[0], (std::pair<std::string, Files>{"p", {{"txt", "abc"}}}));
  const std::string base256 = std::string("\x80\0\0\0\0\0\0\0\0\0\0\x03", 12);
  EXPECT_EQ(ReadAll(TarBuilder().File("a.txt", "abc", '0', base256).Finish())[0].second.at("txt"), "abc");
  // The long name belongs to the next file only.
  const auto gnu =
      ReadAll(TarBuilder().File("L", std::string("n.txt\0", 6), 'L').File("a.txt", "1").File("b.txt", "2").Finish());
  EXPECT_EQ(gnu[0].first + gnu[1].first, "nb");
}

TEST(WebDataset, RefusesDamagedArchives) {
  const auto corrupt = ErrorCode::kCorruptData;
  const std::vector<uint8_t> good = TarBuilder().File("a.txt", "abc").File("a.jpg", std::string(600, 'x')).Finish();
  for (const size_t size :
       {size_t{0}, size_t{100}, size_t{512}, size_t{515}, size_t{1024}, size_t{1700}, size_t{2048}, size_t{2560}}) {
    ExpectRefused({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)}, corrupt, "cut short");
  }
  std::vector<uint8_t> flipped = good;
  flipped[3] ^= 1;
  ExpectRefused(flipped, corrupt, "checksum");
  ExpectRefused(TarBuilder().File("a.txt", "1").File("a.txt", "2").Finish(), corrupt, "two files");
  ExpectRefused(TarBuilder().File("", "1").Finish(), corrupt, "file name");
  ExpectRefused(TarBuilder().File("a.txt", "1", '0', "9999        ").Finish(), corrupt, "size");
  ExpectRefused(TarBuilder().File("a.txt", "1", '0', std::string(12, '\xFF')).Finish(), corrupt, "size");
  ExpectRefused(TarBuilder().File("a.txt", "1", '0', "00000100000 ").Finish(), corrupt, "cut short");
  ExpectRefused(TarBuilder().File("h", "99 path=p.txt\n", 'x').File("a.txt", "").Finish(), corrupt, "PAX");
  ExpectRefused(TarBuilder().File("h", "12 size=-30\n", 'x').File("a.txt", "").Finish(), corrupt, "PAX size");
  ExpectRefused(TarBuilder().File("h", "0 a=b\n", 'x').File("a.txt", "").Finish(), corrupt, "PAX");
  ExpectRefused(TarBuilder().File("a.txt", "1", 'S').Finish(), ErrorCode::kUnimplemented, "sparse");
  ExpectRefused(TarBuilder().File("h", std::string(2 << 20, 'x'), 'x').Finish(), ErrorCode::kResourceExhausted,
                "limit");
}

TEST(WebDataset, StreamingHoldsToItsLimits) {
  const std::vector<uint8_t> bytes =
      TarBuilder().File("a.txt", std::string(100, 'x')).File("a.jpg", std::string(100, 'x')).Finish();
  const auto count = [&](const WebDatasetLimits& limits) {
    WebDatasetReader reader(std::make_unique<SpanSource>(bytes), "x", limits);
    WebDatasetReader::Sample sample;
    int samples = 0;
    while (reader.Next(sample)) ++samples;
    return samples;
  };
  EXPECT_EQ(count({.max_file_bytes = 100, .max_sample_bytes = 200, .max_sample_files = 2}), 1);
  EXPECT_THROW(count({.max_file_bytes = 99}), Error);
  EXPECT_THROW(count({.max_sample_bytes = 199}), Error);
  EXPECT_THROW(count({.max_sample_files = 1}), Error);
}

TEST(WebDataset, OpensMissingFilesWithAnError) {
  EXPECT_THROW(WebDatasetReader("/nonexistent/x.tar"), Error);
  EXPECT_THROW(WebDatasetReader(testing::SourcePath("tests")), Error);
  EXPECT_THROW(WebDatasetIndex::Open(testing::SourcePath("tests")), Error);
}

TEST(WebDataset, ReadsARealShard) {
  const std::string path = testing::ShardPath("imagenet1k-sample200.tar");
  if (path.empty()) GTEST_SKIP() << "needs ../shared/data/imagenet1k-sample200.tar";
  const WebDatasetIndex index = WebDatasetIndex::Open(path);
  EXPECT_EQ(index.samples().size(), 200u);
  WebDatasetReader reader(path);
  WebDatasetReader::Sample sample;
  size_t at = 0;
  for (; reader.Next(sample); ++at) {
    ASSERT_LT(at, index.samples().size());
    EXPECT_EQ(sample.key, index.samples()[at].key);
    ASSERT_EQ(sample.files.size(), index.samples()[at].files.size());
    for (const auto& file : index.samples()[at].files)
      EXPECT_EQ(Text(sample.files.at(file.extension)), Text(index.Bytes(file)));
  }
  EXPECT_EQ(at, 200u);
}

}  // namespace
}  // namespace fovea::formats
