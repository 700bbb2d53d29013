// A library of photographs: folders indexed once, then searched by words, by picture, or by both. One SQLite file.
//
//   fovea::Library library = fovea::Library::Open("photos.db", {});
//   library.Index({"/home/ann/Pictures"}, model, {});
//   for (const auto& hit : library.Search({.words = "dog on a beach -ball"}, &model, {.limit = 10})) ...
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
  // Names what is in the pictures where the job's own model has no classes (or less useful ones): each picture then
  // passes through both. Kept by the caller until the job ends; nullptr for none.
  const Model* labeler = nullptr;
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

// Which pictures a search may return. A picture's date is the one in its EXIF data (local time where it was taken),
// else that of its file (local time here).
struct SearchFilter {
  std::string after;   // "2024", "2024-05", "2024-05-03", "2024-05-03T12:30[:00]": its beginning or later
  std::string before;  // earlier than its beginning
  std::string folder;  // at or below it
  int64_t min_width_px = 0, min_height_px = 0;
  bool operator==(const SearchFilter&) const = default;
};

// What to look for. With neither words nor a picture: all that the filter leaves, the newest first.
struct SearchQuery {
  // Words to find; quotes make phrases, a "-" before a word or phrase says that it must not be there. Any input is
  // safe.
  std::string words;
  std::vector<std::string> without;  // further things that must not be there, each in words
  const Image* image = nullptr;      // pictures like this one
  SearchFilter filter;
};

struct SearchOptions {
  int64_t limit = 20;
  bool all = false;  // do not stop where relevance stops
};

struct SearchHit {
  std::string path;
  double score;          // 0..1, comparable within one search only
  std::string why;       // for people: "fits the words (0.83)", "label: golden retriever (0.91)", "folder: beach"; with
                         // several pieces of evidence each one's share
  bool is_weak = false;  // beyond where relevance stops (SearchOptions::all)
};

// A model that has seen pictures of a library.
struct LibraryModel {
  std::string name, path;  // as the index job loaded it; path "" when that is not known
  std::string fingerprint;
  bool reads_text;   // it compares pictures with texts, so that a search in words wants it
  int64_t pictures;  // different ones that it has seen
  bool is_complete;  // it has seen all of the library
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
  std::string caption;  // that a model wrote (Library::Caption), "" for none
};

// What a model says about a picture.
struct CaptionRecord {
  std::string text;
  double confidence = 0;  // 0..1
};

// A model that writes. An Error thrown by `tell` is that picture's alone; kCancelled ends the job.
struct LibraryCaptioner {
  std::string name, fingerprint;
  std::function<CaptionRecord(const Image& image)> tell;
};

class Library {
 public:
  // Opens or creates (for DefaultFile() its folder, too). Throws kNotFound (read_only, no such file), kIo, kCorruptData
  // (not a Fovea library), kUnimplemented (written by a newer version).
  static Library Open(const std::string& file, const LibraryOptions& options);
  ~Library();
  Library(Library&&) noexcept;
  Library& operator=(Library&&) noexcept;

  // Adds, refreshes and removes so that the library matches the folders (or single files) given; none: all folders of
  // the library. Files of other folders stay as they are, and so do files below a folder that cannot be read (or is not
  // there: an unplugged drive). Hidden files are left out; links are followed.
  //
  // Another model than before sees every picture again. Until it is through, the vectors of the old one answer; they
  // are removed when the new ones are complete. A job that was interrupted goes on where it stopped.
  //
  // Throws kIo, kCorruptData (of the library), kInvalidArgument (no folders, opened read_only).
  IndexReport Index(const std::vector<std::string>& folders, const Model& model, const IndexOptions& options);

  // Captions for the pictures of the library that have none by this captioner; search finds them by their words. Each
  // is on disk before the next one is made, so that a job that was interrupted goes on where it stopped. In the report
  // `added` counts captions made, `unchanged` pictures that had one. Uses decode, on_progress, on_failure and cancel of
  // `options`. Throws as Index.
  IndexReport Caption(const LibraryCaptioner& captioner, const IndexOptions& options);

  // Models whose vectors the library holds, first the one to search with: the one that has seen most.
  std::vector<LibraryModel> Models() const;

  // Pictures that fit what is asked, best first. With a model that reads text (CLIP and its kind), words are compared
  // with what the pictures show, beside labels, file names and folders; docs/search.md says how the evidence is joined
  // and where relevance stops. With another model, or nullptr, words are found in labels, names and folders alone,
  // where all must match. A query that nothing fits finds nothing.
  //
  // Throws kInvalidArgument (a date that is none; the library holds no picture that this model has seen),
  // kUnimplemented (a picture is given and the model embeds nothing, or there is no model).
  std::vector<SearchHit> Search(const SearchQuery& query, const Model* model, const SearchOptions& options) const;

  // Pictures that look like this one. Pictures indexed by another model (fingerprint) are not comparable and are left
  // out. Relevance stops below three robust standard deviations above what is ordinary for this query, and below the
  // middle between ordinary and the best hit that is not the picture itself. Throws as Search.
  std::vector<SearchHit> SearchByImage(const Image& image, const Model& model, const SearchOptions& options) const;
  // Pictures whose labels, file name or folders match all words (prefixes count); needs no model. Folders count from
  // the indexed one down. Relevance stops at a quarter of the best score.
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
