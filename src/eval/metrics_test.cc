#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "eval/linear_probe.h"
#include "fovea/eval.h"
#include "testing/golden.h"

namespace fovea {
namespace {

nlohmann::json Golden() {
  const std::string path = testing::SourcePath("tests/golden/eval/measures.json");
  return base::ParseJson(base::ReadTextFile(path), path);
}

void ExpectDirection(const RetrievalDirection& found, const nlohmann::json& wanted) {
  EXPECT_DOUBLE_EQ(found.recall_at_1, wanted["r1"]);
  EXPECT_DOUBLE_EQ(found.recall_at_5, wanted["r5"]);
  EXPECT_DOUBLE_EQ(found.recall_at_10, wanted["r10"]);
  EXPECT_DOUBLE_EQ(found.median_rank, wanted["median"]);
}

TEST(Measures, RetrievalMatchesNumpy) {
  const nlohmann::json golden = Golden()["retrieval"];
  const auto images = golden["images"].get<std::vector<float>>(), texts = golden["texts"].get<std::vector<float>>();
  const auto owner = golden["owner"].get<std::vector<int64_t>>();
  const RetrievalReport report = MeasureRetrieval(images, texts, golden["dim"], owner);
  EXPECT_EQ(report.images, 40);
  EXPECT_EQ(report.texts, 120);
  ExpectDirection(report.image_to_text, golden["image_to_text"]);
  ExpectDirection(report.text_to_image, golden["text_to_image"]);
}

TEST(Measures, TiesAndNansCountAgainstUs) {
  const std::vector<float> same(4, 1.0f);
  const std::vector<int64_t> owner = {0, 1};
  EXPECT_EQ(MeasureRetrieval(same, same, 2, owner).text_to_image.recall_at_1, 0.0);
  const std::vector<float> scores = {NAN, 1.0f, 0.5f, NAN};
  const std::vector<int64_t> labels = {0, 0};
  EXPECT_EQ(MeasureClassification(scores, labels, 2).top1, 0.5);
}

TEST(Measures, NeighboursAndProbeMatchTheReference) {
  const nlohmann::json golden = Golden()["classes"];
  const auto train = golden["train"].get<std::vector<float>>(), test = golden["test"].get<std::vector<float>>();
  const auto train_labels = golden["train_labels"].get<std::vector<int64_t>>();
  const auto test_labels = golden["test_labels"].get<std::vector<int64_t>>();
  const LabelledVectors known{train, train_labels}, asked{test, test_labels};
  const auto knn =
      MeasureKnn(known, asked, {.dim = golden["dim"], .classes = golden["classes"], .k = golden["knn"]["k"]});
  EXPECT_EQ(knn.confusion, golden["knn"]["confusion"].get<std::vector<int64_t>>());
  const auto probe = MeasureLinearProbe(
      known, asked, {.dim = golden["dim"], .classes = golden["classes"], .penalty = golden["probe"]["penalty"]});
  EXPECT_EQ(probe.confusion, golden["probe"]["confusion"].get<std::vector<int64_t>>());
  EXPECT_EQ(probe.n, 50);
  EXPECT_EQ(probe.top5, 1.0);
}

TEST(Measures, AWarmStartOfTheProbeEndsWhereAColdOneDoes) {
  const nlohmann::json golden = Golden()["classes"];
  const auto train = golden["train"].get<std::vector<float>>();
  const auto labels = golden["train_labels"].get<std::vector<int64_t>>();
  LinearProbeOptions options{.dim = golden["dim"], .classes = golden["classes"], .penalty = 10};
  const std::vector<double> strong = eval::FitLinearProbe({train, labels}, options);
  options.penalty = golden["probe"]["penalty"];
  const std::vector<double> cold = eval::FitLinearProbe({train, labels}, options),
                            warm = eval::FitLinearProbe({train, labels}, options, strong);
  double worst = 0, moved = 0;
  const size_t penalised = cold.size() - static_cast<size_t>(options.classes);  // biases may all move by a constant
  for (size_t i = 0; i < penalised; ++i) {
    worst = std::max(worst, std::abs(cold[i] - warm[i]));
    moved = std::max(moved, std::abs(cold[i] - strong[i]));
  }
  EXPECT_LT(worst, 5e-3);
  EXPECT_GT(moved, 0.1);
}

TEST(Measures, RefusesWhatDoesNotFit) {
  const std::vector<float> values(6, 0.0f);
  const std::vector<int64_t> labels = {0, 3}, owner = {0, 0};
  testing::ExpectError([&] { MeasureClassification(values, labels, 3); }, "labels in [0,3), got 3");
  testing::ExpectError([&] { MeasureRetrieval(values, values, 3, owner); }, "a picture has no text");
}

}  // namespace
}  // namespace fovea
