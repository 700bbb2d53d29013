#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "testing/testing.h"

namespace fovea::base {
namespace {

// The code of the error `action` throws.
template <typename Action>
ErrorCode CodeOf(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(Strings, SplitsAndJoins) {
  EXPECT_EQ(Split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(Join(std::vector<int>{1, 2, 3}), "1, 2, 3");
}

TEST(Strings, PrintableReplacesControlsAndInvalidUtf8) {
  EXPECT_EQ(PrintableUtf8("caf\xC3\xA9"), "caf\xC3\xA9");
  EXPECT_EQ(PrintableUtf8("a\x1B[31m"), "a\xEF\xBF\xBD[31m");
  EXPECT_EQ(PrintableUtf8("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");       // overlong
  EXPECT_EQ(PrintableUtf8("\xED\xA0\x80").substr(0, 3), "\xEF\xBF\xBD");  // surrogate
  EXPECT_EQ(PrintableUtf8("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
  EXPECT_EQ(PrintableUtf8("\xF0\x9F\x98"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // truncated
}

TEST(File, ReportsMissingTooLargeAndDirectory) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(CodeOf([&] { ReadFile(folder.File("none"), 10); }), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf([&] { ReadFile(folder.path(), 10); }), ErrorCode::kIo);
  WriteTextFileAtomically(folder.File("eleven"), "12345678901");
  EXPECT_EQ(CodeOf([&] { ReadFile(folder.File("eleven"), 10); }), ErrorCode::kResourceExhausted);
  EXPECT_EQ(ReadTextFile(folder.File("eleven")), "12345678901");
  EXPECT_EQ(MappedFile::Open(folder.File("eleven"))->bytes().size(), 11u);
  WriteTextFileAtomically(folder.File("eleven"), "");
  EXPECT_TRUE(MappedFile::Open(folder.File("eleven"))->bytes().empty());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);  // no temporary left
}

TEST(ContentHash, IsXxh3) {
  EXPECT_EQ(ContentHash({}), "99aa06d3014798d86001c324468d497f");  // as `xxhsum -H2 /dev/null` prints
  const std::string text = "a photograph";
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  EXPECT_EQ(ContentHasher().Add(text.substr(0, 5)).Add(text.substr(5)).Hex(), ContentHash(bytes));
}

TEST(ParallelFor, CoversEveryIndexOnceAndRethrows) {
  for (const int64_t count : {0, 1, 2, 3, 63, 64, 65, 1000}) {
    std::vector<std::atomic<int>> seen(count);
    ParallelFor(count, 7, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++seen[i];
    });
    for (const auto& times : seen) EXPECT_EQ(times, 1);
  }
  EXPECT_THROW(ParallelFor(100, 1, [](int64_t, int64_t end) { Require(end < 100, "last range"); }), Error);
}

TEST(Config, ReadsTypedFieldsAndNamesWhatIsWrong) {
  const Config config =
      Config::Parse(R"({"size": 7, "rate": 0.5, "names": ["a"], "deep": {"x": true}, "none": null})", "test.json");
  EXPECT_EQ(config.Require<int64_t>("size"), 7);
  EXPECT_EQ(config.Get<double>("size", 0), 7.0);
  EXPECT_EQ(config.Get<int64_t>("none", 3), 3);
  EXPECT_TRUE(config.Object("deep").Require<bool>("x"));
  try {
    config.Require<int64_t>("rate");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("rate"), std::string::npos);
    EXPECT_NE(error.message().find("test.json"), std::string::npos);
  }
  int64_t size = 1;
  config.Read("size", size, 1, 7);
  EXPECT_EQ(size, 7);
  EXPECT_EQ(CodeOf([&] { config.Read("size", size, 1, 6); }), ErrorCode::kInvalidArgument);
  double absent = 2.5;
  config.Read("absent", absent, 0, 3);
  EXPECT_EQ(absent, 2.5);
  EXPECT_EQ(CodeOf([] { Config::Parse("{", "x"); }), ErrorCode::kCorruptData);
  EXPECT_EQ(CodeOf([] { Config::Parse("[]", "x"); }), ErrorCode::kCorruptData);
  EXPECT_EQ(CodeOf([] { Config::Parse(std::string(5000, '['), "x"); }), ErrorCode::kResourceExhausted);
  EXPECT_EQ(CodeOf([] { Config::Parse(R"({"size": 18446744073709551615})", "x").Require<int64_t>("size"); }),
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fovea::base
