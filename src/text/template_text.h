// Python's string methods on text that knows who wrote it: what filters and methods of chat templates share.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "text/template_value.h"

namespace fovea::text {

// Without the characters of `characters` (nullopt: white space) at the ends.
MarkedText Strip(const MarkedText& text, std::optional<std::string_view> characters, bool at_left, bool at_right);
// Calls `write(c, is_first_of_word, out)` for each character; marks stay. Words: runs of letters.
MarkedText MapCharacters(const MarkedText& text, const std::function<void(char32_t, bool, std::string&)>& write);
MarkedText Lower(const MarkedText& text);
MarkedText Upper(const MarkedText& text);
MarkedText Capitalize(const MarkedText& text);
// At most `count` times, from the left; negative: always.
MarkedText Replace(const MarkedText& text, const MarkedText& from, const MarkedText& to, int64_t count);
// At `separator` (nullopt: white space), at most `count` times (negative: always).
std::vector<MarkedText> Split(const MarkedText& text, std::optional<std::string_view> separator, int64_t count,
                              bool from_right);
std::vector<MarkedText> SplitLines(const MarkedText& text);

}  // namespace fovea::text
