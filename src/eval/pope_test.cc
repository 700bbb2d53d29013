#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/file.h"
#include "base/strings.h"
#include "fovea/error.h"
#include "fovea/eval_pope.h"
#include "testing/shard.h"
#include "testing/testing.h"

namespace fovea {
namespace {

// Four pictures; a table and a chair are often together, a dog is nearly everywhere.
std::string Shard(const testing::TemporaryFolder& folder) {
  const std::string path = folder.File("things.tar");
  const std::vector<uint8_t> jpeg = base::ReadFile(testing::SourcePath("tests/golden/media/images/one.jpg"), 1 << 20);
  const std::string picture(jpeg.begin(), jpeg.end());
  const std::vector<std::pair<std::string, std::string>> notes = {
      {"a", R"({"objects": ["dog", "table", "chair"]})"},
      {"b", R"({"objects": ["dog", "cat"]})"},
      {"c", R"({"objects": ["table"]})"},
      {"d", R"({"captions": ["a dog and a boat", "the dog by a lake", "a boat"]})"},
      {"e", R"({"captions": ["nothing is here"]})"}};
  std::vector<std::pair<std::string, std::string>> files;
  for (const auto& [key, json] : notes) {
    files.emplace_back(key + ".jpg", picture);
    files.emplace_back(key + ".json", json);
  }
  testing::WriteShard(path, files);
  return path;
}

TEST(Pope, AsksAboutWhatIsThereAndWhatIsNot) {
  const testing::TemporaryFolder folder;
  std::vector<std::vector<std::string>> asked;
  const auto judge = [&](const Image&, std::span<const std::string> things) {
    asked.emplace_back(things.begin(), things.end());
    std::vector<double> said;
    for (const std::string& thing : things) said.push_back(thing == "dog" ? 0.9 : 0.2);
    return said;
  };
  const PopeMetrics metrics = EvaluatePope(judge, {Shard(folder)}, {.resamples = 0});
  EXPECT_EQ(metrics.pictures, 4);
  EXPECT_EQ(metrics.without, 1);
  ASSERT_EQ(asked.size(), 4u);
  // Of "c" (a table): popular is the dog; adversarial is what stands with tables, chair or dog; both once.
  ASSERT_EQ(asked[2].size(), 4u);
  EXPECT_EQ(asked[2][0], "table");
  EXPECT_EQ(asked[2][2], "dog");
  EXPECT_TRUE(asked[2][3] == "chair" || asked[2][3] == "dog");
  // Of "d": dog and boat are there, and the lake that one caption names is not called absent.
  EXPECT_EQ(std::set<std::string>(asked[3].begin(), asked[3].begin() + 2), (std::set<std::string>{"boat", "dog"}));
  // Counted by hand for the popular split. "a" has 3 things but only 2 absent ones (boat, cat): 2 of its things in the
  // order of the seed and both absent; "b" cat, dog / table, boat or chair; "c" table / dog; "d" boat, dog / table, ...
  const PopeMetrics::Split& popular = metrics.splits[1];
  EXPECT_EQ(popular.n, 14);
  const double said_yes = popular.yes_share * 14, right_yes = popular.precision * said_yes;
  EXPECT_NEAR(popular.recall * 7, right_yes, 1e-9);
  EXPECT_NEAR(popular.accuracy * 14, right_yes + (7 - (said_yes - right_yes)), 1e-9);
  EXPECT_NEAR(popular.f1, 2 * right_yes / (said_yes + 7), 1e-9);
  EXPECT_NEAR(said_yes - right_yes, 1, 1e-9);  // the dog of "c"
}

TEST(Pope, SaysWhenThereIsNothingToAsk) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.File("empty.tar");
  testing::WriteShard(path, {{"a.json", "{}"}});
  EXPECT_THROW(EvaluatePope([](const Image&, std::span<const std::string>) { return std::vector<double>(); }, {path}),
               Error);
}

}  // namespace
}  // namespace fovea
