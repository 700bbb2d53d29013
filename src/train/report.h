// report.html: the curves of a run in one file that needs nothing else.
#pragma once

#include <string>

namespace fovea::train {

// From the lines of metrics.jsonl. Lines that are no JSON are passed over.
std::string ReportHtml(const std::string& title, const std::string& metrics_lines);

}  // namespace fovea::train
