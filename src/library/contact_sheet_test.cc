#include "fovea/contact_sheet.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "testing/testing.h"

namespace fovea {
namespace {

std::vector<uint8_t> FromBase64(const std::string& text) {
  static const std::string kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uint8_t> bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kDigits.find(c));
    count += 6;
    if (count >= 8) bytes.push_back(static_cast<uint8_t>(bits >> (count -= 8)));
  }
  return bytes;
}

TEST(ContactSheet, HoldsPicturesAndIsSafe) {
  const testing::TemporaryFolder folder;
  ContactSheet sheet("A <title>", "by \"somebody\" & others");
  const Image picture = ReadImage(testing::SourcePath("samples/temple.jpg"));
  sheet.Add({.name = "temple.jpg",
             .image = picture,
             .lines = {{.label = "", .text = "<script>alert(1)</script>", .confidence = 0.874},
                       {.label = "What?", .text = "not sure", .confidence = 0.1, .is_doubtful = true}}});
  sheet.Add({.name = "broken.jpg", .image = {}, .lines = {}, .error = "it is damaged"});
  EXPECT_EQ(sheet.size(), 2);
  sheet.Write(folder.File("sheet.html"));
  const std::string page = base::ReadTextFile(folder.File("sheet.html"));
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;alert(1)&lt;/script&gt;"), std::string::npos);
  EXPECT_NE(page.find("A &lt;title&gt;"), std::string::npos);
  EXPECT_NE(page.find("87 %"), std::string::npos);
  EXPECT_NE(page.find("it is damaged"), std::string::npos);
  EXPECT_EQ(page.find("http://"), std::string::npos);
  EXPECT_EQ(page.find("https://"), std::string::npos);
  const std::string mark = "data:image/jpeg;base64,";
  const size_t begin = page.find(mark) + mark.size();
  const std::vector<uint8_t> jpeg = FromBase64(page.substr(begin, page.find('"', begin) - begin));
  const Image small = DecodeImage(jpeg, "thumbnail");
  EXPECT_EQ(std::max(small.width, small.height), 320);
  EXPECT_NEAR(static_cast<double>(small.width) / static_cast<double>(small.height),
              static_cast<double>(picture.width) / static_cast<double>(picture.height), 0.02);
}

}  // namespace
}  // namespace fovea
