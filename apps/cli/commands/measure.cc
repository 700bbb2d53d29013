// `fovea verify`: how close a model is to its reference.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands/common.h"
#include "fovea/eval.h"

namespace fovea::cli {
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
