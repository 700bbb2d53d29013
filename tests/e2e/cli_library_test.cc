// index and search, from the outside.
#include <chrono>
#include <ctime>
#include <filesystem>

#include "base/json.h"
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
  EXPECT_NEAR(both[0]["score"].get<double>(), 1, 1e-3);
  const Result none = RunFovea({"search", "zyzzyva", "--db", Db(), "--json"});
  EXPECT_EQ(none.exit, 0);
  EXPECT_EQ(none.out, "");
  for (const char* words : {"\"", "a OR", "*", "NEAR(", "'; DROP TABLE files; --", "-x"}) {
    EXPECT_EQ(RunFovea({"search", "--db", Db(), "--json", "--", words}).exit, 0) << words;
  }
}

TEST_F(CliLibrary, FiltersAndWhatMustNotBeThere) {
  Index();
  const auto day = [&](const std::string& name, int year) {
    std::tm date{};
    date.tm_year = year - 1900;
    date.tm_mon = 6;
    date.tm_mday = 1;
    date.tm_hour = 12;
    const auto seconds = std::chrono::system_clock::from_time_t(std::mktime(&date));
    std::filesystem::last_write_time(Pictures() + "/" + name, std::chrono::file_clock::from_sys(seconds));
  };
  day("cat.jpg", 2001);
  day("coffee.jpg", 2002);
  day("flower.jpg", 2003);
  day("holiday/dscf0042.jpg", 2004);
  Index();
  const auto names = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"search", "--db", Db(), "--json"});
    const Result result = RunFovea(arguments);
    EXPECT_EQ(result.exit, 0) << result.err;
    std::vector<std::string> found;
    for (const auto& line : result.Lines())
      found.push_back(std::filesystem::path(line["path"].get<std::string>()).filename());
    return found;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names({"--after", "2002-07"}), (Names{"dscf0042.jpg", "flower.jpg", "coffee.jpg"}));
  EXPECT_EQ(names({"--before", "2002-07-01"}), (Names{"cat.jpg"}));
  EXPECT_EQ(names({"jpg", "--after", "2002", "--before", "2003"}), (Names{"coffee.jpg"}));
  EXPECT_EQ(names({"--folder", Pictures() + "/holiday"}), (Names{"dscf0042.jpg"}));
  EXPECT_EQ(names({"--min-width", "100000"}), Names{});
  EXPECT_EQ(names({"jpg", "-coffee", "-flower", "--not", "holiday"}), (Names{"cat.jpg"}));
  EXPECT_EQ(names({"jpg -coffee -flower -holiday"}), (Names{"cat.jpg"}));
  EXPECT_EQ(names({"--image", Sample("cat.jpg"), "--all", "-cat", "--after", "2003"}),
            names({"--image", Sample("cat.jpg"), "--all", "--after", "2003"}));
  EXPECT_EQ(RunFovea({"search", "x", "--db", Db(), "--after", "spring"}).exit, 1);
  EXPECT_EQ(RunFovea({"search", "x", "--db", Db(), "--afte", "2002"}).exit, 2);
  EXPECT_EQ(RunFovea({"search", "--db", Db()}).exit, 2);
}

// A model that reads text: what is found is what the reference makes of the same pictures and background texts.
class CliMeaning : public CliLibrary {
 protected:
  CliMeaning() { std::filesystem::copy(testing::SourcePath("tests/golden/clip_tiny"), Model()); }
  std::string Model() const { return folder_.File("clip"); }
  void SetUp() override {
    std::filesystem::create_directories(Pictures());
    for (const char* name : {"cat.jpg", "coffee.jpg", "flower.jpg", "temple.jpg"})
      std::filesystem::copy_file(Sample(name), Pictures() + "/" + name);
  }
  Result Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--db", Db(), "--json"});
    return RunFovea(arguments, {"XDG_CACHE_HOME=" + folder_.File("cache")});
  }
};

TEST_F(CliMeaning, ScoresAreThoseOfTheReference) {
  EXPECT_EQ(Run({"index", Pictures(), "--model", Model()}).exit, 0);
  const auto golden =
      base::ParseJson(base::ReadTextFile(testing::SourcePath("tests/golden/search.json")), "search.json");
  for (const auto& [query, scores] : golden["tiny_clip"]["scores"].items()) {
    const Result result = Run({"search", query, "--all"});
    EXPECT_EQ(result.exit, 0) << result.err;
    const auto lines = result.Lines();
    ASSERT_EQ(lines.size(), 4u) << result.err;
    size_t strong = 0;
    for (const auto& line : lines) {
      const double expected = scores[std::filesystem::path(line["path"].get<std::string>()).filename().string()];
      EXPECT_NEAR(line["score"].get<double>(), expected, 2e-3) << line;
      EXPECT_EQ(line["why"].get<std::string>().rfind("fits the words", 0), 0u) << line;
      EXPECT_EQ(line.contains("weak"), expected < 0.5) << line;
      strong += expected >= 0.5 ? 1 : 0;
    }
    EXPECT_EQ(Run({"search", query}).Lines().size(), strong);
  }
}

TEST_F(CliMeaning, AModelThatChangedIsNoticedAndIndexedAnew) {
  EXPECT_EQ(Run({"index", Pictures(), "--model", Model()}).exit, 0);
  EXPECT_EQ(Run({"search", "snow"}).err.find("changed"), std::string::npos);
  // Other weights in the same folder.
  std::string weights = base::ReadTextFile(Model() + "/model.safetensors");
  weights[weights.size() - 1] = static_cast<char>(weights[weights.size() - 1] ^ 0x80);
  std::filesystem::remove(Model() + "/model.safetensors");
  WriteBytes(Model() + "/model.safetensors", weights);
  const Result words = Run({"search", "coffee"});
  EXPECT_EQ(words.exit, 0);
  EXPECT_NE(words.err.find("changed"), std::string::npos) << words.err;
  ASSERT_FALSE(words.Lines().empty());  // by its name, at least
  EXPECT_EQ(words.Lines()[0]["path"], Pictures() + "/coffee.jpg");
  const Result picture = Run({"search", "--image", Sample("cat.jpg")});
  EXPECT_EQ(picture.exit, 1);
  EXPECT_NE(picture.err.find("fovea index"), std::string::npos) << picture.err;
  const Result other = Run({"search", "--image", Sample("cat.jpg"), "--model", Model()});
  EXPECT_EQ(other.exit, 1);
  EXPECT_NE(other.err.find("indexed with"), std::string::npos) << other.err;

  const Result again = Run({"index", "--model", Model()});  // all folders of the library
  EXPECT_EQ(again.exit, 0) << again.err;
  EXPECT_EQ(again.Lines().at(0)["updated"], 4);
  const Result alike = Run({"search", "--image", Sample("cat.jpg"), "-k", "1"});
  EXPECT_EQ(alike.exit, 0);
  EXPECT_EQ(alike.err, "");
  EXPECT_EQ(alike.Lines().at(0)["path"], Pictures() + "/cat.jpg");
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
  const Result none = RunFovea({"index", "--db", folder_.File("new.db")});  // all folders of a library without any
  EXPECT_EQ(none.exit, 1);
  EXPECT_NE(none.err.find("folders"), std::string::npos) << none.err;
  EXPECT_FALSE(std::filesystem::exists(folder_.File("new.db")));
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
