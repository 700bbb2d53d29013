// The English stemmer of Snowball ("Porter2", https://snowballstem.org/algorithms/english/stemmer.html): words that
// differ by their endings get the same stem. METEOR compares stems where words differ.
#pragma once

#include <string>
#include <string_view>

namespace fovea::eval {

// The stem of a word in lower case. Words of at most two bytes, and what is no English word, come back as they are or
// with an ending taken off, as the reference does it.
std::string EnglishStem(std::string_view word);

}  // namespace fovea::eval
