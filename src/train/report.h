// report.html: the curves of a run in one file that needs nothing else.
#pragma once

#include <string>

namespace fovea::train {

// From the lines of metrics.jsonl, with `examples` (HTML) at the end. Lines that are no JSON are passed over.
std::string ReportHtml(const std::string& title, const std::string& metrics_lines, const std::string& examples = "");

// `text` as it may stand in a page or in an attribute in single quotes.
std::string EscapedHtml(const std::string& text);

}  // namespace fovea::train
