// The list of words for things that can be seen, made by tools/make_things.py.
#pragma once

#include <vector>

namespace fovea::library {

struct ThingsOfKind {
  const char* kind;
  const char* words;  // separated by spaces; forms of one word joined by "/", the singular first; "_" for a space
};
const std::vector<ThingsOfKind>& ThingsTable();

}  // namespace fovea::library
