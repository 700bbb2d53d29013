// Writing in groups: one commit costs a flush of the disk, so hundreds of pictures share it.
#include "library/index_writer.h"

#include <ctime>

#include "base/error.h"

namespace fovea::library {
namespace {

bool IsAtOrBelow(std::string_view path, std::string_view folder) {
  if (!path.starts_with(folder)) return false;
  return path.size() == folder.size() || folder == "/" || path[folder.size()] == '/';
}

void AddCounts(IndexReport& total, const IndexReport& part) {
  total.added += part.added;
  total.updated += part.updated;
  total.unchanged += part.unchanged;
  total.failed += part.failed;
}

}  // namespace

IndexWriter::IndexWriter(Store& store, const StoredModel& model, const std::vector<std::string>& roots)
    : store_(store) {
  Transaction transaction(store_.db());
  model_id_ = store_.PutModel(model);
  for (const std::string& root : roots) roots_.emplace_back(root, store_.PutRoot(root));
  max_file_id_ = store_.MaxFileId();
  transaction.Commit();
}

int64_t IndexWriter::RootOf(const std::string& path) const {
  size_t longest = 0;
  int64_t id = roots_.front().second;
  for (const auto& [root, root_id] : roots_) {
    if (root.size() >= longest && IsAtOrBelow(path, root)) {
      longest = root.size();
      id = root_id;
    }
  }
  return id;
}

void IndexWriter::Write(const std::vector<Outcome>& outcomes) {
  if (outcomes.empty()) return;
  IndexReport counts;
  Transaction transaction(store_.db());
  for (const Outcome& outcome : outcomes) WriteOne(outcome, counts);
  transaction.Commit();
  AddCounts(report_, counts);
}

void IndexWriter::WriteOne(const Outcome& outcome, IndexReport& counts) {
  using Kind = Outcome::Kind;
  if (outcome.kind == Kind::kRemembered || outcome.kind == Kind::kUnreadable) {
    ++counts.failed;
    return;
  }
  const std::optional<KnownFile> known = store_.FindFile(outcome.file.path, model_id_);
  if (outcome.kind != Kind::kFailed) {
    WriteContent(outcome, known, counts);
    return;
  }
  ++counts.failed;
  // A picture that cannot be read today (no permission, a failing drive) keeps what is known of it. One that only the
  // model fails on does not: it would keep the embeddings of an older model in use for ever.
  const bool keeps_data =
      outcome.failed_by.empty() && !outcome.is_models_fault && known.has_value() && known->content_id != 0;
  if (!keeps_data) {
    store_.PutFailure(outcome.file.path, RootOf(outcome.file.path), outcome.file.stamp, outcome.reason,
                      outcome.failed_by);
  }
}

void IndexWriter::WriteContent(const Outcome& outcome, const std::optional<KnownFile>& known, IndexReport& counts) {
  const int64_t content_id = outcome.kind == Outcome::Kind::kAnalysed ? store_.PutContent(outcome.content, model_id_)
                                                                      : store_.FindContent(outcome.hash, model_id_);
  if (content_id == 0) {  // another program has deleted it since
    ++counts.failed;
    store_.PutFailure(outcome.file.path, RootOf(outcome.file.path), outcome.file.stamp,
                      "its data was deleted meanwhile; index again", "");
    return;
  }
  store_.PutFile(outcome.file.path, RootOf(outcome.file.path), outcome.file.stamp, content_id);
  if (!known.has_value()) {
    ++counts.added;
  } else if (known->content_id == content_id && known->is_analysed && outcome.kind == Outcome::Kind::kKnown) {
    ++counts.unchanged;
  } else {
    ++counts.updated;
  }
}

// The gone files go into a temporary table: there may be more of them than fit in memory.
void IndexWriter::CollectGone(const std::vector<bool>& seen, const std::vector<std::string>& unreadable) {
  Database& db = store_.db();
  db.Execute("CREATE TEMP TABLE IF NOT EXISTS gone(file_id INTEGER PRIMARY KEY, content_id INTEGER); DELETE FROM gone");
  Transaction transaction(db);
  for (const auto& [root, root_id] : roots_) {
    store_.ForEachFileBelow(root, max_file_id_, [&](int64_t id, std::string_view path) {
      if (seen[static_cast<size_t>(id)]) return;
      for (const std::string& folder : unreadable) {
        if (IsAtOrBelow(path, folder)) return;
      }
      db.Run("INSERT OR IGNORE INTO gone SELECT id, content_id FROM file WHERE id = ?", id);
    });
  }
  transaction.Commit();
}

void IndexWriter::RemoveGone(const std::vector<bool>& seen, const std::vector<std::string>& unreadable) {
  CollectGone(seen, unreadable);
  Database& db = store_.db();
  const int64_t gone = db.Scalar("SELECT count(*) FROM gone", 0);
  // A file that went and one that came with the same content are one file that moved.
  const int64_t moved = gone == 0 ? 0
                                  : db.Scalar(
                                        "SELECT sum(min(g.n, f.n)) FROM (SELECT content_id, count(*) AS n FROM gone "
                                        "GROUP BY content_id) g JOIN "
                                        "(SELECT content_id, count(*) AS n FROM file WHERE id > ? GROUP BY content_id) "
                                        "f ON g.content_id = f.content_id",
                                        0, max_file_id_);
  constexpr size_t kGroup = 500;
  for (std::vector<int64_t> ids;; ids.clear()) {
    for (auto rows = db.Query("SELECT file_id FROM gone LIMIT ?", static_cast<int64_t>(kGroup)); rows.Next();)
      ids.push_back(rows.Int(0));
    if (ids.empty()) break;
    Transaction transaction(db);
    for (const int64_t id : ids) {
      store_.RemoveFile(id);
      db.Run("DELETE FROM gone WHERE file_id = ?", id);
    }
    transaction.Commit();
  }
  report_.added -= moved;
  report_.moved += moved;
  report_.removed += gone - moved;
}

void IndexWriter::Sweep(int64_t keep_seconds) {
  Transaction transaction(store_.db());
  store_.SweepContent(static_cast<int64_t>(std::time(nullptr)), keep_seconds);
  transaction.Commit();
}

// In groups, so that searches of other connections never wait long and a kill loses nothing but time: the model that
// replaces these is complete already.
void IndexWriter::DropOlderModels() {
  constexpr int64_t kGroup = 2000;
  for (int64_t dropped = 1; dropped > 0 && store_.IsComplete(model_id_);) {
    Transaction transaction(store_.db());
    dropped = store_.DropOlderModels(model_id_, kGroup);
    transaction.Commit();
  }
}

}  // namespace fovea::library
