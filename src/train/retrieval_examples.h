// Captions of the validation data with the pictures a model finds for them, as a piece of an HTML page that needs no
// other file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/data/loader.h"

namespace fovea::train {

struct RetrievalExamples {
  int64_t dim = 0;
  std::vector<float> images, texts;   // [N,dim], [M,dim], unit length
  std::vector<std::string> captions;  // [M]
  std::vector<int64_t> owner;         // [M], the picture of each caption
  std::vector<std::string> keys;      // [N]
  std::vector<SamplePlace> places;    // [N]
};

// `captions_shown` captions, evenly chosen, each with the `pictures_shown` best pictures; the right one has a frame. A
// picture that cannot be read is shown by its name.
std::string RetrievalExamplesHtml(const RetrievalExamples& examples, const Loader& loader, int64_t captions_shown = 8,
                                  int64_t pictures_shown = 4);

}  // namespace fovea::train
