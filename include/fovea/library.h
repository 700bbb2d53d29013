// A library of photographs: folders indexed once, then searched by picture and by words. One SQLite file.
//
//   fovea::Library library = fovea::Library::Open("photos.db", {});
//   library.Index({"/home/ann/Pictures"}, model, {});
//   for (const auto& hit : library.SearchByWords("dog beach", {.limit = 10})) ...
//
// What was reported as indexed survives a crash or `kill -9` at any moment. One library may be read while it is being indexed.
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

// How far an index job is. `total` is 0 while the folders are still being listed.
struct IndexProgress {
  int64_t done;
  int64_t total;
  int64_t failed;
  double seconds;
};

// One file that could not be indexed. The job goes on.
struct IndexFailure {
  std::string path;
  std::string reason;
};

struct IndexOptions {
  int64_t labels_per_picture = 5;
  DecodeOptions decode;
  // Called from one thread at a time, at most a few times a second.
  std::function<void(const IndexProgress&)> on_progress;
  std::function<void(const IndexFailure&)> on_failure;
  // Set it from anywhere to stop after the pictures in flight; what is done stays.
  const std::atomic<bool>* cancel = nullptr;
};

struct IndexReport {
  int64_t added = 0;      // new content
  int64_t updated = 0;    // content changed
  int64_t moved = 0;      // same content at a new path: data kept, nothing computed
  int64_t unchanged = 0;
  int64_t removed = 0;    // gone from the indexed folders
  int64_t failed = 0;
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
  std::string content_hash;  // 32 hex digits
  int64_t width_px, height_px;  // upright
  std::string capture_time;     // ISO 8601, "" when the file states none
  std::optional<double> latitude, longitude;  // degrees, WGS 84
  std::vector<Label> labels;
};

class Library {
 public:
  // Opens or creates. Throws kIo, kCorruptData (not a Fovea library), kUnimplemented (written by a newer version).
  static Library Open(const std::string& file, const LibraryOptions& options);
  ~Library();
  Library(Library&&) noexcept;
  Library& operator=(Library&&) noexcept;

  // Adds, refreshes and removes so that the library matches the folders (or single files) given. Files of other folders stay as they are.
  IndexReport Index(const std::vector<std::string>& folders, const Model& model, const IndexOptions& options);

  // Pictures that look like this one. Pictures indexed by another model (fingerprint) are not comparable and are left out.
  std::vector<SearchHit> SearchByImage(const Image& image, const Model& model, const SearchOptions& options) const;
  // Pictures whose labels, file name or folders match all words (prefixes count); quotes make phrases; any input is safe.
  std::vector<SearchHit> SearchByWords(const std::string& words, const SearchOptions& options) const;

  std::optional<PhotoRecord> Find(const std::string& path) const;
  int64_t size() const;  // pictures

  // $XDG_DATA_HOME/fovea/library.db
  static std::string DefaultFile();

 private:
  struct Impl;
  explicit Library(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea
