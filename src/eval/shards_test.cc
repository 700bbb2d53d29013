// Evaluation over shards, on a tiny CLIP and pictures of the tree: what comes out is computed again here from the
// model's vectors, the plain way.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/parallel.h"
#include "eval/bootstrap.h"
#include "testing/golden.h"
#include "testing/shard.h"

namespace fovea {
namespace {

const char* const kPictures[] = {"astronaut", "cat", "coffee", "coins", "flower", "rocket", "temple", "motorcycle"};

class Shards : public ::testing::Test {
 protected:
  static std::string Bytes(const std::string& name) {
    return base::ReadTextFile(testing::SourcePath("samples/" + name + ".jpg"));
  }
  static std::string Captions(size_t count, const std::string& name) {
    nlohmann::json notes = {{"captions", nlohmann::json::array()}};
    for (size_t i = 0; i < count; ++i) notes["captions"].push_back(name + " in picture " + std::to_string(i));
    return notes.dump();
  }
  std::vector<std::string> Write(const std::vector<std::pair<std::string, std::string>>& files) {
    paths_.push_back(folder_.File(std::to_string(paths_.size()) + ".tar"));
    testing::WriteShard(paths_.back(), files);
    return {paths_.back()};
  }

  testing::TemporaryFolder folder_;
  std::vector<std::string> paths_;
  Model model_ = Model::Load(testing::SourcePath("tests/golden/clip_tiny"));
  LabelOptions uncached_{.cache_folder = ""};
};

double Cosine(const std::vector<float>& a, const std::vector<float>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

TEST_F(Shards, RetrievalWithSeveralCaptionsIsWhatCountingGives) {
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<Image> images;
  std::vector<std::string> texts;
  std::vector<size_t> owner;
  for (size_t n = 0; n < std::size(kPictures); ++n) {
    const std::string key = "a/" + std::to_string(n), name = kPictures[n];
    const size_t count = 1 + n % 3;
    files.insert(files.end(), {{key + ".jpg", Bytes(name)}, {key + ".json", Captions(count, name)}});
    images.push_back(ReadImage(testing::SourcePath("samples/" + name + ".jpg")));
    for (size_t i = 0; i < count; ++i) {
      texts.push_back(name + " in picture " + std::to_string(i));
      owner.push_back(n);
    }
  }
  files.push_back({"b.jpg", Bytes("cat")});  // no caption: passed over
  files.insert(files.end(), {{"c.jpg", "no picture"}, {"c.json", Captions(1, "c")}});
  files.insert(files.end(), {{"d.jpg", Bytes("cat")}, {"d.json", "no json"}});
  const auto image_vectors = model_.EmbedImages(images), text_vectors = model_.EmbedTexts(texts);

  std::vector<std::string> failures;
  const RetrievalMetrics metrics =
      EvaluateRetrieval(model_, Write(files),
                        {.on_failure = [&](const std::string& key, const std::string&) { failures.push_back(key); }});
  EXPECT_EQ(failures, (std::vector<std::string>{"d", "c"}));  // pictures are decoded a batch later
  EXPECT_EQ(metrics.failed, 2);
  EXPECT_EQ(metrics.without, 1);
  EXPECT_EQ(metrics.report.images, 8);
  EXPECT_EQ(metrics.report.texts, static_cast<int64_t>(texts.size()));
  for (size_t n = 0; n < images.size(); ++n) {
    double best = -1;
    for (size_t m = 0; m < texts.size(); ++m)
      if (owner[m] == n) best = std::max(best, Cosine(image_vectors[n], text_vectors[m]));
    int64_t rank = 1;  // ties count against the model, and this one's tiny vocabulary makes some
    for (size_t m = 0; m < texts.size(); ++m)
      rank += owner[m] != n && Cosine(image_vectors[n], text_vectors[m]) >= best ? 1 : 0;
    EXPECT_EQ(metrics.report.image_to_text.ranks[n], rank) << n;
  }
  int64_t first_hits = 0;
  for (size_t m = 0; m < texts.size(); ++m) {
    int64_t better = 0;
    for (size_t n = 0; n < images.size(); ++n)
      better += Cosine(image_vectors[n], text_vectors[m]) > Cosine(image_vectors[owner[m]], text_vectors[m]) ? 1 : 0;
    EXPECT_EQ(metrics.report.text_to_image.ranks[m], better + 1) << m;
    first_hits += better == 0 ? 1 : 0;
  }
  EXPECT_DOUBLE_EQ(metrics.report.text_to_image.recall_at_1,
                   static_cast<double>(first_hits) / static_cast<double>(texts.size()));
  EXPECT_LE(metrics.text_to_image.median_rank.low, metrics.report.text_to_image.median_rank);
  EXPECT_GE(metrics.text_to_image.median_rank.high, metrics.report.text_to_image.median_rank);
  EXPECT_EQ(EvaluateRetrieval(model_, paths_, {.max_samples = 3}).report.images, 3);
  testing::ExpectError([&] { EvaluateRetrieval(model_, Write({{"b.jpg", Bytes("cat")}})); }, "captions, found none");
}

TEST_F(Shards, GivenClassesAreFoundByNameOrByPosition) {
  const std::vector<std::string> names = {"cat", "coffee", "rocket"};
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<Image> images;
  for (size_t n = 0; n < names.size(); ++n) {
    images.push_back(ReadImage(testing::SourcePath("samples/" + names[n] + ".jpg")));
    const nlohmann::json notes = {
        {"labels", {{"class_index", (n + 1) % 3}, {"name", names[n]}, {"thing", names[n] + "s"}}}};
    const std::string key = std::to_string(n);
    files.insert(files.end(), {{key + ".jpg", Bytes(names[n])}, {key + ".json", notes.dump()}});
  }
  const std::vector<std::string> shard = Write(files);
  const LabelSet labels = model_.PrepareLabels(names, uncached_);
  const auto predictions = model_.Classify(images, labels, {.top_k = 1});
  double by_name = 0, by_index = 0;
  for (size_t n = 0; n < 3; ++n) {
    by_name += predictions[n][0].name == names[n] ? 1.0 / 3 : 0;
    by_index += predictions[n][0].index == static_cast<int64_t>((n + 1) % 3) ? 1.0 / 3 : 0;
  }
  const ClassifyMetrics named = EvaluateClassify(model_, labels, shard);
  EXPECT_EQ(named.n, 3);
  EXPECT_NEAR(named.top1, by_name, 1e-12);
  EXPECT_EQ(named.top5, 1.0);
  EXPECT_NEAR(named.majority, 1.0 / 3, 1e-12);
  EXPECT_NEAR(EvaluateClassify(model_, labels, shard, {}, "class_index").top1, by_index, 1e-12);
  std::string reason;
  const EvaluateOptions telling{.on_failure = [&](const std::string&, const std::string& why) { reason = why; }};
  EXPECT_EQ(EvaluateClassify(model_, labels, shard, telling, "thing").failed, 3);
  EXPECT_NE(reason.find("2 is a \"rockets\", which is none of the 3 classes"), std::string::npos) << reason;
  EXPECT_EQ(EvaluateClassify(model_, labels, shard, telling, "colour").failed, 3);
  EXPECT_NE(reason.find("2 has no label \"colour\""), std::string::npos) << reason;
  EXPECT_EQ(LabelsInShards(shard, "thing"), (std::vector<std::string>{"cats", "coffees", "rockets"}));
}

TEST_F(Shards, ColoursAreLearntFromEmbeddings) {
  const char* const names[] = {"blue", "green", "red"};
  std::vector<std::string> shards;
  for (const int count : {12, 4}) {
    std::vector<std::pair<std::string, std::string>> files;
    for (int i = 0; i < 3 * count; ++i) {
      Image image = Image::Allocate(24, 24);
      for (int64_t at = 0; at < image.size_bytes(); ++at)
        image.rgb.get()[at] = static_cast<uint8_t>((at % 3 == 2 - i % 3 ? 130 : 30) + (at * 7919 + i * 104729) % 101);
      WritePng(folder_.File("picture.png"), image);
      const std::string key = std::to_string(i);
      files.insert(files.end(), {{key + ".png", base::ReadTextFile(folder_.File("picture.png"))},
                                 {key + ".json", nlohmann::json{{"colour", names[i % 3]}}.dump()}});
    }
    shards.push_back(Write(files)[0]);
  }
  const ClassifyMetrics knn = EvaluateKnn(model_, {shards[0]}, {shards[1]}, "colour", {.k = 5});
  EXPECT_EQ(knn.train_n, 36);
  EXPECT_EQ(knn.n, 12);
  EXPECT_EQ(knn.classes, 3);
  EXPECT_EQ(knn.top1, 1.0);
  double penalty = 0;
  EXPECT_EQ(EvaluateLinearProbe(model_, {shards[0]}, {shards[1]}, "colour", {.penalty = -1}, {}, &penalty).top1, 1.0);
  EXPECT_GT(penalty, 0);
  testing::ExpectError([&] { EvaluateKnn(model_, {shards[0]}, {shards[1]}, "size", {}); },
                       "at least two values of \"size\"");
}

TEST(Bootstrap, IntervalsAreThoseOfTheBinomialAndIgnoreThreads) {
  constexpr int64_t kUnits = 400;
  std::vector<double> hits(kUnits), ones(kUnits, 1.0);
  for (size_t i = 0; i < hits.size(); ++i) hits[i] = i % 4 == 0 ? 1 : 0;
  const EvaluateOptions options{.resamples = 4000, .seed = 3};
  const Interval interval = eval::BootstrapMeans(hits, ones, 1, options)[0];
  const double half = 1.96 * std::sqrt(0.25 * 0.75 / kUnits);
  EXPECT_NEAR(interval.low, 0.25 - half, 0.1 * half);
  EXPECT_NEAR(interval.high, 0.25 + half, 0.1 * half);
  const base::ThreadLimit limit(1);
  const Interval alone = eval::BootstrapMeans(hits, ones, 1, options)[0];
  EXPECT_EQ(alone.low, interval.low);
  EXPECT_EQ(alone.high, interval.high);
  EXPECT_TRUE(std::isnan(eval::BootstrapMeans(hits, ones, 1, {.resamples = 0})[0].low));
  testing::ExpectError([&] { eval::BootstrapMeans(hits, ones, 1, {.resamples = -1}); }, "got -1");
}

}  // namespace
}  // namespace fovea
