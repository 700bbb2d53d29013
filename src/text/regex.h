// Regular expressions of tokenizer.json. The reference uses Oniguruma with Ruby's syntax over its own Unicode version;
// this class compiles with PCRE2, rewrites what the two write differently, and refuses what it cannot rewrite
// (kUnimplemented). Characters that PCRE2's older tables do not know are matched as a known character of the same
// class.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace fovea::text {

class Regex {
 public:
  // Throws kCorruptData for a pattern that does not compile, naming `source`.
  Regex(std::string_view pattern, const std::string& source);
  // A pattern that matches `text` itself.
  static Regex Literal(std::string_view text, const std::string& source);

  // Calls `found(begin, end)` for the matches in order. No empty match directly behind another match. `text` is valid
  // UTF-8. Throws kResourceExhausted when a pattern backtracks without end.
  void ForEachMatch(std::string_view text, const std::function<void(size_t, size_t)>& found) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

// {"String": ...} or {"Regex": ...} of tokenizer.json.
Regex PatternFromJson(const nlohmann::json& json, const std::string& source);

}  // namespace fovea::text
