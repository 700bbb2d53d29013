#include "train/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/strings.h"

namespace fovea::train {
namespace {

using nlohmann::json;

struct Point {
  double step, value;
};

std::string Short(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

// A line chart of 640 x 220 with its range written at the axes.
std::string Chart(const std::string& title, const std::vector<Point>& points) {
  if (points.empty()) return "";
  double low = points[0].value, high = low;
  for (const Point& point : points) {
    low = std::min(low, point.value);
    high = std::max(high, point.value);
  }
  const double first = points.front().step, last = std::max(points.back().step, first + 1);
  const double range = high > low ? high - low : 1;
  std::string line;
  for (const Point& point : points) {
    line += base::StrCat(line.empty() ? "" : " ", Short(60 + 560 * (point.step - first) / (last - first)), ",",
                         Short(190 - 160 * (point.value - low) / range));
  }
  return base::StrCat("<h2>", title, "</h2><svg viewBox='0 0 640 220' role='img' aria-label='", title,
                      "'><path d='M60 20V190H625' class='axis'/><polyline points='", line,
                      "'/><text x='55' y='34' class='y'>", Short(high), "</text><text x='55' y='192' class='y'>",
                      Short(low), "</text><text x='60' y='210'>step ", Short(first),
                      "</text><text x='620' y='210' class='y'>", Short(last),
                      "</text><text x='620' y='16' class='y'>last ", Short(points.back().value), "</text></svg>\n");
}

std::string ClassTable(const json& classes) {
  std::string rows;
  for (const json& entry : classes) {
    const double n = entry.value("n", 0.0), found = entry.value("found", 0.0);
    rows += base::StrCat("<tr><td>", EscapedHtml(entry.value("class", "")), "</td><td>", Short(n), "</td><td>",
                         Short(n > 0 ? std::round(1000 * found / n) / 10 : 0), " %</td><td>",
                         EscapedHtml(entry.value("mostly_taken_for", "")), "</td></tr>\n");
  }
  return "<h2>Classes at the last validation</h2><table><tr><th>class</th><th>pictures</th><th>found</th><th>mostly "
         "taken for</th></tr>\n" +
         rows + "</table>\n";
}

}  // namespace

std::string EscapedHtml(const std::string& text) {
  std::string escaped;
  for (const char c : base::PrintableUtf8(text)) {
    if (c == '<')
      escaped += "&lt;";
    else if (c == '>')
      escaped += "&gt;";
    else if (c == '&')
      escaped += "&amp;";
    else if (c == '"')
      escaped += "&quot;";
    else if (c == '\'')
      escaped += "&#39;";
    else
      escaped += c;
  }
  return escaped;
}

std::string ReportHtml(const std::string& title, const std::string& metrics_lines, const std::string& examples) {
  const std::pair<const char*, const char*> curves[] = {{"loss", "Training loss"},
                                                        {"learning_rate", "Learning rate"},
                                                        {"gradient_norm", "Norm of the gradient"},
                                                        {"samples_per_second", "Samples a second"}};
  std::vector<std::vector<Point>> training(std::size(curves));
  std::map<std::string, std::vector<Point>> validation;
  json classes;
  for (const std::string& line : base::Split(metrics_lines, '\n')) {
    const json object = json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number()) continue;
    const double step = object["step"];
    for (size_t i = 0; i < std::size(curves); ++i) {
      const auto found = object.find(curves[i].first);
      if (found != object.end() && found->is_number()) training[i].push_back({step, *found});
    }
    if (!object.contains("validation")) continue;
    for (const auto& [name, value] : object["validation"].items()) {
      if (value.is_number() && name != "n") validation[name].push_back({step, value});
    }
    if (object["validation"].contains("classes")) classes = object["validation"]["classes"];
  }
  std::string html = base::StrCat(
      "<!doctype html><html lang='en'><meta charset='utf-8'><title>", EscapedHtml(title),
      "</title><style>body{font:15px system-ui,sans-serif;max-width:720px;margin:2em auto;padding:0 1em;color:#222}"
      "h1{font-size:1.4em}h2{font-size:1em;margin:1.5em 0 "
      ".2em}svg{width:100%}polyline{fill:none;stroke:#0b6;stroke-width:2}"
      ".axis{fill:none;stroke:#999}text{font-size:11px;fill:#666}.y{text-anchor:end}table{border-collapse:collapse}"
      "td,th{padding:.2em .8em .2em 0;text-align:left;border-bottom:1px solid #ddd}</style>\n<h1>",
      EscapedHtml(title), "</h1>\n");
  for (const auto& [name, points] : validation) html += Chart("Validation: " + EscapedHtml(name), points);
  for (size_t i = 0; i < std::size(curves); ++i) html += Chart(curves[i].second, training[i]);
  if (classes.is_array()) html += ClassTable(classes);
  return html + examples + "</html>\n";
}

}  // namespace fovea::train
