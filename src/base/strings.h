// Small text helpers: concatenation of anything printable, joining, splitting. No locale, no allocation surprises.
#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::base {

// Concatenates the printed form of all arguments.
template <typename... Parts>
std::string StrCat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

// "a, b, c" for any range of printable values.
template <typename Range>
std::string Join(const Range& range, std::string_view separator = ", ") {
  std::ostringstream out;
  bool first = true;
  for (const auto& item : range) {
    if (!first) out << separator;
    out << item;
    first = false;
  }
  return std::move(out).str();
}

// Splits at every `separator`; "a,,b" gives three pieces, "" gives one empty piece.
std::vector<std::string> Split(std::string_view text, char separator);

// ASCII lower case; other bytes unchanged.
std::string AsciiLower(std::string_view text);

// Text made safe for a terminal and for JSON: control characters and invalid UTF-8 become U+FFFD.
std::string PrintableUtf8(std::string_view bytes);

}  // namespace fovea::base
