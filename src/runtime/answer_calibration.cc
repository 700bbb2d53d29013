#include "runtime/answer_calibration.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace fovea::runtime {
namespace {

base::Config ConfigOf(const std::string& file) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return base::Config::Parse("{}", file);
  return base::Config::Parse(base::ReadTextFile(file, 1 << 20), base::PrintableUtf8(file));
}

std::optional<IsotonicFit> FitOf(const base::Config& config, const char* kind) {
  if (!config.Has(kind)) return std::nullopt;
  const base::Config points = config.Object(kind);
  return IsotonicFit::FromPoints(points.Require<std::vector<double>>("confidence"),
                                 points.Require<std::vector<double>>("right"));
}

}  // namespace

std::optional<std::string> ReadCaptionRequest(const std::string& folder) {
  const base::Config config = ConfigOf(folder + "/generation_config.json");
  if (!config.Has("caption_request")) return std::nullopt;
  return config.Require<std::string>("caption_request");
}

AnswerCalibration ReadAnswerCalibration(const std::string& folder) {
  const base::Config config = ConfigOf(folder + "/calibration.json");
  return {.caption = FitOf(config, "caption"), .answer = FitOf(config, "answer")};
}

void WriteAnswerCalibration(const std::string& file, const std::string& kind, const IsotonicFit& fit) {
  nlohmann::json all = ConfigOf(file).json();
  all[kind] = {{"confidence", fit.scores()}, {"right", fit.values()}};
  base::WriteTextFileAtomically(file, all.dump(1) + "\n");
}

}  // namespace fovea::runtime
