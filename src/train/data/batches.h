// What a training step gets, and where batches come from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "train/data/samples.h"

namespace fovea::train {

// What a decoder learns to write about one of a batch's pictures, after a prompt, which may be empty.
struct LearntText {
  int64_t picture;  // row of the batch
  std::string prompt, target;
};

struct Batch {
  Tensor pixels;                      // [B,Y,X,3], as the model wants them; undefined when the loader reads none
  Tensor labels;                      // i64 [B]; -1 without labels
  std::vector<std::string> keys;      // [B]
  std::vector<std::string> captions;  // [B], one of each picture's captions; empty without captions
  std::vector<std::string> prompts;   // [B], with captions: what stands before each, mostly ""
  std::vector<std::vector<std::string>> all_captions;  // [B]; filled when asked for
  std::vector<SamplePlace> places;                     // [B]
  // From a grid cache, in place of pixels and captions: what the first blocks of the picture tower made of the
  // pictures, [B,P,Q,C]; and one or more captions of each picture, [B] a set.
  Tensor grids;
  std::vector<std::vector<std::string>> caption_sets;
  std::vector<LearntText> texts;  // for decoders, in place of caption_sets
};

// Where in the data a run is: epoch, and samples of it that were taken.
struct DataPosition {
  int64_t epoch = 0;
  int64_t taken = 0;
};

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // The next `size` pictures, fewer at the end; false when there are none left.
  virtual bool Next(int64_t size, Batch& batch) = 0;
  virtual const DataPosition& position() const = 0;  // after the last batch
  virtual double seconds_waited() const = 0;         // for pictures that were not ready
};

}  // namespace fovea::train
