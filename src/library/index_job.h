// Indexing folders: a pipeline of threads with bounded queues between them.
//
//   scan -> [changed?] -> read, hash -> [content known?] -> decode -> analyse -> write in groups -> report done
//
// The analyser takes most of the time. By default there is one worker for each core that decodes and analyses its own
// pictures on one thread: pictures in parallel need no barriers, operators in parallel do. `IndexSchedule` offers the
// other policy as well (threads that only decode, and few analysers with many threads and batches).
//
// Memory: queues hold paths; what is read and decoded at one time stays below JobOptions::memory_bytes each (a single
// larger picture goes alone). Only one bit for each file already in the library and what scan.h says grows with the
// folders.
//
// A file that fails is reported and remembered; it is tried again when it changes, when the program's version or its
// limits change, or when the cause lay outside the file (permissions, input/output errors). What was reported done is
// on disk.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fovea/library.h"
#include "library/store.h"

namespace fovea::library {

// The model as the job sees it.
struct Analyzer {
  // One Analysis for each picture, with an embedding of model.embedding_dim floats. Called from several threads at
  // once.
  std::function<std::vector<Analysis>(std::span<const Image>)> analyze;
  StoredModel model;
};

// Encoded bytes to pixels; `name` for errors.
struct Decoder {
  std::function<ImageInfo(std::span<const uint8_t> bytes, const std::string& name)> probe;
  std::function<Image(std::span<const uint8_t> bytes, const std::string& name, ImageInfo* info)> decode;
};

struct JobOptions {
  IndexOptions index;
  Decoder decoder;
  int64_t memory_bytes = int64_t{512} << 20;  // of encoded files, and again of decoded pictures
  double commit_seconds = 0.5;                // a group is written after this time,
  int64_t commit_files = 256;                 // or with this many files
  double progress_seconds = 0.25;             // between calls of on_progress
  int64_t keep_unused_seconds = 30 * 24 * 3600;
};

// Indexes `folders` into the library `file` (made when missing). Throws when the library or `options` cannot be used; a
// cancelled job returns what it has done.
IndexReport RunIndexJob(const std::string& file, const std::vector<std::string>& folders, const Analyzer& analyzer,
                        const JobOptions& options);

}  // namespace fovea::library
