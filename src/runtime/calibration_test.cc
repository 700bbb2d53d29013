#include "runtime/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "testing/golden.h"

namespace fovea::runtime {
namespace {

nlohmann::json Golden() {
  return nlohmann::json::parse(base::ReadTextFile(testing::SourcePath("tests/golden/runtime/calibration.json")));
}

TEST(Calibration, BinsAndScoresAreThoseOfScikitLearn) {
  const nlohmann::json golden = Golden()["outcomes"];
  const auto confidence = golden["confidence"].get<std::vector<double>>();
  const auto hit = golden["hit"].get<std::vector<uint8_t>>();
  EXPECT_NEAR(BrierScore({confidence, hit}), golden["brier"], 1e-12);
  for (const auto& wanted : golden["reliability"]) {
    const auto bins = Reliability({confidence, hit}, wanted["bins"],
                                  wanted["kind"] == "uniform" ? Bins::kEqualWidth : Bins::kEqualMass);
    ASSERT_EQ(bins.size(), wanted["n"].size()) << wanted["kind"];
    for (size_t i = 0; i < bins.size(); ++i) {
      EXPECT_EQ(bins[i].n, wanted["n"][i]) << wanted["kind"] << i;
      EXPECT_NEAR(bins[i].confidence, wanted["confidence"][i], 1e-12);
      EXPECT_NEAR(bins[i].hits, wanted["hits"][i], 1e-12);
    }
    EXPECT_NEAR(ExpectedCalibrationError(bins), wanted["ece"], 1e-12);
  }
}

TEST(Calibration, TheTemperatureIsThatOfScipy) {
  const nlohmann::json golden = Golden()["temperature"];
  const auto logits = golden["logits"].get<std::vector<float>>();
  const auto labels = golden["labels"].get<std::vector<int64_t>>();
  const LabelledLogits data{logits, labels, golden["classes"]};
  EXPECT_NEAR(FitTemperature(data), golden["best"], 1e-5);
  for (const auto& at : golden["at"]) {
    EXPECT_NEAR(LogLoss(data, at["temperature"]), at["loss"], 1e-6);
    EXPECT_NEAR(MulticlassBrierScore(data, at["temperature"]), at["brier"], 1e-6);
  }
  const std::vector<float> right = {3, 1, 0, 2};
  const std::vector<int64_t> truth = {0, 1};
  EXPECT_NEAR(FitTemperature({right, truth, 2}), 0.01, 1e-9);  // nothing is wrong: as sure as the range allows
}

TEST(Calibration, TheMonotoneMapIsThatOfScikitLearn) {
  for (const auto& wanted : Golden()["isotonic"]) {
    const auto scores = wanted["scores"].get<std::vector<double>>(),
               targets = wanted["targets"].get<std::vector<double>>(),
               weights = wanted["weights"].get<std::vector<double>>();
    const IsotonicFit fit = IsotonicFit::Fit(scores, targets, weights);
    for (size_t i = 0; i < wanted["asked"].size(); ++i)
      EXPECT_NEAR(fit(wanted["asked"][i]), wanted["values"][i], 1e-9) << wanted["asked"][i];
  }
}

TEST(Calibration, RefusesWhatDoesNotFit) {
  const std::vector<double> confidence = {0.5, 1.5}, weights = {1, 0};
  const std::vector<uint8_t> hit = {1, 0};
  const std::vector<float> logits = {0, NAN};
  const std::vector<int64_t> labels = {2};
  testing::ExpectError([&] { BrierScore({confidence, hit}); }, "in [0,1], got 1.5");
  testing::ExpectError([&] { Reliability({confidence, {}}); }, "as many confidences");
  testing::ExpectError([&] { FitTemperature({logits, labels, 2}); }, "labels in [0,2), got 2");
  testing::ExpectError([&] { IsotonicFit::Fit(confidence, confidence, weights); }, "weights above 0");
}

}  // namespace
}  // namespace fovea::runtime
