// What is kept of the photographs, and nothing else: the tables of the library file and the few operations on them.
//
//   root         indexed folders                    file      one row a path: size, times, content or reason of failure
//   content      one row a distinct content         analysis  what a model saw in it: embedding (f32, little-endian)
//   model        name, fingerprint, dimension       label     names of classes; picture_label: which picture holds
//   which; label_words: FTS5 over the names
//   words        FTS5 over labels, file name, folders, one row a file with content
//   caption      what a model wrote about a content; its words stand among those of the labels, too (caption_words:
//   alone)
//
// Content is separate from files, so that copies are computed once and a moved file keeps its data. Content that no
// file refers to any more is kept for 30 days (a folder may move between two runs, a drive may come back), then
// deleted. Paths are bytes (BLOB): names that are no UTF-8 are as good as others.
//
// A content holds one embedding of each model that has seen it. While a new model works through the library the old
// one's embeddings stay and answer; they are dropped when the new ones are complete (DropOlderModels). An interrupted
// change of models therefore loses nothing and goes on where it stopped.
//
// A Store is one connection, for one thread at a time; any number of them may be open on one file (WAL: readers never
// wait).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fovea/library.h"
#include "library/sqlite.h"

namespace fovea::library {

// What tells that a file has not been touched. The change time catches a same-sized file put in place with an old
// modification time.
struct FileStamp {
  int64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

struct KnownFile {
  int64_t id;
  FileStamp stamp;
  int64_t content_id;     // 0 when it failed
  bool is_analysed;       // by the model that was asked about
  std::string failure;    // why it failed, "" otherwise
  std::string failed_by;  // program and options that failed (PutFailure)
};

// What is computed for one content.
struct ContentRecord {
  std::string hash;  // base::ContentHash, 32 hex digits
  ImageInfo info;
  Analysis analysis;
};

struct StoredModel {
  std::string fingerprint;
  std::string name;
  int64_t embedding_dim;
  std::string path = "";    // where it was loaded from, "" when that is not known
  bool reads_text = false;  // it compares pictures with texts; libraries of version 1 do not know and say yes
};

// A model of the library and how many of its pictures it has seen.
struct ModelCoverage {
  int64_t id;
  StoredModel model;
  int64_t contents;
};

class Store {
 public:
  // kCreate makes a missing or empty file a library; kReadWrite and kReadOnly want an existing one. Older versions are
  // migrated when writable. Throws kNotFound, kIo, kCorruptData (not a library), kUnimplemented (newer version).
  Store(const std::string& file, Database::Mode mode);

  static constexpr int64_t kVersion = 3;

  // ---- reading
  std::optional<KnownFile> FindFile(std::string_view path, int64_t model_id);
  // Content with this hash that `model_id` has analysed, 0 when there is none.
  int64_t FindContent(const std::string& hash, int64_t model_id);
  std::optional<PhotoRecord> Describe(std::string_view path);
  std::vector<std::string> PathsOfContent(int64_t content_id, int64_t limit);
  // The same with the id of each file.
  struct PathOfFile {
    int64_t file_id;
    std::string path;
  };
  std::vector<PathOfFile> FilesOfContent(int64_t content_id, int64_t limit);
  int64_t CountPictures();
  int64_t MaxFileId();
  // Calls row(content_id, path of one of its files) for content that is in use, above `after`, and has no caption by
  // the model with this fingerprint; up to `most`, in order.
  void ForEachWithoutCaption(const std::string& captioner, int64_t after, int64_t most,
                             const std::function<void(int64_t content_id, std::string_view path)>& row);
  // 0 when the library has never seen this model.
  int64_t FindModel(const std::string& fingerprint);
  // Models with embeddings. First the one that answers: it has seen the most pictures that are in use, and of several
  // such it began last.
  std::vector<ModelCoverage> Models();
  // Whether the model has seen every picture of the library.
  bool IsComplete(int64_t model_id);
  std::vector<std::string> Roots();
  // Changes whenever an embedding is replaced or deleted; new ones only raise `seq`.
  int64_t EmbeddingEpoch();
  // Calls row(seq, content_id, embedding) for embeddings of `model_id` with seq > `after`, in order. Throws
  // kCorruptData for a wrong size.
  void ForEachEmbedding(int64_t model_id, int64_t dim, int64_t after,
                        const std::function<void(int64_t seq, int64_t content_id, std::span<const float>)>& row);
  // Files at or below `root` with an id of at most `max_id`, in order of path.
  void ForEachFileBelow(std::string_view root, int64_t max_id,
                        const std::function<void(int64_t id, std::string_view path)>& row);

  // ---- writing; inside a Transaction of db()
  // Also notes that an index job of this model begins.
  int64_t PutModel(const StoredModel& model);
  // Replaces the caption of a content. `captioner`: fingerprint of the model.
  void PutCaption(int64_t content_id, const CaptionRecord& caption, const std::string& captioner);
  // Deletes up to `most` embeddings of models whose index jobs began before those of `model_id`; returns how many. When
  // none are left the models themselves go, too.
  int64_t DropOlderModels(int64_t model_id, int64_t most);
  int64_t PutRoot(std::string_view path);
  int64_t PutContent(const ContentRecord& content, int64_t model_id);
  void PutFile(std::string_view path, int64_t root_id, const FileStamp& stamp, int64_t content_id);
  void PutFailure(std::string_view path, int64_t root_id, const FileStamp& stamp, const std::string& reason,
                  const std::string& failed_by);
  void RemoveFile(int64_t id);
  // Marks content that no file uses, and deletes what has been unused for `keep_seconds`. `now` in seconds since 1970.
  void SweepContent(int64_t now, int64_t keep_seconds);

  Database& db() { return db_; }

 private:
  void RequireLibrary(Database::Mode mode);
  std::string RootPath(int64_t root_id);
  // What is looked up as labels: their names, and the caption.
  std::string LabelText(int64_t content_id);
  void RefreshLabelText(int64_t content_id);
  bool HasCaptions();
  void WriteWords(int64_t file_id, std::string_view path, std::string_view root, const std::string& labels);
  void PutLabels(int64_t content_id, const std::vector<Label>& labels);

  Database db_;
};

}  // namespace fovea::library
