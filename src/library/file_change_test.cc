#include "library/file_change.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <random>

#include "base/file.h"
#include "testing/golden.h"
#include "testing/testing.h"

namespace fovea::library {
namespace {

std::vector<uint8_t> BytesOf(std::string_view text) { return {text.begin(), text.end()}; }

TEST(Delta, BringsBackWhatWasThere) {
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"", ""},       {"", "abc"},    {"abc", ""},    {"abc", "abc"},           {"abc", "abXc"}, {"abXc", "ab"},
      {"aaaa", "aa"}, {"aa", "aaaa"}, {"abab", "ab"}, {"one two", "one 2 two"}, {"x", "y"},      {"abcabc", "abc"}};
  for (const auto& [before, now] : pairs) {
    const Delta delta = DeltaOf(BytesOf(before), BytesOf(now));
    EXPECT_EQ(Before(delta, BytesOf(now)), BytesOf(before)) << before << " -> " << now;
  }
  EXPECT_EQ(DeltaOf(BytesOf("one two"), BytesOf("one 2 two")).middle.size(), 0u);
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const auto letters = [&] {
      std::vector<uint8_t> text(random() % 12);
      for (uint8_t& letter : text) letter = static_cast<uint8_t>('a' + random() % 2);
      return text;
    };
    const std::vector<uint8_t> before = letters(), now = letters();
    EXPECT_EQ(Before(DeltaOf(before, now), now), before);
  }
  const std::vector<uint8_t> shorter = BytesOf("ab");
  testing::ExpectError([&] { Before({.prefix = 2, .suffix = 1, .middle = {}}, shorter); }, "does not fit");
}

TEST(ReplaceFile, KeepsModeAndAttributesAndRefusesATouchedFile) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.File("a picture.jpg");
  base::WriteTextFileAtomically(path, "old");
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  const bool has_attributes = ::setxattr(path.c_str(), "user.comment", "mine", 4, 0) == 0;
  std::optional<FileState> old = ReadState(path);
  ASSERT_TRUE(old);
  ReplaceFile(path, old, BytesOf("new"), 1'000'000'000'000'000'005);
  EXPECT_EQ(base::ReadTextFile(path), "new");
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'000'000'000);
  EXPECT_EQ(info.st_mtim.tv_nsec, 5);
  char value[8] = {};
  if (has_attributes) {
    EXPECT_EQ(::getxattr(path.c_str(), "user.comment", value, sizeof value), 4);
  }
  testing::ExpectError([&] { ReplaceFile(path, old, BytesOf("newer")); }, "changed by somebody else");
  testing::ExpectError([&] { ReplaceFile(path, std::nullopt, BytesOf("newer")); }, "changed by somebody else");
  testing::ExpectError([&] { RemoveFile(path, *old); }, "changed by somebody else");
  EXPECT_EQ(base::ReadTextFile(path), "new");
  RemoveFile(path, *ReadState(path));
  EXPECT_FALSE(ReadState(path));
}

}  // namespace
}  // namespace fovea::library
