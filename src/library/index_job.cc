// The threads of an index job. Errors of one file become its outcome; errors of the library file itself end the job.
#include "library/index_job.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "library/bounded_queue.h"
#include "library/claims.h"
#include "library/index_writer.h"
#include "library/scan.h"

namespace fovea::library {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A decoded picture on its way to the analyser.
struct Prepared {
  FoundFile file;
  ContentRecord content;  // hash and info
  Image image;
  ByteBudget::Share share;
};

// What is known of a failure.
struct Reason {
  std::string text;
  bool is_lasting = false;       // lies in the file itself: no use to try again before it changes
  bool is_models_fault = false;  // the picture was read
};

Reason ReasonOf(const std::exception& exception) {
  if (const auto* error = dynamic_cast<const Error*>(&exception)) {
    const bool is_lasting = error->code() == ErrorCode::kCorruptData || error->code() == ErrorCode::kUnimplemented ||
                            error->code() == ErrorCode::kResourceExhausted;
    return {error->message(), is_lasting};
  }
  if (dynamic_cast<const std::bad_alloc*>(&exception) != nullptr) return {"out of memory"};
  return {exception.what()};
}

Outcome MakeOutcome(Outcome::Kind kind, FoundFile file, std::string hash, std::string reason = "") {
  Outcome outcome;
  outcome.kind = kind;
  outcome.file = std::move(file);
  outcome.hash = std::move(hash);
  outcome.reason = std::move(reason);
  return outcome;
}

class Job {
 public:
  Job(const std::string& file, const std::vector<std::string>& folders, const Analyzer& analyzer,
      const JobOptions& options)
      : analyzer_(analyzer),
        options_(options),
        roots_(NormalizeRoots(folders)),
        failed_by_(base::StrCat("fovea ", FOVEA_VERSION, ", max_pixels ", options.index.decode.max_pixels,
                                ", max_file_bytes ", options.index.decode.max_file_bytes)),
        store_(file, Database::Mode::kCreate),
        scan_reader_(file, Database::Mode::kReadOnly),
        claim_reader_(file, Database::Mode::kReadOnly),
        writer_(store_, analyzer.model, roots_),
        claims_(claim_reader_, writer_.model_id()),
        seen_(static_cast<size_t>(writer_.max_file_id() + 1)),
        file_bytes_(options.memory_bytes),
        pixel_bytes_(options.memory_bytes) {}

  IndexReport Run() {
    try {
      StartThreads();
      WriteUntilDone();
    } catch (...) {
      Abort(std::current_exception());
    }
    for (std::thread& thread : threads_) thread.join();
    if (error_) std::rethrow_exception(error_);
    if (!Cancelled()) writer_.RemoveGone(seen_, unreadable_);
    writer_.Sweep(options_.keep_unused_seconds);
    if (!Cancelled()) writer_.DropOlderModels();
    ReportProgress(/*is_last=*/true);
    IndexReport report = writer_.report();
    report.unchanged += unchanged_;
    report.cancelled = Cancelled();
    report.seconds = SecondsSince(start_);
    return report;
  }

 private:
  bool Cancelled() const { return options_.index.cancel != nullptr && options_.index.cancel->load(); }

  // Ends all threads; the first error is the job's.
  void Abort(std::exception_ptr error) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::move(error);
    stopped_ = true;
    candidates_.Abort();
    decoded_.Abort();
    outcomes_.Abort();
  }

  // Starts a thread whose errors end the job, and which calls `last` when it is the last one of its kind.
  template <typename Body, typename Last>
  void Start(int count, int omp_threads, Body body, Last last) {
    auto running = std::make_shared<std::atomic<int>>(count);
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, omp_threads, body, last, running] {
        const base::ThreadLimit limit(omp_threads);
        try {
          body();
        } catch (...) {
          Abort(std::current_exception());
        }
        if (--*running == 0) last();
      });
    }
  }

  void StartThreads() {
    const IndexSchedule& schedule = options_.index.schedule;
    const int workers = schedule.workers > 0 ? schedule.workers : base::AvailableCores();
    const auto no_more = [this] { outcomes_.Close(); };
    if (options_.index.on_progress) {
      Start(
          1, 1, [this] { expected_ = CountPictures(roots_, &stopped_); }, [] {});
    }
    Start(
        1, 1, [this] { ScanFolders(); }, [this] { candidates_.Close(); });
    if (schedule.decoders > 0) {
      Start(
          schedule.decoders, 1, [this] { DecodeForOthers(); }, [this] { decoded_.Close(); });
      Start(
          workers, schedule.threads_each, [this] { AnalyzeDecoded(); }, no_more);
    } else {
      Start(
          workers, schedule.threads_each, [this] { DecodeAndAnalyze(); }, no_more);
    }
  }

  // ---- scan

  void ScanFolders() {
    Scan(roots_, {.file = [this](FoundFile file) { Found(std::move(file)); },
                  .failure =
                      [this](const std::string& path, const std::string& reason) {
                        unreadable_.push_back(path);
                        ++found_;
                        outcomes_.Push(MakeOutcome(Outcome::Kind::kUnreadable, {path, {}}, "", reason));
                      },
                  .cancel = &stopped_});
    if (!stopped_) is_scanned_ = true;
  }

  void Found(FoundFile file) {
    ++found_;
    std::optional<KnownFile> known = scan_reader_.FindFile(file.path, writer_.model_id());
    if (known.has_value()) {
      if (known->id < static_cast<int64_t>(seen_.size())) seen_[static_cast<size_t>(known->id)] = true;
      if (known->stamp == file.stamp) {
        if (known->content_id != 0 && known->is_analysed) {
          ++unchanged_;
          return;
        }
        if (known->content_id == 0 && known->failed_by == failed_by_ && !options_.index.retry_failed) {
          outcomes_.Push(MakeOutcome(Outcome::Kind::kRemembered, std::move(file), "", std::move(known->failure)));
          return;
        }
      }
    }
    candidates_.Push(std::move(file));
  }

  // ---- read, decode

  // Waits for `bytes` of a budget. Waiting with decoded pictures in hand could wait for ever: analyses those first.
  ByteBudget::Share TakeShare(ByteBudget& budget, int64_t bytes, std::vector<Prepared>& batch) {
    std::optional<ByteBudget::Share> share = budget.TryTake(bytes);
    if (share.has_value()) return std::move(*share);
    Analyze(batch);
    return budget.Take(bytes);
  }

  // Reads and decodes a picture into `batch`, unless its outcome is decided (and queued) without.
  void Prepare(FoundFile file, std::vector<Prepared>& batch) {
    std::string hash;
    bool is_owner = false;
    Reason reason;
    try {
      const DecodeOptions& limits = options_.index.decode;
      const ByteBudget::Share file_share =
          TakeShare(file_bytes_, std::min(file.stamp.size_bytes, limits.max_file_bytes), batch);
      const std::vector<uint8_t> bytes = base::ReadFile(file.path, limits.max_file_bytes);
      RequireData(!bytes.empty(), "[library] ", base::PrintableUtf8(file.path), ": the file is empty");
      hash = base::ContentHash(bytes);
      const Claims::Answer answer = AskForClaim(hash, file);
      if (answer == Claims::Answer::kKnown) outcomes_.Push(MakeOutcome(Outcome::Kind::kKnown, std::move(file), hash));
      if (answer != Claims::Answer::kCompute) return;
      is_owner = true;
      const ImageInfo header = options_.decoder.probe(bytes, file.path);
      const int64_t pixels =
          header.width > 0 && header.height > 0 ? std::min(header.width * header.height, limits.max_pixels) : 0;
      Prepared prepared;
      prepared.share = TakeShare(pixel_bytes_, pixels * 3, batch);
      prepared.content.hash = hash;
      prepared.image = options_.decoder.decode(bytes, file.path, &prepared.content.info);
      prepared.file = std::move(file);
      batch.push_back(std::move(prepared));
      return;
    } catch (const JobError&) {
      throw;
    } catch (const std::exception& exception) {
      reason = ReasonOf(exception);
    }
    Settle(std::move(file), hash, is_owner, reason);
  }

  // Thrown when the job has been aborted for an error of the library file, to be told from errors of the picture that
  // is being prepared.
  struct JobError : std::exception {};

  Claims::Answer AskForClaim(const std::string& hash, FoundFile& file) {
    try {
      return claims_.Ask(hash, file);
    } catch (const Error&) {
      Abort(std::current_exception());
      throw JobError();
    }
  }

  // The outcome of a file that failed, and of all files with its content.
  void Settle(FoundFile file, const std::string& hash, bool is_owner, const Reason& reason) {
    const std::string name = base::PrintableUtf8(file.path);
    const auto queue = [&](FoundFile failed) {
      std::string text = reason.text;
      const size_t at = text.find(name);  // the reason names the file that was tried
      if (at != std::string::npos) text.replace(at, name.size(), base::PrintableUtf8(failed.path));
      Outcome outcome = MakeOutcome(Outcome::Kind::kFailed, std::move(failed), hash, std::move(text));
      outcome.failed_by = reason.is_lasting ? failed_by_ : "";
      outcome.is_models_fault = reason.is_models_fault;
      outcomes_.Push(std::move(outcome));
    };
    queue(std::move(file));
    if (!is_owner) return;
    for (FoundFile& copy : claims_.Finish(hash, false)) queue(std::move(copy));
  }

  // ---- analyse

  void DecodeAndAnalyze() {
    const auto batch_size = static_cast<size_t>(std::max(1, options_.index.schedule.batch));
    std::vector<Prepared> batch;
    while (!stopped_) {
      std::optional<FoundFile> file = candidates_.Pop();
      if (!file.has_value()) break;
      Prepare(std::move(*file), batch);
      if (batch.size() >= batch_size) Analyze(batch);
    }
    Analyze(batch);
  }

  void DecodeForOthers() {
    std::vector<Prepared> single;
    while (!stopped_) {
      std::optional<FoundFile> file = candidates_.Pop();
      if (!file.has_value()) break;
      Prepare(std::move(*file), single);
      for (Prepared& prepared : single) decoded_.Push(std::move(prepared));
      single.clear();
    }
  }

  // Takes what is there, up to a batch, and never waits for a batch to fill.
  void AnalyzeDecoded() {
    const auto batch_size = static_cast<size_t>(std::max(1, options_.index.schedule.batch));
    std::vector<Prepared> batch;
    while (std::optional<Prepared> first = decoded_.Pop()) {
      batch.push_back(std::move(*first));
      while (batch.size() < batch_size) {
        std::optional<Prepared> next = decoded_.PopFor(std::chrono::milliseconds(0));
        if (!next.has_value()) break;
        batch.push_back(std::move(*next));
      }
      Analyze(batch);
    }
  }

  // Analyses and queues the pictures of `batch` and empties it. When a batch fails, its pictures are tried one by one.
  void Analyze(std::vector<Prepared>& batch) {
    if (batch.empty()) return;
    std::vector<Image> images;
    for (const Prepared& prepared : batch) images.push_back(prepared.image);
    std::vector<Analysis> analyses;
    Reason reason;
    try {
      analyses = analyzer_.analyze(images);
      CheckAnalyses(analyses, batch.size());
    } catch (const std::exception& exception) {
      reason = ReasonOf(exception);
      analyses.clear();
    }
    images.clear();
    if (analyses.empty() && batch.size() > 1) {
      for (Prepared& prepared : batch) {
        std::vector<Prepared> single;
        single.push_back(std::move(prepared));
        Analyze(single);
      }
    } else if (analyses.empty()) {
      reason.is_lasting = false;
      reason.is_models_fault = true;
      Settle(std::move(batch[0].file), batch[0].content.hash, true, reason);
    } else {
      for (size_t i = 0; i < batch.size(); ++i) QueueAnalysed(batch[i], std::move(analyses[i]));
    }
    batch.clear();
  }

  void CheckAnalyses(const std::vector<Analysis>& analyses, size_t count) const {
    const auto fail = [](const auto&... what) { Fail(ErrorCode::kInternal, "[library] the model gave ", what...); };
    if (analyses.size() != count) fail(analyses.size(), " results for ", count, " pictures");
    for (const Analysis& analysis : analyses) {
      if (static_cast<int64_t>(analysis.embedding.size()) != analyzer_.model.embedding_dim) {
        fail("an embedding of ", analysis.embedding.size(), " values, expected ", analyzer_.model.embedding_dim);
      }
      for (const float value : analysis.embedding) {
        if (!std::isfinite(value)) fail("an embedding that is not finite");
      }
    }
  }

  void QueueAnalysed(Prepared& prepared, Analysis analysis) {
    const auto most = static_cast<size_t>(std::max<int64_t>(0, options_.index.labels_per_picture));
    if (analysis.labels.size() > most) analysis.labels.resize(most);
    prepared.content.analysis = std::move(analysis);
    prepared.image = {};
    const std::string hash = prepared.content.hash;
    Outcome outcome = MakeOutcome(Outcome::Kind::kAnalysed, std::move(prepared.file), hash);
    outcome.content = std::move(prepared.content);
    outcome.owns_claim = true;
    outcomes_.Push(std::move(outcome));
    for (FoundFile& copy : claims_.Finish(hash, true))
      outcomes_.Push(MakeOutcome(Outcome::Kind::kKnown, std::move(copy), hash));
  }

  // ---- write and report; on the thread of the caller

  void WriteUntilDone() {
    std::vector<Outcome> group;
    Clock::time_point group_start;
    for (;;) {
      if (Cancelled() && !stopped_.exchange(true)) candidates_.Abort();
      std::optional<Outcome> outcome = outcomes_.PopFor(std::chrono::milliseconds(50));
      if (outcome.has_value()) {
        if (group.empty()) group_start = Clock::now();
        group.push_back(std::move(*outcome));
      }
      const bool is_finished = outcomes_.Finished();
      const bool is_full = static_cast<int64_t>(group.size()) >= options_.commit_files;
      if (!group.empty() && (is_full || is_finished || SecondsSince(group_start) >= options_.commit_seconds)) {
        writer_.Write(group);
        ReportGroup(group);
        group.clear();
      }
      ReportProgress(/*is_last=*/false);
      if (is_finished) return;
    }
  }

  void ReportGroup(const std::vector<Outcome>& group) {
    written_ += static_cast<int64_t>(group.size());
    for (const Outcome& outcome : group) {
      if (outcome.owns_claim) claims_.Release(outcome.hash);
      if (!outcome.reason.empty() && options_.index.on_failure)
        options_.index.on_failure({outcome.file.path, outcome.reason});
    }
  }

  void ReportProgress(bool is_last) {
    if (!options_.index.on_progress) return;
    if (!is_last && SecondsSince(last_progress_) < options_.progress_seconds) return;
    last_progress_ = Clock::now();
    const int64_t done = written_ + unchanged_;
    const int64_t total = is_scanned_ ? found_.load() : expected_ == 0 ? 0 : std::max(expected_.load(), found_.load());
    options_.index.on_progress(
        {.done = done, .total = total, .failed = writer_.report().failed, .seconds = SecondsSince(start_)});
  }

  const Clock::time_point start_ = Clock::now();
  const Analyzer& analyzer_;
  const JobOptions& options_;
  const std::vector<std::string> roots_;
  const std::string failed_by_;

  Store store_, scan_reader_, claim_reader_;
  IndexWriter writer_;
  Claims claims_;
  std::vector<bool> seen_;               // by id of file; the scanning thread's until it ends
  std::vector<std::string> unreadable_;  // the scanning thread's until it ends

  BoundedQueue<FoundFile> candidates_{256};
  BoundedQueue<Prepared> decoded_{16};
  BoundedQueue<Outcome> outcomes_{512};
  ByteBudget file_bytes_, pixel_bytes_;

  std::atomic<bool> stopped_ = false, is_scanned_ = false;
  std::atomic<int64_t> found_ = 0, expected_ = 0, unchanged_ = 0;
  int64_t written_ = 0;
  Clock::time_point last_progress_ = start_;
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace

IndexReport RunIndexJob(const std::string& file, const std::vector<std::string>& folders, const Analyzer& analyzer,
                        const JobOptions& options) {
  Require(!folders.empty(), "[library] expected at least one folder to index, got none");
  return Job(file, folders, analyzer, options).Run();
}

}  // namespace fovea::library
