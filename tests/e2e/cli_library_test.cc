// index and search, from the outside.
#include <filesystem>

#include "cli_run.h"

namespace fovea::e2e {
namespace {

class CliLibrary : public ::testing::Test {
 protected:
  std::string Db() const { return folder_.File("photos.db"); }
  std::string Pictures() const { return folder_.File("pictures"); }

  void SetUp() override {
    std::filesystem::create_directories(Pictures() + "/holiday");
    for (const char* name : {"cat.jpg", "coffee.jpg", "flower.jpg"})
      std::filesystem::copy_file(Sample(name), Pictures() + "/" + name);
    std::filesystem::copy_file(Sample("temple.jpg"), Pictures() + "/holiday/dscf0042.jpg");
  }

  nlohmann::json Index(int expected_exit = 0) const {
    const Result result = RunFovea({"index", Pictures(), "--db", Db(), "--json"});
    EXPECT_EQ(result.exit, expected_exit) << result.err;
    const auto lines = result.Lines();
    EXPECT_EQ(lines.size(), 1u);
    return lines.empty() ? nlohmann::json() : lines[0];
  }

  testing::TemporaryFolder folder_;
};

TEST_F(CliLibrary, IndexesOnceAndRefreshes) {
  const auto first = Index();
  EXPECT_EQ(first["added"], 4);
  EXPECT_EQ(first["failed"], 0);
  EXPECT_GT(first["seconds"].get<double>(), 0);
  const auto second = Index();
  EXPECT_EQ(second["added"], 0);
  EXPECT_EQ(second["unchanged"], 4);
  std::filesystem::remove(Pictures() + "/flower.jpg");
  const auto third = Index();
  EXPECT_EQ(third["removed"], 1);
}

TEST_F(CliLibrary, FindsByPictureAndByWords) {
  Index();
  const auto alike = RunFovea({"search", "--image", Sample("cat.jpg"), "--db", Db(), "--json", "--all"}).Lines();
  ASSERT_EQ(alike.size(), 4u);
  EXPECT_EQ(alike[0]["path"], Pictures() + "/cat.jpg");
  for (size_t i = 1; i < alike.size(); ++i)
    EXPECT_LE(alike[i]["score"].get<double>(), alike[i - 1]["score"].get<double>());
  const auto by_folder = RunFovea({"search", "holiday", "--db", Db(), "--json"}).Lines();
  ASSERT_EQ(by_folder.size(), 1u);
  EXPECT_EQ(by_folder[0]["path"], Pictures() + "/holiday/dscf0042.jpg");
  EXPECT_FALSE(by_folder[0]["why"].get<std::string>().empty());
  const auto both =
      RunFovea({"search", "coffee", "--image", Sample("coffee.jpg"), "--db", Db(), "--json", "-k", "1"}).Lines();
  ASSERT_EQ(both.size(), 1u);
  EXPECT_EQ(both[0]["path"], Pictures() + "/coffee.jpg");
  EXPECT_NEAR(both[0]["score"].get<double>(), 1, 1e-6);
  const Result none = RunFovea({"search", "zyzzyva", "--db", Db(), "--json"});
  EXPECT_EQ(none.exit, 0);
  EXPECT_EQ(none.out, "");
  for (const char* words : {"\"", "a OR", "*", "NEAR(", "'; DROP TABLE files; --", "-x"}) {
    EXPECT_EQ(RunFovea({"search", "--db", Db(), "--json", "--", words}).exit, 0) << words;
  }
}

TEST_F(CliLibrary, OneBadFileIsNamedAndTheRestIsDone) {
  WriteBytes(Pictures() + "/broken.jpg", "\xFF\xD8\xFF\xE0 that was all");
  const Result result = RunFovea({"index", Pictures(), "--db", Db(), "--json"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("broken.jpg"), std::string::npos) << result.err;
  EXPECT_EQ(result.Lines().at(0)["added"], 4);
  EXPECT_EQ(result.Lines().at(0)["failed"], 1);
}

TEST_F(CliLibrary, NoLibraryAndNoFolderAreErrors) {
  const Result search = RunFovea({"search", "x", "--db", folder_.File("none.db")});
  EXPECT_EQ(search.exit, 1);
  EXPECT_NE(search.err.find("fovea index"), std::string::npos) << search.err;
  EXPECT_FALSE(std::filesystem::exists(folder_.File("none.db")));
  const Result index = RunFovea({"index", folder_.File("nowhere"), "--db", Db()});
  EXPECT_EQ(index.exit, 1);
  EXPECT_NE(index.err.find("nowhere"), std::string::npos) << index.err;
  WriteBytes(folder_.File("text.db"), "this is no database, only some text that is long enough to be looked at");
  const Result text = RunFovea({"search", "x", "--db", folder_.File("text.db")});
  EXPECT_EQ(text.exit, 1);
  EXPECT_NE(text.err.find("text.db"), std::string::npos) << text.err;
}

TEST_F(CliLibrary, TheDefaultFileLivesInTheDataFolder) {
  const std::string home = "XDG_DATA_HOME=" + folder_.File("data");
  EXPECT_EQ(RunFovea({"index", Pictures(), "--quiet"}, {home}).exit, 0);
  EXPECT_TRUE(std::filesystem::exists(folder_.File("data/fovea/library.db")));
  EXPECT_EQ(RunFovea({"search", "coffee"}, {home}).exit, 0);
}

}  // namespace
}  // namespace fovea::e2e
