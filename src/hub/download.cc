#include "hub/download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "hub/digest.h"

namespace fovea::hub {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kMostFailures = 6;              // in a row, without progress
constexpr int64_t kProgressBytes = 1 << 20;   // that is progress
constexpr int64_t kLongestDelayMs = 30'000;   // of our own accord
constexpr int64_t kLongestRetryAfterS = 300;  // that a server may ask for
constexpr int kPollMs = 100;

// The pause before try number `failures` + 1: doubling, with jitter, at least as long as the server asks for.
Clock::duration Delay(const PullOptions& options, int failures, int64_t retry_after_s) {
  thread_local std::minstd_rand random{std::random_device{}()};
  const int64_t base =
      std::min<int64_t>(std::max<int64_t>(options.retry_delay_ms, 0) << std::min(failures - 1, 10), kLongestDelayMs);
  const auto jittered =
      static_cast<int64_t>(static_cast<double>(base) * std::uniform_real_distribution<>(0.75, 1.25)(random));
  return std::chrono::milliseconds(std::max(jittered, retry_after_s * 1000));
}

[[noreturn]] void FailForbidden(const Hub& hub, const Exchange& exchange) {
  const std::string page = hub.endpoint + "/" + hub.repo, reason = exchange.response.FirstHeader("x-error-code");
  const bool was_sent = !hub.token.empty() && IsSafeForSecrets(hub.endpoint);
  if (reason == "RepoNotFound" && was_sent)
    Fail(ErrorCode::kNotFound, "[hub] ", hub.endpoint, " has no model ", hub.repo, " that this token may see");
  std::string text = base::StrCat("[hub] ", hub.endpoint, " refuses ", hub.repo, " (", exchange.response.status, "): ");
  if (reason == "GatedRepo" || exchange.response.status == 403) {
    text += "it is gated; hint: accept its licence on " + page +
            (was_sent ? "; a token was sent" : ", then set HF_TOKEN to a token of yours");
  } else {
    text += was_sent ? "the token was not accepted; hint: look at HF_TOKEN, and accept the licence on " + page
                     : "it does not exist, is private or is gated; hint: check the name; accept its licence on " +
                           page + " and set HF_TOKEN to a token of yours";
  }
  if (!hub.token.empty() && !was_sent) text += "; the token was not sent, because that address is not https";
  throw Error(reason == "RepoNotFound" ? ErrorCode::kNotFound : ErrorCode::kIo, text);
}

// nullopt when the exchange went well; else why to try again. Throws for what no retry cures.
std::optional<std::string> ReasonToRetry(const Hub& hub, const Exchange& exchange, const std::string& what) {
  if (exchange.error) std::rethrow_exception(exchange.error);
  if (!exchange.broken.empty()) return exchange.broken;
  const int64_t status = exchange.response.status;
  if (status == 200 || status == 206) return std::nullopt;
  if (status == 408 || status == 416 || status == 425 || status == 429 || (status >= 500 && status <= 599) ||
      (status == 403 && exchange.is_elsewhere)) {  // a signed address that has run out; the hub gives a new one
    if (exchange.retry_after_s > kLongestRetryAfterS) {
      Fail(ErrorCode::kIo, "[hub] ", exchange.host, " answers ", status, " and asks to come again in ",
           exchange.retry_after_s, " s");
    }
    return base::StrCat(exchange.host, " answers ", status);
  }
  if (status == 401 || status == 403) FailForbidden(hub, exchange);
  if (status == 404 || status == 410) {
    const std::string reason = exchange.response.FirstHeader("x-error-code");
    if (reason == "RevisionNotFound")
      Fail(ErrorCode::kNotFound, "[hub] ", hub.repo, " has no revision ", hub.options.revision);
    Fail(ErrorCode::kNotFound, "[hub] ", hub.endpoint, " has no ", what, " (", status, "); hint: check the name");
  }
  Fail(ErrorCode::kIo, "[hub] ", exchange.host, " answers ", status, " for ", what);
}

void Note(const Hub& hub, const std::string& text) {
  if (hub.options.on_note) hub.options.on_note(text);
}

std::string Seconds(Clock::duration duration) {
  return base::StrCat(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count() / 100 / 10.0, " s");
}

std::optional<int64_t> Number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// "bytes 5-9/10" -> {5, 10}
struct ContentRange {
  int64_t first = -1, total = -1;
  explicit ContentRange(std::string_view text) {
    const size_t dash = text.find('-'), slash = text.find('/');
    if (!text.starts_with("bytes ") || dash == std::string_view::npos || slash == std::string_view::npos || dash < 6)
      return;
    first = Number(text.substr(6, dash - 6)).value_or(-1);
    total = Number(text.substr(slash + 1)).value_or(-1);
  }
};

bool IsStrong(const std::string& etag) {
  return etag.size() >= 2 && etag.size() <= 300 && etag.front() == '"' && etag.back() == '"';
}

// The hash that the hub's own answer states for a file whose listing stated none.
void TakeHash(const Response& response, RemoteFile& remote) {
  for (const char* name : {"x-linked-etag", "etag"}) {
    std::string value = response.FirstHeader(name);
    if (value.starts_with("W/")) value = value.substr(2);
    if (IsStrong(value)) value = value.substr(1, value.size() - 2);
    value = base::AsciiLower(value);
    if (IsHex(value, 64) && remote.sha256.empty()) remote.sha256 = value;
    if (IsHex(value, 40) && remote.git_sha1.empty()) remote.git_sha1 = value;
    if (!remote.sha256.empty() || !remote.git_sha1.empty()) return;
  }
}

// The content is not what the hub says it is; the download starts over once.
struct Mismatch : Error {
  explicit Mismatch(std::string message) : Error(ErrorCode::kCorruptData, std::move(message)) {}
};

// One file on its way: the partial file, its running hash, and the request that fills it.
class Job {
 public:
  Job(Hub& hub, Download& download) : hub_(hub), download_(download), partial_(download.path + ".partial") {
    known_hash_ = !download.remote.sha256.empty() || !download.remote.git_sha1.empty();
  }
  ~Job() {
    if (fd_ >= 0) ::close(fd_);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  std::shared_ptr<Exchange> exchange;
  Clock::time_point ready = Clock::now();  // when the next request may go out
  bool is_done = false;
  int64_t have() const { return have_; }
  const Download& download() const { return download_; }

  void Start() {
    if (fd_ < 0) Open();
    if (have_ == download_.remote.size_bytes) return FinishOrStartOver();  // all of it came before
    exchange = std::make_shared<Exchange>();
    exchange->url = download_.url;
    exchange->token = hub_.token;
    if (have_ > 0) {
      exchange->headers.push_back(base::StrCat("Range: bytes=", have_, "-"));
      if (!download_.etag.empty()) exchange->headers.push_back("If-Range: " + download_.etag);
    }
    exchange->on_response = [this](const Response& response) { TakeResponse(response); };
    exchange->on_body = [this](std::span<const uint8_t> bytes) { TakeBody(bytes); };
    is_wanted_ = false;
    hub_.session.Start(exchange);
  }

  // After the exchange has ended: done, or ready for another try, or the fault is thrown.
  void End() {
    const std::shared_ptr<Exchange> ended = std::move(exchange);
    try {
      const std::optional<std::string> reason = ReasonToRetry(hub_, *ended, hub_.repo + "/" + download_.remote.name);
      if (reason) return TryAgain(*reason, *ended);
    } catch (const Mismatch& mismatch) {
      return StartOver(mismatch);
    }
    if (download_.remote.size_bytes >= 0 && have_ < download_.remote.size_bytes)
      return TryAgain("the answer ended early", *ended);
    FinishOrStartOver();
  }

 private:
  const std::string& name() const { return download_.remote.name; }
  std::string EtagFile() const { return partial_ + "-etag"; }

  [[noreturn]] void FailWithErrno(const char* action) const {
    Fail(ErrorCode::kIo, "[hub] cannot ", action, " ", base::PrintableUtf8(partial_), ": ", std::strerror(errno));
  }

  // Opens the partial file; what an earlier pull left in it is used when its version is known to be the same.
  void Open() {
    fd_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd_ < 0) FailWithErrno("create");
    have_ = PartialBytes(download_);
    try {
      download_.etag = base::ReadTextFile(EtagFile(), 4096);
      if (!IsStrong(download_.etag)) download_.etag.clear();
    } catch (const Error&) {
      download_.etag.clear();
    }
    if (!known_hash_ && download_.etag.empty()) have_ = 0;
    if (::ftruncate(fd_, have_) != 0) FailWithErrno("cut");
    sha256_.emplace(Digest::Kind::kSha256);
    if (have_ == 0) return;
    const auto file = base::MappedFile::Open(partial_);
    constexpr size_t kPiece = 16 << 20;
    for (auto rest = file->bytes(); !rest.empty(); rest = rest.subspan(std::min(kPiece, rest.size()))) {
      sha256_->Add(rest.first(std::min(kPiece, rest.size())));
      hub_.CheckCancel();
    }
  }

  void Restart() {
    have_ = 0;
    sha256_.emplace(Digest::Kind::kSha256);
    if (::ftruncate(fd_, 0) != 0) FailWithErrno("cut");
  }

  void Discard() {
    Restart();
    download_.etag.clear();
    ::unlink(EtagFile().c_str());
    ::unlink(partial_.c_str());
    ::close(fd_);
    fd_ = -1;
  }

  void TakeResponse(const Response& response) {
    RemoteFile& remote = download_.remote;
    if (response.status != 200 && response.status != 206) return;
    int64_t total = -1;
    if (response.status == 206) {
      const ContentRange range(response.Header("content-range"));
      if (range.first != have_)
        throw Mismatch(base::StrCat("[hub] ", name(), ": the server sends another part than asked for"));
      total = range.total;
    } else {
      if (have_ > 0) Restart();  // the file has changed, or the server knows no ranges
      total = Number(response.Header("content-length")).value_or(-1);
    }
    TakeHash(response, remote);
    if (remote.sha256.empty() && remote.git_sha1.empty()) {
      Fail(ErrorCode::kUnimplemented, "[hub] ", hub_.endpoint, " states no hash for ", name(),
           "; what cannot be checked is not fetched");
    }
    if (remote.size_bytes < 0) remote.size_bytes = total;
    if (total >= 0 && total != remote.size_bytes)
      throw Mismatch(
          base::StrCat("[hub] ", name(), ": expected ", remote.size_bytes, " bytes, the server announces ", total));
    if (remote.size_bytes > hub_.options.max_bytes) FailTooLarge();
    const std::string etag = response.Header("etag");
    if (response.status == 200) {
      download_.etag = IsStrong(etag) ? etag : "";
      if (download_.etag.empty()) {
        ::unlink(EtagFile().c_str());
      } else {
        base::WriteTextFileAtomically(EtagFile(), download_.etag);
      }
    }
    is_wanted_ = true;
  }

  [[noreturn]] void FailTooLarge() const {
    Fail(ErrorCode::kResourceExhausted, "[hub] ", name(), " is larger than the limit of ", hub_.options.max_bytes,
         " bytes; hint: --max-bytes");
  }

  void TakeBody(std::span<const uint8_t> bytes) {
    if (!is_wanted_) return;  // the page of an error
    const auto size = static_cast<int64_t>(bytes.size());
    if (download_.remote.size_bytes >= 0 && size > download_.remote.size_bytes - have_)
      throw Mismatch(
          base::StrCat("[hub] ", name(), ": the server sends more than ", download_.remote.size_bytes, " bytes"));
    if (size > hub_.options.max_bytes - have_) FailTooLarge();
    for (auto rest = bytes; !rest.empty();) {
      const ssize_t put = ::pwrite(fd_, rest.data(), rest.size(), have_);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) FailWithErrno("write");
      sha256_->Add(rest.first(static_cast<size_t>(put)));
      have_ += put;
      rest = rest.subspan(static_cast<size_t>(put));
    }
    hub_.fetched_bytes += size;
    gained_ += size;
  }

  void TryAgain(const std::string& reason, const Exchange& ended) {
    if (ended.response.status == 416) Discard();  // the server has another file than our beginning is of
    if (gained_ >= kProgressBytes) failures_ = 0;
    gained_ = 0;
    if (++failures_ >= kMostFailures)
      throw Unreachable(base::StrCat("[hub] ", name(), ": gave up after ", failures_, " tries: ", reason));
    const Clock::duration delay = Delay(hub_.options, failures_, ended.retry_after_s);
    ready = Clock::now() + delay;
    Note(hub_, base::StrCat(name(), ": ", reason, "; trying again in ", Seconds(delay)));
  }

  void FinishOrStartOver() {
    try {
      Finish();
    } catch (const Mismatch& mismatch) {
      StartOver(mismatch);
    }
  }

  void StartOver(const Mismatch& mismatch) {
    Discard();
    if (++mismatches_ > 1) throw Error(ErrorCode::kCorruptData, mismatch.message());
    Note(hub_, mismatch.message() + "; trying once more from the beginning");
  }

  // Everything has come: check it and give it its name.
  void Finish() {
    RemoteFile& remote = download_.remote;
    const std::string sha256 = sha256_->Hex();
    const bool is_right = !remote.sha256.empty() ? sha256 == remote.sha256 : FileGitSha1(partial_) == remote.git_sha1;
    if (!is_right) {
      throw Mismatch(base::StrCat("[hub] ", name(), ": the content does not match its hash ",
                                  remote.sha256.empty() ? remote.git_sha1 : remote.sha256));
    }
    remote.sha256 = sha256;
    remote.size_bytes = have_;
    if (::fsync(fd_) != 0) FailWithErrno("write");
    if (::rename(partial_.c_str(), download_.path.c_str()) != 0) FailWithErrno("rename");
    ::unlink(EtagFile().c_str());
    ::close(fd_);
    fd_ = -1;
    is_done = download_.is_done = true;
  }

  Hub& hub_;
  Download& download_;
  std::string partial_;
  bool known_hash_;
  bool is_wanted_ = false;
  int fd_ = -1;
  int64_t have_ = 0, gained_ = 0;
  int failures_ = 0, mismatches_ = 0;
  std::optional<Digest> sha256_;
};

// Nothing that a request refers to may be gone while it is on its way.
struct StopAtEnd {
  HttpSession& session;
  ~StopAtEnd() { session.Stop(); }
};

PullProgress ProgressOf(const std::vector<Download>& downloads, const std::vector<std::unique_ptr<Job>>& jobs) {
  PullProgress progress{0, 0, 0, static_cast<int64_t>(downloads.size())};
  bool is_known = true;
  for (const Download& download : downloads) {
    const int64_t size = download.remote.size_bytes;
    is_known = is_known && size >= 0;
    progress.bytes_total += std::max<int64_t>(size, 0);
    if (download.is_done) progress.bytes_done += size;
    progress.files_done += download.is_done ? 1 : 0;
  }
  for (const auto& job : jobs) progress.bytes_done += job->is_done ? 0 : job->have();
  if (!is_known) progress.bytes_total = 0;
  return progress;
}

}  // namespace

Hub::Hub(std::string endpoint_in, std::string token_in, std::string repo_in, const PullOptions& options_in)
    : endpoint(std::move(endpoint_in)),
      token(std::move(token_in)),
      repo(std::move(repo_in)),
      options(options_in),
      session({.stall_timeout_s = options_in.stall_timeout_s}) {}

void Hub::CheckCancel() const {
  if (options.cancel == nullptr || !options.cancel->load()) return;
  Fail(ErrorCode::kCancelled, "[hub] stopped; what has come of ", repo, " is kept, the next pull goes on from there");
}

std::string FetchText(Hub& hub, const std::string& url, int64_t limit_bytes) {
  for (int failures = 0;;) {
    std::string text;
    const auto exchange = std::make_shared<Exchange>();
    exchange->url = url;
    exchange->token = hub.token;
    exchange->on_body = [&](std::span<const uint8_t> bytes) {
      if (static_cast<int64_t>(text.size() + bytes.size()) > limit_bytes) {
        Fail(ErrorCode::kResourceExhausted, "[hub] ", exchange->host, " answers with more than ", limit_bytes,
             " bytes");
      }
      text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    const StopAtEnd stop{hub.session};
    hub.session.Start(exchange);
    while (hub.session.Run(kPollMs).empty()) hub.CheckCancel();
    const std::optional<std::string> reason = ReasonToRetry(hub, *exchange, "model " + hub.repo);
    if (!reason) return text;
    ++failures;
    // Without a network nobody wants to wait; one more try helps where it only just comes up.
    if (failures >= (exchange->is_unreachable ? 2 : kMostFailures))
      throw Unreachable(base::StrCat("[hub] cannot reach ", hub.endpoint, ": ", *reason));
    const Clock::duration delay = Delay(hub.options, failures, exchange->retry_after_s);
    Note(hub, base::StrCat(*reason, "; trying again in ", Seconds(delay)));
    for (const auto until = Clock::now() + delay; Clock::now() < until;) {
      hub.CheckCancel();
      std::this_thread::sleep_for(std::min<Clock::duration>(until - Clock::now(), std::chrono::milliseconds(kPollMs)));
    }
  }
}

int64_t PartialBytes(const Download& download) {
  std::error_code error;
  const auto size = static_cast<int64_t>(fs::file_size(download.path + ".partial", error));
  const bool fits = download.remote.size_bytes < 0 || size <= download.remote.size_bytes;
  return !error && fits ? size : 0;
}

void FetchFiles(Hub& hub, std::vector<Download>& downloads) {
  const auto parallel = static_cast<size_t>(std::clamp<int64_t>(hub.options.parallel, 1, 16));
  std::vector<std::unique_ptr<Job>> jobs;
  for (Download& download : downloads) {
    if (!download.is_done) jobs.push_back(std::make_unique<Job>(hub, download));
  }
  const StopAtEnd stop{hub.session};
  const auto is_open = [](const std::unique_ptr<Job>& job) { return !job->is_done; };
  while (std::any_of(jobs.begin(), jobs.end(), is_open)) {
    size_t running = 0;
    for (const auto& job : jobs) running += job->exchange ? 1 : 0;
    for (const auto& job : jobs) {
      hub.CheckCancel();
      if (running >= parallel || job->is_done || job->exchange || job->ready > Clock::now()) continue;
      job->Start();
      running += job->exchange ? 1 : 0;
    }
    for (const auto& ended : hub.session.Run(kPollMs)) {
      const auto job = std::find_if(jobs.begin(), jobs.end(), [&](const auto& j) { return j->exchange == ended; });
      if (job != jobs.end()) (*job)->End();
    }
    if (hub.options.on_progress) hub.options.on_progress(ProgressOf(downloads, jobs));
  }
}

bool HasContent(const std::string& path, RemoteFile& remote) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  const auto size = static_cast<int64_t>(fs::file_size(path, error));
  if (error || (remote.size_bytes >= 0 && size != remote.size_bytes)) return false;
  if (remote.sha256.empty() && remote.git_sha1.empty()) return false;
  const std::string sha256 = FileSha256(path);
  if (remote.sha256.empty() ? FileGitSha1(path) != remote.git_sha1 : sha256 != remote.sha256) return false;
  remote.sha256 = sha256;
  remote.size_bytes = size;
  return true;
}

}  // namespace fovea::hub
