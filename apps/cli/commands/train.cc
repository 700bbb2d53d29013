// `fovea train`: runs a recipe and shows how it goes. With --json each log line is printed as it goes to metrics.jsonl.
#include <omp.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "fovea/train.h"
#include "output.h"

namespace fovea::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string Number(double value, const char* format) {
  char text[40];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

void PrintMetrics(const std::string& line, Console& console) {
  const auto metrics = OrderedJson::parse(line);
  std::string text = "step " + Count(metrics.at("step").get<int64_t>());
  if (metrics.contains("validation")) {
    text += "  validation:";
    for (const auto& [name, value] : metrics["validation"].items()) {
      if (value.is_number()) text += " " + name + " " + Number(value.get<double>(), "%.4g");
    }
    console.Line(console.Bold(text));
    return;
  }
  console.Line(text + "  loss " + Number(metrics.at("loss").get<double>(), "%.4f") + "  rate " +
               Number(metrics.at("learning_rate").get<double>(), "%.3g") + "  " +
               Number(metrics.at("samples_per_second").get<double>(), "%.1f") + " samples/s  waiting " +
               Percent(metrics.at("wait_share").get<double>()));
}

}  // namespace

Exit Train(const Arguments& arguments, Console& console) {
  if (arguments.threads > 0) omp_set_num_threads(static_cast<int>(arguments.threads));
  int64_t before = -1;  // steps done by earlier parts of a resumed run, which say nothing of the pace
  const TrainOptions options{
      .overrides = arguments.settings,
      .resume = arguments.resume,
      .on_progress =
          [&](const TrainProgress& progress) {
            if (before < 0) {
              before = progress.step - 1;
              console.BeginProgress(progress.total_steps - before);
            }
            if (!progress.metrics.empty()) {
              if (arguments.json) {
                console.Json(OrderedJson::parse(progress.metrics));
              } else {
                PrintMetrics(progress.metrics, console);
              }
            }
            console.Progress(progress.step - before, progress.total_steps - before, 0);
          },
      .on_note = [&](const std::string& note) { console.Note(Printable(note)); },
      .cancel = &interrupted,
  };
  const TrainReport report = Train(arguments.recipe, options);
  console.EndProgress();
  if (report.interrupted) {
    console.Note("stopped after step " + Count(report.steps) + "; --resume goes on");
    return kInterrupted;
  }
  if (report.process > 0) return kDone;
  if (arguments.json) {
    OrderedJson object = {{"done", true}, {"model", report.folder}, {"steps", report.steps}};
    if (!report.metric.empty()) object[report.metric] = report.best;
    object["seconds"] = std::round(report.seconds * 1000) / 1000;
    object["wait_share"] = std::round(report.wait_share * 1e4) / 1e4;
    console.Json(object);
  } else {
    std::string text =
        console.Bold(Printable(report.folder)) + ": " + Count(report.steps) + " steps in " + Duration(report.seconds);
    if (!report.metric.empty())
      text += ", best " + report.metric + " " + Number(report.best, "%.4f") + " at step " + Count(report.best_step);
    console.Line(text + ", waited for data " + Percent(report.wait_share) + " of the time");
  }
  return console.has_write_error() ? kSomeFailed : kDone;
}

}  // namespace fovea::cli
