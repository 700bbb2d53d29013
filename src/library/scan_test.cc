#include "library/scan.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "library/library_testing.h"
#include "testing/testing.h"

namespace fovea::library {
namespace {

namespace fs = std::filesystem;

class ScanTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, std::string_view bytes = "x") { WriteFile(folder_.File(name), bytes); }
  std::string Path(const std::string& name) const { return folder_.File(name); }

  // How often each file was found, by path below the folder.
  std::map<std::string, int> Found(const std::vector<std::string>& roots) {
    std::map<std::string, int> found;
    failures_.clear();
    Scan(NormalizeRoots(roots),
         {.file = [&](FoundFile file) { ++found[file.path.substr(root_.size() + 1)]; },
          .failure = [&](const std::string& path, const std::string& reason) { failures_[path] = reason; }});
    return found;
  }
  std::map<std::string, int> Found() { return Found({folder_.path()}); }

  fovea::testing::TemporaryFolder folder_;
  const std::string root_ = fs::canonical(folder_.path()).string();
  std::map<std::string, std::string> failures_;
};

using Files = std::map<std::string, int>;

TEST_F(ScanTest, FindsPicturesByNameAndByContent) {
  Write("a.JPG");
  Write("sub/deep/b.heic");
  Write("sub/noextension", Bmp(2, 2, 1));
  Write("sub/c.txt", std::string("\x89PNG\r\n\x1A\n", 8));
  Write("BMW.txt", "BMW makes cars and motorcycles");
  Write("notes.md", "text");
  Write("empty", "");
  Write(".hidden.jpg");
  Write(".thumbnails/d.jpg");
  ::mkfifo(Path("pipe.jpg").c_str(), 0644);
  ::mkfifo(Path("pipe").c_str(), 0644);
  EXPECT_EQ(Found(), (Files{{"a.JPG", 1}, {"sub/deep/b.heic", 1}, {"sub/noextension", 1}, {"sub/c.txt", 1}}));
  EXPECT_TRUE(failures_.empty());
  EXPECT_EQ(CountPictures({folder_.path()}, nullptr), 2);
}

TEST_F(ScanTest, LinksAndLoops) {
  Write("real/a.jpg");
  fs::create_directories(Path("real/b"));
  fs::create_directory_symlink("..", Path("real/b/up"));
  fs::create_directory_symlink(".", Path("self"));
  fs::create_directory_symlink("real", Path("0_before_real"));
  fs::create_symlink("real/a.jpg", Path("link.jpg"));
  fs::create_symlink("nowhere", Path("dangling.jpg"));
  fs::create_symlink("nowhere", Path("dangling"));
  fovea::testing::TemporaryFolder outside;
  WriteFile(outside.File("o.jpg"), "x");
  fs::create_directory_symlink(outside.path(), Path("out"));
  EXPECT_EQ(Found(), (Files{{"real/a.jpg", 1}, {"link.jpg", 1}, {"out/o.jpg", 1}}));
  ASSERT_EQ(failures_.size(), 1u);
  EXPECT_EQ(failures_.begin()->first, root_ + "/dangling.jpg");
}

TEST_F(ScanTest, RootsThatOverlap) {
  Write("a/1.jpg");
  Write("a/b/2.jpg");
  Write("a/.secret/3.jpg");
  Write("c.txt", "given by name");
  fs::create_directory_symlink("a", Path("alias"));
  const Files all = {{"a/1.jpg", 1}, {"a/b/2.jpg", 1}};
  EXPECT_EQ(Found({Path("a"), Path("a/b"), Path("a/b/"), Path("alias"), Path("a/1.jpg")}), all);
  EXPECT_EQ(Found({Path("a/b"), Path("a")}), all);
  EXPECT_EQ(Found({Path("a/.secret"), Path("c.txt")}), (Files{{"a/.secret/3.jpg", 1}, {"c.txt", 1}}));
  EXPECT_EQ(Found({Path("missing")}), Files{});
  EXPECT_EQ(failures_.size(), 1u);
}

TEST_F(ScanTest, DeepNestingIsReportedNotFollowedForEver) {
  std::string path = "d";
  for (int i = 0; i < kMaxDepth + 20; ++i) path += "/d";
  Write(path + "/x.jpg");
  Write("d/y.jpg");
  EXPECT_EQ(Found(), (Files{{"d/y.jpg", 1}}));
  EXPECT_EQ(failures_.size(), 1u);
}

TEST_F(ScanTest, CancelStops) {
  for (int i = 0; i < 100; ++i) Write(std::to_string(i) + ".jpg");
  std::atomic<bool> cancel = false;
  int found = 0;
  Scan({folder_.path()}, {.file =
                              [&](const FoundFile&) {
                                ++found;
                                cancel = true;
                              },
                          .cancel = &cancel});
  EXPECT_EQ(found, 1);
}

TEST(Paths, AreMadeAbsolute) {
  EXPECT_EQ(AbsolutePath("/usr/../usr/x.jpg"), "/usr/x.jpg");
  EXPECT_EQ(AbsolutePath("/nowhere/x.jpg"), "/nowhere/x.jpg");
  EXPECT_EQ(AbsolutePath("x.jpg"), fs::current_path().string() + "/x.jpg");
  EXPECT_EQ(AbsolutePath("/x.jpg"), "/x.jpg");
}

}  // namespace
}  // namespace fovea::library
