// What evaluation reads from WebDataset shards: samples one after another, their pictures decoded by all threads, one
// batch in memory whatever the size of the shards.
//
// A sample is KEY.json with the fields below, KEY.txt as another place for captions, and a picture KEY.(jpg|png|...):
//   {"captions": ["...", ...], "labels": {"class_index": 5, "name": "electric ray", ...},
//    "qa": [{"question": "...", "answers": ["...", ...]}, ...]}
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "fovea/eval.h"

namespace fovea::eval {

struct Sample {
  std::string key;
  nlohmann::json notes;  // the object in KEY.json, {} when there is none
  std::string text;      // KEY.txt
  Image image;           // empty where no picture was asked for
  // For the one who accepts the sample to note what it found.
  int64_t label = -1;
  std::vector<std::string> captions;
};

// What became of the samples.
struct WalkReport {
  int64_t used = 0;
  int64_t passed_over = 0;  // not accepted
  int64_t failed = 0;       // told to options.on_failure
};

// Reads the samples of `shards` in order. `accept` sees each one before its picture is decoded: true to use it, false
// to pass over it, an Error to count it as failed; so is a sample whose picture cannot be decoded. `use` gets the
// accepted ones in batches, in order. `needs_pictures` false decodes nothing. Stops after options.max_samples used
// ones. Throws kNotFound, kIo, kCorruptData for a shard, and what `use` throws.
WalkReport WalkShards(const std::vector<std::string>& shards, const EvaluateOptions& options, bool needs_pictures,
                      const std::function<bool(Sample& sample)>& accept,
                      const std::function<void(std::span<Sample> batch)>& use);

// The sample's captions: "captions" or "caption" of its notes, else the lines of its text, without the white space
// around them; empty ones are left out.
std::vector<std::string> CaptionsOf(const Sample& sample);

// The value of `field` below "labels", or beside it, as text; "" when there is none.
std::string LabelOf(const Sample& sample, const std::string& field);

// Every distinct value of `field`, sorted. Samples without one are passed over.
std::vector<std::string> CollectLabels(const std::vector<std::string>& shards, const std::string& field);

}  // namespace fovea::eval
