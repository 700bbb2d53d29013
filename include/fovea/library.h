// A library of photographs: folders indexed once, then searched by picture and by words. One SQLite file.
//
//   fovea::Library library = fovea::Library::Open("photos.db", {});
//   library.Index({"/home/ann/Pictures"}, model, {});
//   for (const auto& hit : library.SearchByWords("dog beach", {.limit = 10})) ...
//
// What was reported as indexed survives a crash or `kill -9` at any moment. A library may be read while it is being
// indexed, by this program or another, and its functions may be called from any number of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fovea/image.h"
#include "fovea/model.h"

namespace fovea {

struct LibraryOptions {
  bool read_only = false;  // never creates or changes the file
};

// How far an index job is. `total` is 0 until there is an estimate.
struct IndexProgress {
  int64_t done;   // unchanged and failed files included
  int64_t total;  // an estimate until the folders are listed
  int64_t failed;
  double seconds;
};

// One file that could not be indexed. The job goes on.
struct IndexFailure {
  std::string path;
  std::string reason;
};

// How an index job uses the machine. The default, one worker for each core that decodes and analyses its own pictures
// on one thread, is the fastest we know for models of this size; models too large to be held by several workers at once
// want fewer workers with more threads.
struct IndexSchedule {
  int workers = 0;       // threads that analyse; 0: one for each core
  int threads_each = 1;  // threads that one analysis may use
  int decoders = 0;      // threads that only decode, beside the workers; 0: each worker decodes its own pictures
  int batch = 1;         // pictures analysed at a time
};

struct IndexOptions {
  int64_t labels_per_picture = 5;
  DecodeOptions decode;
  IndexSchedule schedule;
  bool retry_failed = false;  // try files again that failed before and have not changed
  // Both are called on the thread that called Index. Progress comes at most a few times a second and once at the end,
  // and counts what is on disk; failures include those remembered from an earlier run. An exception thrown by them ends
  // the job.
  std::function<void(const IndexProgress&)> on_progress;
  std::function<void(const IndexFailure&)> on_failure;
  // Set it from anywhere to stop after the pictures in flight; what is done stays, nothing is removed.
  const std::atomic<bool>* cancel = nullptr;
};

struct IndexReport {
  int64_t added = 0;    // new files, copies included (a copy is not computed again)
  int64_t updated = 0;  // content changed, or seen by another model before
  int64_t moved = 0;    // gone from one path, found at another: data kept, nothing computed
  int64_t unchanged = 0;
  int64_t removed = 0;  // gone from the indexed folders
  int64_t failed = 0;   // cannot be indexed, now or in an earlier run and unchanged since
  bool cancelled = false;
  double seconds = 0;
};

struct SearchOptions {
  int64_t limit = 20;
  bool all = false;  // do not stop where relevance stops
};

struct SearchHit {
  std::string path;
  double score;     // 0..1, comparable within one search only
  std::string why;  // for people: "similar picture (0.83)", "label: golden retriever (0.91)", "folder: beach"
};

// What the library knows of one file.
struct PhotoRecord {
  std::string path;
  int64_t size_bytes;
  std::string content_hash;                   // 32 hex digits
  int64_t width_px, height_px;                // upright
  std::string capture_time;                   // ISO 8601, "" when the file states none
  std::optional<double> latitude, longitude;  // degrees, WGS 84
  std::vector<Label> labels;
};

class Library {
 public:
  // Opens or creates (for DefaultFile() its folder, too). Throws kNotFound (read_only, no such file), kIo, kCorruptData
  // (not a Fovea library), kUnimplemented (written by a newer version).
  static Library Open(const std::string& file, const LibraryOptions& options);
  ~Library();
  Library(Library&&) noexcept;
  Library& operator=(Library&&) noexcept;

  // Adds, refreshes and removes so that the library matches the folders (or single files) given. Files of other folders
  // stay as they are, and so do files below a folder that cannot be read (or is not there: an unplugged drive). Hidden
  // files are left out; links are followed. Throws kIo, kCorruptData (of the library), kInvalidArgument (no folders,
  // opened read_only).
  IndexReport Index(const std::vector<std::string>& folders, const Model& model, const IndexOptions& options);

  // Pictures that look like this one. Pictures indexed by another model (fingerprint) are not comparable and are left
  // out. Relevance stops below three robust standard deviations above what is ordinary for this query, and below the
  // middle between ordinary and the best hit that is not the picture itself. Throws kUnimplemented when the model
  // embeds nothing.
  std::vector<SearchHit> SearchByImage(const Image& image, const Model& model, const SearchOptions& options) const;
  // Pictures whose labels, file name or folders match all words (prefixes count); quotes make phrases; any input is
  // safe. Folders count from the indexed one down. Relevance stops at a quarter of the best score.
  std::vector<SearchHit> SearchByWords(const std::string& words, const SearchOptions& options) const;

  // Nothing when the path is not indexed or failed.
  std::optional<PhotoRecord> Find(const std::string& path) const;
  int64_t size() const;  // pictures

  // $XDG_DATA_HOME/fovea/library.db, else ~/.local/share/fovea/library.db
  static std::string DefaultFile();

 private:
  struct Impl;
  explicit Library(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea
