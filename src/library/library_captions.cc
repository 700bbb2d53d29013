// Captions for the pictures of a library: one after another, each committed before the next is made, since a caption
// takes longer than a commit and a job of hours must lose nothing.
#include <chrono>

#include "base/error.h"
#include "fovea/library.h"
#include "library/library_impl.h"

namespace fovea {

IndexReport Library::Caption(const LibraryCaptioner& captioner, const IndexOptions& options) {
  constexpr int64_t kAtATime = 64;
  constexpr double kProgressSeconds = 0.2;
  Require(!impl_->read_only, "[library] ", base::PrintableUtf8(impl_->file), " was opened for reading only");
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  library::Store store(impl_->file, library::Database::Mode::kReadWrite);
  const int64_t all = store.db().Scalar("SELECT count(DISTINCT content_id) FROM file WHERE content_id IS NOT NULL", 0);
  const int64_t missing = store.db().Scalar(
      "SELECT count(DISTINCT f.content_id) FROM file f LEFT JOIN caption c ON c.content_id = f.content_id "
      "WHERE f.content_id IS NOT NULL AND (c.captioner IS NULL OR c.captioner <> ?)",
      0, captioner.fingerprint);
  IndexReport report{.unchanged = all - missing};
  double last_progress = 0;
  const auto tell_progress = [&] {
    last_progress = seconds();
    if (options.on_progress)
      options.on_progress({.done = report.unchanged + report.added + report.failed,
                           .total = all,
                           .failed = report.failed,
                           .seconds = last_progress});
  };
  int64_t after = 0;
  struct Work {
    int64_t content_id;
    std::string path;
  };
  for (std::vector<Work> work;; work.clear()) {
    store.ForEachWithoutCaption(captioner.fingerprint, after, kAtATime, [&](int64_t id, std::string_view path) {
      work.push_back({id, std::string(path)});
    });
    if (work.empty()) break;
    for (const Work& one : work) {
      after = one.content_id;
      if (options.cancel != nullptr && *options.cancel) {
        report.cancelled = true;
        break;
      }
      try {
        const CaptionRecord caption = captioner.tell(ReadImage(one.path, options.decode));
        library::Transaction transaction(store.db());
        store.PutCaption(one.content_id, caption, captioner.fingerprint);
        transaction.Commit();
        ++report.added;
      } catch (const Error& error) {
        if (error.code() == ErrorCode::kCancelled) {
          report.cancelled = true;
          break;
        }
        ++report.failed;
        if (options.on_failure) options.on_failure({one.path, error.message()});
      }
      if (seconds() - last_progress >= kProgressSeconds) tell_progress();
    }
    if (report.cancelled) break;
  }
  tell_progress();
  report.seconds = seconds();
  return report;
}

}  // namespace fovea
