#include "runtime/stop_filter.h"

#include <algorithm>
#include <utility>

namespace fovea::runtime {

StopFilter::StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopFilter::Push(std::string_view piece) {
  if (has_stopped_) return "";
  held_ += piece;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    has_stopped_ = true;
    held_.resize(first);
    return std::exchange(held_, "");
  }
  // The longest end of the text that begins a stop string stays.
  size_t kept = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > kept; --n) {
      if (held_.ends_with(std::string_view(stop).substr(0, n))) kept = n;
    }
  }
  std::string certain = held_.substr(0, held_.size() - kept);
  held_.erase(0, held_.size() - kept);
  return certain;
}

std::string StopFilter::Finish() { return std::exchange(held_, ""); }

}  // namespace fovea::runtime
