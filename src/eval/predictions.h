// Files of predictions: JSON Lines, one object of texts a line.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace fovea::eval {

// Calls add(fields) for each line of `path` with the values of `names` in their order; other keys are passed over, and
// so are empty lines. `add` returns false for what was there already. Throws kNotFound, kIo, kResourceExhausted above
// 1 GiB, and kCorruptData naming the line.
void ForEachPrediction(const std::string& path, const std::vector<std::string>& names,
                       const std::function<bool(std::vector<std::string> fields)>& add);

}  // namespace fovea::eval
