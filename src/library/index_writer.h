// The end of the pipeline: takes what became of each file, writes it in groups, and only then reports it done.
//
// Lives on the thread that runs the job; callbacks are called from here, after the commit they tell of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "library/scan.h"
#include "library/store.h"

namespace fovea::library {

// A file to be indexed, and what the library knew of it when it was found.
struct Candidate {
  FoundFile found;
  std::optional<KnownFile> known;
};

// What became of a candidate.
struct Outcome {
  enum class Kind {
    kAnalysed,    // `content` was computed
    kKnown,       // its content is in the library already (or comes before this in the queue)
    kFailed,      // `reason`; remembered under `failed_by` unless that is empty
    kRemembered,  // failed in an earlier run and has not changed since
    kUnreadable,  // a file or folder that cannot be examined; nothing about it is changed
  };
  Kind kind = Kind::kKnown;
  FoundFile file;
  std::string hash;       // "" when the file could not be read
  ContentRecord content;  // kAnalysed
  std::string reason;     // kFailed, kRemembered, kUnreadable
  std::string failed_by;
  bool is_models_fault = false;  // kFailed: the file was read, the model failed
  bool owns_claim = false;       // the hash is to be released after the commit
};

class IndexWriter {
 public:
  // `roots`: from NormalizeRoots. Registers model and roots.
  IndexWriter(Store& store, const StoredModel& model, const std::vector<std::string>& roots);

  int64_t model_id() const { return model_id_; }
  int64_t max_file_id() const { return max_file_id_; }  // of the files that were there before the job

  // Writes all outcomes in one transaction and counts them.
  void Write(const std::vector<Outcome>& outcomes);

  // Removes files below the roots that were there before, are not `seen` (by id), and do not lie at or below a path in
  // `unreadable`.
  void RemoveGone(const std::vector<bool>& seen, const std::vector<std::string>& unreadable);
  // Deletes content that has been unused for long.
  void Sweep(int64_t keep_seconds);
  // Deletes the embeddings of models that came before this one, if it has seen every picture of the library.
  void DropOlderModels();

  const IndexReport& report() const { return report_; }

 private:
  void WriteOne(const Outcome& outcome, IndexReport& counts);
  void WriteContent(const Outcome& outcome, const std::optional<KnownFile>& known, IndexReport& counts);
  void CollectGone(const std::vector<bool>& seen, const std::vector<std::string>& unreadable);
  int64_t RootOf(const std::string& path) const;

  Store& store_;
  std::vector<std::pair<std::string, int64_t>> roots_;  // path, id
  int64_t model_id_ = 0, max_file_id_ = 0;
  IndexReport report_;
};

}  // namespace fovea::library
