// Ends a stream of text before any of some strings, and holds back what might become one of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fovea::runtime {

class StopFilter {
 public:
  // Empty strings are left out.
  explicit StopFilter(std::vector<std::string> stops);

  // The text that is certain with `piece`, often "". After a stop string nothing comes any more.
  std::string Push(std::string_view piece);
  // What was held back.
  std::string Finish();
  bool has_stopped() const { return has_stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool has_stopped_ = false;
};

}  // namespace fovea::runtime
