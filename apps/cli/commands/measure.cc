// `fovea eval` and `fovea verify`: how good a model is, and how close to its reference.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands/common.h"
#include "fovea/eval.h"

namespace fovea::cli {
Exit Eval(const Arguments& arguments, Console& console) {
  UseThreads(arguments);
  const Model model = LoadModel(arguments);
  int64_t failed = 0;
  console.BeginProgress(0);
  const EvaluateOptions options{
      .on_progress =
          [&](int64_t done) {
            console.Progress(done, 0, failed);
            if (interrupted) throw Error(ErrorCode::kCancelled, "interrupted");
          },
      .on_failure =
          [&](const std::string& key, const std::string& reason) {
            ++failed;
            console.Failure(key, reason);
          },
  };
  const ClassifyMetrics metrics = EvaluateClassify(model, arguments.shards, options);
  console.EndProgress();
  if (arguments.json) {
    console.Json({{"task", arguments.task},
                  {"model", model.info().name},
                  {"n", metrics.n},
                  {"failed", metrics.failed},
                  {"top1", metrics.top1},
                  {"top5", metrics.top5},
                  {"seconds", std::round(metrics.seconds * 1000) / 1000}});
  } else {
    console.Line("top-1 " + console.Bold(Percent(metrics.top1)) + ", top-5 " + console.Bold(Percent(metrics.top5)) +
                 " of " + Count(metrics.n) + " pictures in " + Duration(metrics.seconds));
  }
  return ExitFor(metrics.failed, console);
}

Exit Verify(const Arguments& arguments, Console& console) {
  UseThreads(arguments);
  const std::vector<StageReport> reports = fovea::Verify(arguments.model, arguments.golden);
  int64_t failed = 0;
  int width = 0;
  for (const StageReport& report : reports) width = std::max(width, static_cast<int>(report.stage.size()));
  const StageReport* worst = &reports.front();
  for (const StageReport& report : reports) {
    failed += !report.ok;
    if (report.max_rel > worst->max_rel) worst = &report;
    if (arguments.json) {
      console.Json({{"stage", report.stage},
                    {"max_abs", report.max_abs},
                    {"max_rel", report.max_rel},
                    {"tolerance", report.tolerance},
                    {"ok", report.ok}});
      continue;
    }
    char numbers[80];
    std::snprintf(numbers, sizeof numbers, "%10.3g %10.3g  ", report.max_abs, report.max_rel);
    console.Line(PadRight(Printable(report.stage), width) + numbers +
                 (report.ok ? console.Green("ok") : console.Yellow("differs")));
  }
  if (!arguments.json) {
    char share[32];
    std::snprintf(share, sizeof share, "%.3g", worst->max_rel);
    console.Line(failed == 0 ? console.Green("all " + Count(static_cast<int64_t>(reports.size())) + " stages agree") +
                                   "; largest error " + share + " of the scale, in " + Printable(worst->stage)
                             : console.Yellow(Count(failed) + " of " + Count(static_cast<int64_t>(reports.size())) +
                                              " stages differ"));
  }
  return ExitFor(failed, console);
}

}  // namespace fovea::cli
