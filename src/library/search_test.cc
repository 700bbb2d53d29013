// Words, phrases and vectors over a small hand-made library.
#include "library/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "library/library_testing.h"
#include "library/words.h"
#include "testing/testing.h"

namespace fovea::library {
namespace {

TEST(Words, InnerWords) {
  EXPECT_EQ(IndexedText("beach"), "beach");
  EXPECT_EQ(IndexedText("IMG_2031.jpg"), "IMG_2031.jpg");
  EXPECT_EQ(IndexedText("dogOnBeach"), "dogOnBeach\tdog On Beach");
  EXPECT_EQ(IndexedText("HTMLPage2x"), "HTMLPage2x\tHTML Page 2 x");
  EXPECT_EQ(IndexedText("a\nb\x01\xFF"), "a\uFFFDb\uFFFD\uFFFD");
}

TEST(Words, FoldersFromTheRootDown) {
  EXPECT_EQ(IndexedFolders("/home/ann/Pictures/Italy 2019/rome/x.jpg", "/home/ann/Pictures"),
            "Pictures\nItaly 2019\nrome");
  EXPECT_EQ(IndexedFolders("/home/ann/x.jpg", "/home/ann/x.jpg"), "ann");
  EXPECT_EQ(IndexedFolders("/a/x.jpg", "/"), "a");
  EXPECT_EQ(IndexedFolders("/x.jpg", "/"), "");
  EXPECT_EQ(IndexedFolders("/x.jpg", "/x.jpg"), "");
}

TEST(Words, Queries) {
  const auto fts = [](std::string_view query) {
    std::string text;
    for (const QueryTerm& term : ParseQuery(query)) text += (text.empty() ? "" : " ") + term.Fts();
    return text;
  };
  EXPECT_EQ(fts("dog  beach\tsea"), "\"dog\"* \"beach\"* \"sea\"*");
  EXPECT_EQ(fts("\"golden retriever\" park"), "\"golden retriever\" \"park\"*");
  EXPECT_EQ(fts("unclosed \"half a phrase"), "\"unclosed\"* \"half a phrase\"");
  EXPECT_EQ(fts("NEAR( a* OR col:b -- ;"), "\"NEAR(\"* \"a*\"* \"OR\"* \"col:b\"*");
  EXPECT_EQ(fts(" !? \"\" \" \" \xE2\x80\x93 \xFF"), "");
  EXPECT_EQ(ParseQuery(std::string(4000, 'a') + std::string(1000, ' ')).size(), 1u);
  std::string many;
  for (int i = 0; i < 100; ++i) many += "w ";
  EXPECT_EQ(ParseQuery(many).size(), kMaxQueryTerms);
}

class SearchTest : public ::testing::Test {
 protected:
  SearchTest() : store_(folder_.File("library.db"), Database::Mode::kCreate) {}

  void Add(const std::string& path, std::vector<Label> labels, std::vector<float> embedding = {1, 0}) {
    Transaction transaction(store_.db());
    ContentRecord content;
    content.hash = path;
    content.analysis = {std::move(labels), std::move(embedding)};
    const int64_t model = store_.PutModel({"f", "m", 2});
    store_.PutFile(path, store_.PutRoot("/home/ann/Pictures"), {}, store_.PutContent(content, model));
    transaction.Commit();
  }
  std::vector<std::string> Names(const std::string& words, const SearchOptions& options = {.all = true}) {
    std::vector<std::string> names;
    for (const SearchHit& hit : SearchByWords(store_, words, options)) names.emplace_back(FileName(hit.path));
    return names;
  }
  using Strings = std::vector<std::string>;

  fovea::testing::TemporaryFolder folder_;
  Store store_;
};

TEST_F(SearchTest, WordsInLabelsNamesAndFolders) {
  Add("/home/ann/Pictures/rome/1.jpg", {{"golden retriever", 1, 0.9f}, {"tennis ball", 2, 0.05f}});
  Add("/home/ann/Pictures/rome/2.jpg", {{"tennis ball", 2, 0.7f}, {"golden retriever", 1, 0.2f}});
  Add("/home/ann/Pictures/goldenHour/sunset.jpg", {{"seashore, coast", 3, 0.6f}});
  Add("/home/ann/Pictures/caf\xC3\xA9/Golden-Gate.jpg", {{"suspension bridge", 4, 0.99f}});
  EXPECT_EQ(Names("golden"), (Strings{"1.jpg", "Golden-Gate.jpg", "sunset.jpg", "2.jpg"}));
  EXPECT_EQ(Names("gold"), Names("golden"));  // prefixes count
  EXPECT_EQ(Names("GOLDEN ball"), (Strings{"1.jpg", "2.jpg"}));
  EXPECT_EQ(Names("rome retriever"), (Strings{"1.jpg", "2.jpg"}));
  EXPECT_EQ(Names("\"golden retriever\""), (Strings{"1.jpg", "2.jpg"}));
  EXPECT_EQ(Names("\"retriever golden\""), Strings{});
  EXPECT_EQ(Names("hour"), (Strings{"sunset.jpg"}));
  EXPECT_EQ(Names("goldenhour"), (Strings{"sunset.jpg"}));
  EXPECT_EQ(Names("cafe"), (Strings{"Golden-Gate.jpg"}));
  EXPECT_EQ(Names("golden-gate.jpg"), (Strings{"Golden-Gate.jpg"}));
  EXPECT_EQ(Names("ann"), Strings{});  // above the indexed folder
  EXPECT_EQ(Names("zebra"), Strings{});
  EXPECT_EQ(Names("golden", {.limit = 2}), (Strings{"1.jpg", "Golden-Gate.jpg"}));
  EXPECT_EQ(Names("golden", {.limit = 0}), Strings{});
  EXPECT_EQ(Names("golden", {}),
            (Strings{"1.jpg", "Golden-Gate.jpg", "sunset.jpg"}));  // 2.jpg is below a quarter of the best

  const std::vector<SearchHit> hits = SearchByWords(store_, "golden", {.all = true});
  EXPECT_EQ(hits[0].why, "label: golden retriever (0.90)");
  EXPECT_EQ(hits[1].why, "file name");
  EXPECT_EQ(hits[2].why, "folder: goldenHour");
  for (size_t i = 0; i < hits.size(); ++i) {
    EXPECT_GE(hits[i].score, 0);
    EXPECT_LE(hits[i].score, i == 0 ? 1.0 : hits[i - 1].score);
  }
  EXPECT_EQ(SearchByWords(store_, "rome ball", {})[0].why, "folder: rome, label: tennis ball (0.70)");
}

TEST_F(SearchTest, AnyInputIsSafe) {
  Add("/home/ann/Pictures/a.jpg", {{"dog", 1, 0.9f}});
  const std::string pieces[] = {"\"",
                                "'",
                                "*",
                                "(",
                                ")",
                                "AND",
                                "OR",
                                "NOT",
                                "NEAR(a b, 2)",
                                "labels:",
                                "{labels name}",
                                "^",
                                "-",
                                "+",
                                ";",
                                "--",
                                "dog",
                                "\xFF",
                                std::string(1, '\0'),
                                "\xE2\x80\x93",
                                "\xF0\x9F\x90\xB6",
                                "\t",
                                "%s",
                                "\\",
                                "DROP TABLE file",
                                ",",
                                "."};
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    std::string query;
    for (uint32_t n = random() % 6; n-- > 0;) query += pieces[random() % std::size(pieces)] + (random() % 2 ? " " : "");
    EXPECT_NO_THROW(SearchByWords(store_, query, {})) << query;
  }
  EXPECT_EQ(Names("dog"), (Strings{"a.jpg"}));
}

TEST_F(SearchTest, ManyMatchesKeepTheBest) {
  for (int i = 0; i < 300; ++i)
    Add("/home/ann/Pictures/" + std::to_string(i) + ".jpg", {{"dog", 1, static_cast<float>((i * 37) % 300) / 300.0f}});
  const std::vector<SearchHit> hits = SearchByWords(store_, "dog", {.limit = 5});
  ASSERT_EQ(hits.size(), 5u);
  for (int rank = 0; rank < 5; ++rank) {
    const int i = std::stoi(std::string(FileName(hits[static_cast<size_t>(rank)].path)));
    EXPECT_EQ((i * 37) % 300, 299 - rank);
  }
}

TEST_F(SearchTest, VectorsFollowTheLibrary) {
  const auto at = [](double degrees) {
    const double angle = degrees * M_PI / 180;
    return std::vector<float>{static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
  };
  EmbeddingCache cache;
  EXPECT_EQ(cache.Refresh(store_, "f", 2), nullptr);
  for (int i = 0; i < 10; ++i) Add("/p/" + std::to_string(i), {}, at(10 * i));
  const auto search = [&](double degrees, const SearchOptions& options) {
    Strings names;
    for (const SearchHit& hit : SearchByVector(store_, *cache.Refresh(store_, "f", 2), at(degrees), options))
      names.emplace_back(FileName(hit.path));
    return names;
  };
  EXPECT_EQ(search(0, {.limit = 3, .all = true}), (Strings{"0", "1", "2"}));
  EXPECT_EQ(search(0, {.limit = 100, .all = true}).size(), 10u);
  EXPECT_LT(search(0, {.limit = 100}).size(), 10u);
  Add("/p/new", {}, at(-1));
  EXPECT_EQ(search(-1, {.limit = 2, .all = true}), (Strings{"new", "0"}));
  Add("/p/0", {}, at(90));  // computed again
  EXPECT_EQ(search(0, {.limit = 2, .all = true}), (Strings{"new", "1"}));
  EXPECT_EQ(search(0, {.limit = 100, .all = true}).size(), 11u);
  {
    Transaction transaction(store_.db());
    store_.RemoveFile(store_.FindFile("/p/new", 0)->id);
    transaction.Commit();
  }
  EXPECT_EQ(search(0, {.limit = 1, .all = true}), (Strings{"1"}));  // content without a file is passed over
  EXPECT_TRUE(search(0, {.limit = 0}).empty());
}

// The picture that is searched for is usually in the library: that must not make everything else look irrelevant.
TEST_F(SearchTest, APictureOfTheLibraryFindsItselfAndItsKin) {
  const auto at = [](double degrees) {
    const double angle = degrees * M_PI / 180;
    return std::vector<float>{static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
  };
  for (int i = 0; i < 60; ++i) Add("/p/other" + std::to_string(i), {}, at(85 + i % 11));
  Add("/p/self", {}, at(0));
  for (int i = 0; i < 3; ++i) Add("/p/kin" + std::to_string(i), {}, at(65 + i));
  EmbeddingCache cache;
  const std::vector<SearchHit> hits = SearchByVector(store_, *cache.Refresh(store_, "f", 2), at(0), {});
  ASSERT_EQ(hits.size(), 4u);
  EXPECT_EQ(hits[0].path, "/p/self");
  EXPECT_EQ(hits[3].path, "/p/kin2");
}

TEST(Relevance, StopsAboveTheOrdinary) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0.35f, 0.05f);
  std::vector<float> sample;
  for (int i = 0; i < 2000; ++i) sample.push_back(normal(random));
  // 0.35 + 3 x 0.05 where the best hit is unremarkable; the middle where it is close.
  EXPECT_NEAR(RelevanceFloor(sample, 0.55f), 0.50f, 0.01f);
  EXPECT_NEAR(RelevanceFloor(sample, 0.95f), 0.65f, 0.01f);
  for (int i = 0; i < 200; ++i)
    sample[static_cast<size_t>(i)] = 0.9f;  // a tenth of the library is relevant: still the same
  EXPECT_NEAR(RelevanceFloor(sample, 0.95f), 0.65f, 0.02f);
  EXPECT_NEAR(RelevanceFloor({0.2f, 0.3f, 0.9f}, 0.9f), 0.6f, 1e-5f);
  EXPECT_EQ(RelevanceFloor({}, 0.9f), 0.9f);
}

}  // namespace
}  // namespace fovea::library
