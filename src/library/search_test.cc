// Words, phrases and vectors over a small hand-made library.
#include "library/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "library/library_testing.h"
#include "library/relevance.h"
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

TEST(Words, WhatMustNotBeThere) {
  const Question question = AskInWords("dog -beach -\"golden retriever\" x-ray - --y", {"a red ball", "", "the"});
  ASSERT_EQ(question.terms.size(), 3u);
  EXPECT_EQ(question.terms[1].text, "x-ray");
  EXPECT_EQ(question.terms[2].text, "--y");
  ASSERT_EQ(question.without.size(), 4u);
  EXPECT_EQ(question.without[0][0].Fts(), "(\"beach\" OR \"beachs\")");
  EXPECT_EQ(question.without[1][0].Fts(), "\"golden retriever\"");
  ASSERT_EQ(question.without[2].size(), 2u);  // "a" joins
  EXPECT_EQ(question.without[2][1].text, "ball");
  EXPECT_EQ(question.without[3][0].text, "the");  // nothing else was said
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
    for (const SearchHit& hit : FindWords(store_, words, options)) names.emplace_back(FileName(hit.path));
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

  const std::vector<SearchHit> hits = FindWords(store_, "golden", {.all = true});
  EXPECT_EQ(hits[0].why, "label: golden retriever (0.90)");
  EXPECT_EQ(hits[1].why, "file name");
  EXPECT_EQ(hits[2].why, "folder: goldenHour");
  for (size_t i = 0; i < hits.size(); ++i) {
    EXPECT_GE(hits[i].score, 0);
    EXPECT_LE(hits[i].score, i == 0 ? 1.0 : hits[i - 1].score);
  }
  EXPECT_EQ(FindWords(store_, "rome ball", {})[0].why, "folder: rome, label: tennis ball (0.70)");
}

TEST_F(SearchTest, WhatMustNotBeThereIsLeftOut) {
  Add("/home/ann/Pictures/rome/1.jpg", {{"golden retriever", 1, 0.9f}, {"tennis ball", 2, 0.05f}});
  Add("/home/ann/Pictures/rome/2.jpg", {{"tennis ball", 2, 0.7f}, {"golden retriever", 1, 0.2f}});
  Add("/home/ann/Pictures/rome/ball.jpg", {{"golden retriever", 1, 0.5f}});
  EXPECT_EQ(Names("retriever"), (Strings{"1.jpg", "ball.jpg", "2.jpg"}));
  EXPECT_EQ(Names("retriever -ball"), (Strings{"1.jpg"}));  // a label of 0.05 forbids nothing
  EXPECT_EQ(Names("retriever -balls"), (Strings{"1.jpg"}));
  EXPECT_EQ(Names("retriever -bal").size(), 3u);  // whole words only
  EXPECT_EQ(Names("retriever -rome"), Strings{});
  EXPECT_EQ(Names("-ball"), (Strings{"1.jpg"}));
  EXPECT_EQ(Names("-\"tennis ball\"").size(), 2u);
}

TEST_F(SearchTest, FiltersLeaveWhatTheySay) {
  const auto add = [&](const std::string& path, const std::string& taken, int64_t file_day, int64_t width) {
    Transaction transaction(store_.db());
    ContentRecord content;
    content.hash = path;
    content.info.capture_time = taken;
    content.info.width = width;
    content.info.height = 100;
    content.analysis = {{{"dog", 1, 0.9f}}, {1, 0}};
    const int64_t model = store_.PutModel({"f", "m", 2});
    // noon, so that the day is the same in every time zone of this test
    store_.PutFile(path, store_.PutRoot("/p"), {1, (file_day * 24 + 12) * 3600 * 1'000'000'000, 1},
                   store_.PutContent(content, model));
    transaction.Commit();
  };
  add("/p/a/april.jpg", "2024-04-30T23:59:59", 20000, 800);
  add("/p/a/may.jpg", "2024-05-01T00:00:00+02:00", 20000, 640);
  add("/p/ab/june.jpg", "2024-06-15T12:00:00", 20000, 320);
  add("/p/ab/file.jpg", "", 19858, 100);  // 2024-05-15
  const auto names = [&](const SearchFilter& filter, const std::string& words = "dog") {
    Strings found;
    for (const SearchHit& hit :
         SearchFor(store_, nullptr, nullptr, AskInWords(words, {}), ApplyFilter(store_, filter), {.all = true}))
      found.emplace_back(FileName(hit.path));
    std::sort(found.begin(), found.end());
    return found;
  };
  EXPECT_EQ(names({}).size(), 4u);
  EXPECT_EQ(names({.after = "2024-05"}), (Strings{"file.jpg", "june.jpg", "may.jpg"}));
  EXPECT_EQ(names({.before = "2024-05"}), (Strings{"april.jpg"}));
  EXPECT_EQ(names({.after = "2024-05", .before = "2024-06"}), (Strings{"file.jpg", "may.jpg"}));
  EXPECT_EQ(names({.after = "2024-06-15T12:00"}), (Strings{"june.jpg"}));
  EXPECT_EQ(names({.before = "2024"}), Strings{});
  EXPECT_EQ(names({.folder = "/p/a"}), (Strings{"april.jpg", "may.jpg"}));
  EXPECT_EQ(names({.folder = "/p/a/"}), (Strings{"april.jpg", "may.jpg"}));
  EXPECT_EQ(names({.folder = "/"}).size(), 4u);
  EXPECT_EQ(names({.folder = "/p/a/may.jpg"}), (Strings{"may.jpg"}));
  EXPECT_EQ(names({.min_width_px = 640}), (Strings{"april.jpg", "may.jpg"}));
  EXPECT_EQ(names({.min_width_px = 101, .min_height_px = 101}), Strings{});
  EXPECT_EQ(names({.folder = "/p/ab"}, "june"), (Strings{"june.jpg"}));
  // Without words: all that is left, the newest first.
  const auto listed =
      SearchFor(store_, nullptr, nullptr, AskInWords("", {}), ApplyFilter(store_, {.after = "2024-05-02"}), {});
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].path, "/p/ab/june.jpg");
  EXPECT_EQ(listed[0].why, "date: 2024-06-15");
  EXPECT_EQ(listed[1].why, "date: 2024-05-15");
  for (const char* date : {"24", "2024-5", "2024-13", "2024-00", "2024-05-32", "2024-05-03T24:00", "2024/05", "may",
                           "2024-05-03T12:60", "2024-05-03 12:00", "99999", "2024-05-", "'"}) {
    EXPECT_THROW(ApplyFilter(store_, {.after = date}), Error) << date;
    EXPECT_THROW(ApplyFilter(store_, {.before = date}), Error) << date;
  }
  EXPECT_THROW(ApplyFilter(store_, {.after = "2024-06", .before = "2024-05"}), Error);
  EXPECT_THROW(ApplyFilter(store_, {.min_width_px = -1}), Error);
}

// Meaning: twelve background texts around the first six axes of a space of eight; pictures on the axes 0..5 are what
// the background speaks of, axis 6 is what is asked for, axis 7 what must not be there.
class MeaningTest : public SearchTest {
 protected:
  static std::vector<float> Axis(int axis, float tilt = 0, int other = 0) {
    std::vector<float> vector(8);
    vector[static_cast<size_t>(axis)] = 1;
    vector[static_cast<size_t>(other)] += tilt;
    float norm = 0;
    for (const float v : vector) norm += v * v;
    for (float& v : vector) v /= std::sqrt(norm);
    return vector;
  }
  static Background Texts() {
    std::vector<float> texts;
    for (int i = 0; i < 96; ++i) {
      // small parts in axes 6 and 7 as well: they vary from text to text as everything does
      std::vector<float> text = Axis(i % 6, 0.1f * static_cast<float>(i % 7 - 3), 6 + i % 2);
      texts.insert(texts.end(), text.begin(), text.end());
    }
    return Background(std::move(texts), 8);
  }
  void AddPicture(const std::string& path, std::vector<float> vector, std::vector<Label> labels = {}) {
    Transaction transaction(store_.db());
    ContentRecord content;
    content.hash = path;
    content.analysis = {std::move(labels), std::move(vector)};
    const int64_t model = store_.PutModel({"f", "m", 8});
    store_.PutFile(path, store_.PutRoot("/p"), {}, store_.PutContent(content, model));
    transaction.Commit();
  }
  std::vector<SearchHit> Ask(const std::string& words, std::vector<float> text, const SearchOptions& options = {},
                             std::vector<float> image = {}, std::vector<std::vector<float>> without = {}) {
    Question question = AskInWords(words, {});
    question.text = std::move(text);
    question.image = std::move(image);
    question.without_vectors = std::move(without);
    return SearchFor(store_, cache_.Refresh(store_, "f", 8), &background_, question, {}, options);
  }
  static Strings NamesOf(const std::vector<SearchHit>& hits) {
    Strings names;
    for (const SearchHit& hit : hits) names.emplace_back(FileName(hit.path));
    return names;
  }
  void AddOrdinary(int count) {
    for (int i = 0; i < count; ++i) AddPicture("/p/o" + std::to_string(i), Axis(i % 6, 0.3f, (i + 1 + i / 6 % 5) % 6));
  }

  EmbeddingCache cache_;
  const Background background_ = Texts();
};

TEST_F(MeaningTest, WhatFitsIsFoundAndNothingElse) {
  AddOrdinary(60);
  EXPECT_TRUE(Ask("zebra", Axis(6)).empty());  // nothing found is an answer
  const std::vector<SearchHit> weak = Ask("zebra", Axis(6), {.limit = 5, .all = true});
  ASSERT_EQ(weak.size(), 5u);
  EXPECT_TRUE(weak[0].is_weak);
  EXPECT_LT(weak[0].score, 0.5);
  AddPicture("/p/zebra1", Axis(6, 0.2f, 1));
  AddPicture("/p/zebra2", Axis(6, 0.4f, 2));
  const std::vector<SearchHit> hits = Ask("striped horse", Axis(6));
  EXPECT_EQ(NamesOf(hits), (Strings{"zebra1", "zebra2"}));
  EXPECT_GE(hits[1].score, 0.5);
  EXPECT_EQ(hits[0].why.substr(0, 15), "fits the words ");
  EXPECT_EQ(NamesOf(Ask("striped horse", Axis(6), {.limit = 1})), (Strings{"zebra1"}));
  EXPECT_TRUE(Ask("striped horse", Axis(6), {.limit = 0}).empty());
}

// What was deleted lies in the library for a while: it must neither be found nor make anything else look likely.
TEST_F(MeaningTest, WhatWasDeletedDoesNotCount) {
  AddOrdinary(60);
  for (int i = 0; i < 300; ++i) AddPicture("/p/gone" + std::to_string(i), Axis(6, 0.1f, i % 6));
  for (int i = 0; i < 3; ++i) AddPicture("/p/little" + std::to_string(i), Axis(6, 0.9f, i));
  ASSERT_FALSE(Ask("striped", Axis(6)).empty());
  {
    Transaction transaction(store_.db());
    for (int i = 0; i < 300; ++i) store_.RemoveFile(store_.FindFile("/p/gone" + std::to_string(i), 0)->id);
    transaction.Commit();
  }
  EXPECT_EQ(NamesOf(Ask("striped", Axis(6))), Strings{});
  EXPECT_EQ(Ask("striped", Axis(6), {.limit = 100, .all = true}).size(), 63u);
}

TEST_F(MeaningTest, LabelsAndNamesCountBesideThePicture) {
  AddOrdinary(40);
  AddPicture("/p/both", Axis(6), {{"zebra", 1, 0.6f}});
  AddPicture("/p/shown", Axis(6, 0.05f, 1));
  AddPicture("/p/zebra.jpg", Axis(0));
  const std::vector<SearchHit> hits = Ask("a zebra", Axis(6));
  ASSERT_EQ(hits.size(), 3u);
  EXPECT_EQ(NamesOf(hits)[0], "both");
  EXPECT_NE(hits[0].why.find("fits the words"), std::string::npos) << hits[0].why;
  EXPECT_NE(hits[0].why.find("label: zebra (0.60)"), std::string::npos) << hits[0].why;
  EXPECT_NE(hits[0].why.find(" %; "), std::string::npos) << hits[0].why;
  for (const SearchHit& hit : hits) {
    if (FileName(hit.path) == "zebra.jpg") EXPECT_EQ(hit.why.substr(0, 9), "file name") << hit.why;
  }
  EXPECT_EQ(NamesOf(Ask("zebr", Axis(0, -1, 1))), Strings{});  // no prefixes beside a model that reads
}

TEST_F(MeaningTest, WhatMustNotBeShownIsLeftOut) {
  AddOrdinary(60);
  AddPicture("/p/zebra", Axis(6));
  AddPicture("/p/zebra and car", Axis(6, 0.9f, 7));
  EXPECT_EQ(NamesOf(Ask("striped", Axis(6))).size(), 2u);
  EXPECT_EQ(NamesOf(Ask("striped -vehicle", Axis(6), {}, {}, {Axis(7)})), (Strings{"zebra"}));
  const Strings rest = NamesOf(Ask("-vehicle", {}, {.limit = 100}, {}, {Axis(7)}));
  EXPECT_EQ(rest.size(), 61u);
  EXPECT_EQ(std::count(rest.begin(), rest.end(), "zebra and car"), 0);
}

// Like this picture, but as the words say: neither the picture itself nor what only fits the words comes first.
TEST_F(MeaningTest, APictureAndWordsTogether) {
  AddOrdinary(60);
  AddPicture("/p/like this", Axis(5));
  AddPicture("/p/like this at night", Axis(6, 0.9f, 5));
  AddPicture("/p/night", Axis(6, 0.9f, 3));
  const std::vector<SearchHit> hits = Ask("at night", Axis(6), {.limit = 3, .all = true}, Axis(5));
  ASSERT_EQ(hits.size(), 3u);
  EXPECT_EQ(NamesOf(hits)[0], "like this at night");
  EXPECT_NE(hits[0].why.find("similar picture that fits the words"), std::string::npos) << hits[0].why;
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
    EXPECT_NO_THROW(FindWords(store_, query, {})) << query;
  }
  EXPECT_EQ(Names("dog"), (Strings{"a.jpg"}));
}

TEST_F(SearchTest, ManyMatchesKeepTheBest) {
  for (int i = 0; i < 300; ++i)
    Add("/home/ann/Pictures/" + std::to_string(i) + ".jpg", {{"dog", 1, static_cast<float>((i * 37) % 300) / 300.0f}});
  const std::vector<SearchHit> hits = FindWords(store_, "dog", {.limit = 5});
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
    for (const SearchHit& hit : SearchByVector(store_, *cache.Refresh(store_, "f", 2), at(degrees), {}, options))
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
  const std::vector<SearchHit> hits = SearchByVector(store_, *cache.Refresh(store_, "f", 2), at(0), {}, {});
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
