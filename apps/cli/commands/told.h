// What the commands that describe pictures share: what was made of one picture, for people and for programs.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "commands/common.h"

namespace fovea::cli {

struct Told {
  Json object;  // without the path
  std::string line;
};

inline double FourDigits(double value) { return std::round(value * 1e4) / 1e4; }

inline Told Tell(const char* key, const std::string& text, double confidence, const Console& console) {
  return {{{key, Printable(text)}, {"confidence", FourDigits(confidence)}},
          Printable(text) + "  " + console.Dim(Percent(confidence))};
}

}  // namespace fovea::cli
