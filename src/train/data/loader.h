// Batches of prepared pictures, made by threads ahead of the computation.
//
//   Loader loader({.filter = filter, .preprocess = spec, ...}, {});
//   while (loader.Next(32, batch)) Train(batch);
//
// Each thread takes the next reference of the stream, decodes, augments and prepares the picture, and puts it where the
// batch expects it: what comes out, and in which order, depends on the seed alone, not on the number of threads. The
// pictures held at one time are bounded by `ahead`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "media/preprocess.h"
#include "tensor/tensor.h"
#include "train/data/augment.h"
#include "train/data/samples.h"

namespace fovea::train {

struct Batch {
  Tensor pixels;                      // [B,Y,X,3], as the model wants them; undefined when the loader reads none
  Tensor labels;                      // i64 [B]; -1 without labels
  std::vector<std::string> keys;      // [B]
  std::vector<std::string> captions;  // [B], one of each picture's captions; empty without captions
  std::vector<std::vector<std::string>> all_captions;  // [B]; filled when asked for
  std::vector<SamplePlace> places;                     // [B]
};

// Where in the data a run is: epoch, and samples of it that were taken.
struct DataPosition {
  int64_t epoch = 0;
  int64_t taken = 0;
};

struct LoaderOptions {
  SampleFilter filter;
  media::PreprocessSpec preprocess;
  AugmentOptions augment;      // is_on false: prepared as for inference
  int64_t shuffle_buffer = 0;  // references; 0: in order
  uint64_t seed = 0;
  int threads = 1;
  int64_t ahead = 64;      // pictures prepared in advance
  bool is_endless = true;  // goes on with the next epoch, else ends after one
  bool needs_pixels = true;
  bool takes_all_captions = false;
  // Of `processes` that share the data this is number `process`: it takes every processes-th sample of the stream.
  int64_t process = 0, processes = 1;
  // Called from Next for each picture that cannot be read; it is left out.
  std::function<void(const std::string& key, const std::string& reason)> on_failure = {};
};

class Loader {
 public:
  Loader(LoaderOptions options, const DataPosition& start);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next `size` pictures, fewer at the end; false when there are none left. Throws what opening a shard throws, and
  // kInvalidArgument when no picture of a whole epoch can be read.
  bool Next(int64_t size, Batch& batch);
  // After the last batch.
  const DataPosition& position() const { return position_; }
  // The picture at a place of this data, as it is stored.
  Image Original(const SamplePlace& place) const;
  double seconds_waited() const { return seconds_waited_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  DataPosition position_;
  double seconds_waited_ = 0;
};

}  // namespace fovea::train
