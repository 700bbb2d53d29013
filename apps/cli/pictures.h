// From the arguments of a command to pictures: folders are expanded, many pictures are worked on at once, and the
// results come out in the order of the input with bounded memory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fovea/error.h"
#include "fovea/image.h"
#include "fovea/model.h"

namespace fovea::cli {

// One picture to work on, or why there is none.
struct Input {
  std::string path;
  std::optional<Error> error;
};

// Files stay as they are, whatever their name. A folder gives the pictures in it and below, by file name extension and
// sorted by path; hidden entries are skipped. Links to folders are followed; one that leads back into itself is an
// input with an error, as is a folder that cannot be read or holds no picture.
std::vector<Input> ExpandInputs(const std::vector<std::string>& arguments);

// What became of one picture.
struct Outcome {
  Analysis analysis;
  double ms = 0;  // decoding and model together
  std::optional<Error> error;
};

// Reads every input and calls `see` on it, on up to `threads` workers with one thread each (a single input gets all
// threads), and hands the outcomes to `consume` in input order, on the calling thread. Nothing throws out of a worker:
// errors are outcomes. Stops early when `consume` returns false or `interrupted` is set, after the pictures in flight;
// returns the number consumed.
int64_t ForEachPicture(const std::vector<Input>& inputs, int threads, const std::function<Analysis(const Image&)>& see,
                       const std::function<bool(int64_t index, Outcome outcome)>& consume);

}  // namespace fovea::cli
