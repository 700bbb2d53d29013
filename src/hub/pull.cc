// Pull: ask the hub what a repository holds, choose, fetch what is not there, and put the new folder in the place of
// the old one in one step. A program that has the old weights mapped keeps them; one that opens the folder sees all of
// the old or all of the new.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "fovea/hub.h"
#include "hub/cache.h"
#include "hub/download.h"
#include "hub/http.h"
#include "hub/repository.h"

namespace fovea {
namespace hub {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostListingBytes = 16 << 20;
constexpr int64_t kMostTokenBytes = 4096;
constexpr int64_t kSpareBytes = 64 << 20;  // left free on the disk

bool IsSwitchedOn(const char* name) {
  const std::string value = base::AsciiLower(EnvironmentValue(name));
  return value == "1" || value == "on" || value == "yes" || value == "true";
}

std::string TokenFromFile(const std::string& path) {
  try {
    return base::ReadTextFile(path, kMostTokenBytes);
  } catch (const Error&) {
    return "";
  }
}

std::string FindToken(const PullOptions& options) {
  std::string token, home = EnvironmentValue("HF_HOME");
  if (home.empty() && !EnvironmentValue("XDG_CACHE_HOME").empty())
    home = EnvironmentValue("XDG_CACHE_HOME") + "/huggingface";
  if (home.empty() && !EnvironmentValue("HOME").empty()) home = EnvironmentValue("HOME") + "/.cache/huggingface";
  if (options.token) {
    token = *options.token;
  } else {
    for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
      if (token.empty()) token = EnvironmentValue(name);
    }
    if (const std::string file = EnvironmentValue("HF_TOKEN_PATH"); token.empty() && !file.empty())
      token = TokenFromFile(file);
    if (token.empty() && !home.empty()) token = TokenFromFile(home + "/token");
  }
  const size_t begin = token.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  token = token.substr(begin, token.find_last_not_of(" \t\r\n") + 1 - begin);
  Require(std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7F; }),
          "[hub] the access token holds a character that no token has; hint: look at HF_TOKEN");
  return token;
}

std::string EscapedPath(const std::string& path) {
  std::vector<std::string> parts = base::Split(path, '/');
  for (std::string& part : parts) part = UrlEscaped(part);
  return base::Join(parts, "/");
}

std::string TimeNow() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

void MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) Fail(ErrorCode::kIo, "[hub] cannot create ", base::PrintableUtf8(folder.string()), ": ", error.message());
}

// `from` appears at `to` too: as a second name of the same file where the disk can do that, else as a copy.
void LinkOrCopy(const fs::path& from, const fs::path& to) {
  std::error_code error;
  MakeFolder(to.parent_path());
  fs::remove(to, error);
  fs::create_hard_link(from, to, error);
  if (!error) return;
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (error) Fail(ErrorCode::kIo, "[hub] cannot copy ", base::PrintableUtf8(from.string()), ": ", error.message());
}

// Puts folder `fresh` in the place of `folder`, which may be there or not; what was there is removed.
void SwapIn(const std::string& fresh, const std::string& folder) {
  std::error_code ignored;
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(fresh, ignored);
    return;
  }
  const std::string old = fresh + ".old";
  if (errno != ENOENT) {  // a file system that cannot exchange two names
    fs::remove_all(old, ignored);
    if (::rename(folder.c_str(), old.c_str()) != 0 && errno != ENOENT)
      Fail(ErrorCode::kIo, "[hub] cannot move ", base::PrintableUtf8(folder), " away: ", std::strerror(errno));
  }
  if (::rename(fresh.c_str(), folder.c_str()) != 0) {
    const int error = errno;
    ::rename(old.c_str(), folder.c_str());
    Fail(ErrorCode::kIo, "[hub] cannot rename to ", base::PrintableUtf8(folder), ": ", std::strerror(error));
  }
  fs::remove_all(old, ignored);
}

class Puller {
 public:
  Puller(std::string repo, const PullOptions& options)
      : repo_(std::move(repo)),
        options_(options),
        place_(PlaceOf(repo_, options.cache_dir)),
        endpoint_(options.endpoint.empty() ? DefaultEndpoint() : options.endpoint) {
    CheckRevision(options.revision);
    Require(options.max_bytes > 0, "[hub] expected max_bytes > 0, got ", options.max_bytes);
    Require(options.stall_timeout_s > 0, "[hub] expected stall_timeout_s > 0, got ", options.stall_timeout_s);
  }

  PullReport Run() {
    if (options_.offline || IsSwitchedOn("FOVEA_OFFLINE") || IsSwitchedOn("HF_HUB_OFFLINE")) return Offline();
    const auto begin = std::chrono::steady_clock::now();
    endpoint_ = CheckedEndpoint(endpoint_);
    Hub hub(endpoint_, FindToken(options_), repo_, options_);
    MakeFolder(fs::path(place_.folder).parent_path());
    FolderLock lock;
    WaitFor(lock, hub);
    try {
      Plan(hub);
      if (!IsComplete()) {
        Prepare();
        FetchFiles(hub, downloads_);
        Finish();
      }
    } catch (const Unreachable& error) {
      throw Error(ErrorCode::kIo, error.message() +
                                      "; hint: check the network and the proxy (https_proxy) and pull again" + ", or " +
                                      ByHand(repo_, endpoint_, place_.folder, Missing()));
    }
    PullReport report = Report(record_, place_.folder);
    report.fetched_bytes = hub.fetched_bytes;
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
  }

 private:
  void WaitFor(FolderLock& lock, const Hub& hub) const {
    for (bool is_told = false; !lock.TryLock(place_.lock); is_told = true) {
      if (!is_told && options_.on_note) options_.on_note("another pull of " + repo_ + " is at work; waiting for it");
      hub.CheckCancel();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }

  // Asks the hub and decides what to fetch.
  void Plan(Hub& hub) {
    std::string url = endpoint_ + "/api/models/" + repo_;
    if (options_.revision != "main") url += "/revision/" + UrlEscaped(options_.revision);
    const Listing listing =
        ParseListing(FetchText(hub, url + "?blobs=true", kMostListingBytes), "the list of " + repo_);
    const std::string commit = listing.commit.empty() ? options_.revision : listing.commit;
    const std::string base = endpoint_ + "/" + repo_ + "/resolve/" + UrlEscaped(commit) + "/";
    record_ = {repo_, endpoint_, options_.revision, commit, listing.licence, TimeNow(), {}};
    int64_t total = 0;
    for (const RemoteFile& file : ChooseFiles(listing, {options_.include, options_.allow_pickle}, repo_)) {
      if (file.size_bytes > options_.max_bytes - total) {
        Fail(ErrorCode::kResourceExhausted, "[hub] ", repo_, " has more than the limit of ", options_.max_bytes,
             " bytes (", file.name, " alone: ", file.size_bytes, "); hint: --max-bytes, or --include for a part of it");
      }
      total += std::max<int64_t>(file.size_bytes, 0);
      downloads_.push_back(
          {.remote = file, .url = base + EscapedPath(file.name), .path = place_.partial + "/" + file.name});
      record_.files.push_back({file, ""});
    }
    KeepOthers(listing);
  }

  // What an earlier pull or a person has put into the folder besides stays, unless the repository has another version
  // of it.
  void KeepOthers(const Listing& listing) {
    const std::optional<Record> old = ReadRecord(place_.folder);
    std::error_code ignored;
    for (fs::recursive_directory_iterator it(place_.folder, ignored), end; it != end; it.increment(ignored)) {
      const std::string name = it->path().lexically_relative(place_.folder).generic_string();
      if (!it->is_regular_file(ignored) || name == kRecordFile || record_.Find(name) != nullptr) continue;
      const Record::File* recorded = old ? old->Find(name) : nullptr;
      if (recorded != nullptr) {
        const auto listed = std::find_if(listing.files.begin(), listing.files.end(),
                                         [&](const RemoteFile& f) { return f.name == name; });
        const bool is_same =
            listed != listing.files.end() && (listed->sha256.empty() ? listed->git_sha1 == recorded->remote.git_sha1
                                                                     : listed->sha256 == recorded->remote.sha256);
        if (!is_same) continue;
        record_.files.push_back(*recorded);
      }
      kept_.push_back(name);
    }
  }

  // Looks for each file in the folder; true when all are there and right, and only the record may have to be renewed.
  bool IsComplete() {
    const std::optional<Record> old = ReadRecord(place_.folder);
    bool is_complete = old.has_value();
    for (Download& download : downloads_) {
      const Record::File* recorded = old ? old->Find(download.remote.name) : nullptr;
      if (HasContent(place_.folder + "/" + download.remote.name, download.remote)) {
        present_.insert(download.remote.name);
        if (recorded != nullptr) download.etag = recorded->etag;
      }
      is_complete = is_complete && present_.contains(download.remote.name);
    }
    if (!is_complete) return false;
    TakeResults();
    if (old->commit != record_.commit || old->licence != record_.licence || old->files.size() != record_.files.size()) {
      WriteRecord(place_.folder, record_);
    } else {
      record_ = *old;
    }
    std::error_code ignored;
    fs::remove_all(place_.partial, ignored);
    return true;
  }

  // Makes the partial folder, takes what is there already into it, and sees that the rest has room.
  void Prepare() {
    MakeFolder(place_.partial);
    WriteRecord(place_.partial, record_);
    int64_t missing = 0;
    for (Download& download : downloads_) {
      MakeFolder(fs::path(download.path).parent_path());
      if (present_.contains(download.remote.name)) {
        LinkOrCopy(place_.folder + "/" + download.remote.name, download.path);
        download.is_done = true;
      } else {
        download.is_done = HasContent(download.path, download.remote);
        if (!download.is_done) missing += std::max<int64_t>(download.remote.size_bytes, 0) - PartialBytes(download);
      }
    }
    std::error_code error;
    const fs::space_info space = fs::space(place_.partial, error);
    if (!error && static_cast<int64_t>(std::min<uintmax_t>(space.available, INT64_MAX)) - kSpareBytes < missing) {
      Fail(ErrorCode::kResourceExhausted, "[hub] ", repo_, " needs ", missing, " bytes more, the disk of ",
           base::PrintableUtf8(place_.partial), " has ", space.available, " free");
    }
  }

  void TakeResults() {
    for (const Download& download : downloads_) {
      for (Record::File& file : record_.files) {
        if (file.remote.name == download.remote.name) file = {download.remote, download.etag};
      }
    }
  }

  void Finish() {
    TakeResults();
    // Only what belongs to the model: no rest of a pull of another revision.
    std::vector<fs::path> leftovers;
    std::error_code error;
    for (fs::recursive_directory_iterator it(place_.partial, error), end; it != end; it.increment(error)) {
      const std::string name = it->path().lexically_relative(place_.partial).generic_string();
      const bool is_chosen =
          std::any_of(downloads_.begin(), downloads_.end(), [&](const Download& d) { return d.remote.name == name; });
      if (!it->is_directory(error) && !is_chosen) leftovers.push_back(it->path());
    }
    for (const fs::path& path : leftovers) fs::remove(path, error);
    for (const std::string& name : kept_) LinkOrCopy(place_.folder + "/" + name, place_.partial + "/" + name);
    WriteRecord(place_.partial, record_);
    SwapIn(place_.partial, place_.folder);
  }

  // What a person would have to put into the folder; empty when that is not known.
  std::vector<std::string> Missing() const {
    std::vector<std::string> names;
    for (const Download& download : downloads_) {
      if (!present_.contains(download.remote.name)) names.push_back(download.remote.name);
    }
    if (!names.empty()) return names;
    const std::optional<Record> plan = ReadRecord(place_.partial);  // of an earlier pull
    for (const Record::File& file : plan ? plan->files : std::vector<Record::File>()) names.push_back(file.remote.name);
    return names;
  }

  PullReport Report(const Record& record, const std::string& folder) const {
    PullReport report{.repo = repo_, .folder = folder, .revision = record.commit, .licence = record.licence};
    for (const Record::File& file : record.files) {
      report.files.push_back({file.remote.name, file.remote.size_bytes, file.remote.sha256});
      report.size_bytes += file.remote.size_bytes;
    }
    return report;
  }

  // What is there of a folder without a record: put there by hand, or by other programs.
  PullReport ReportFolder(const std::string& folder) const {
    Record record{.repo = repo_};
    std::error_code error;
    for (fs::recursive_directory_iterator it(folder, error), end; it != end; it.increment(error)) {
      if (!it->is_regular_file(error)) continue;
      record.files.push_back(
          {{it->path().lexically_relative(folder).generic_string(), static_cast<int64_t>(it->file_size(error))}, ""});
    }
    return Report(record, folder);
  }

  PullReport Offline() const {
    std::error_code ignored;
    std::vector<std::string> missing;
    if (const std::optional<Record> record = ReadRecord(place_.folder)) {
      for (const Record::File& file : record->files) {
        const fs::path path = place_.folder + "/" + file.remote.name;
        const bool is_there = fs::is_regular_file(path, ignored) &&
                              static_cast<int64_t>(fs::file_size(path, ignored)) == file.remote.size_bytes;
        if (!is_there) missing.push_back(file.remote.name);
      }
      if (missing.empty()) return Report(*record, place_.folder);
      Fail(ErrorCode::kNotFound, "[hub] ", repo_, " is not complete, and --offline makes no connection; ",
           ByHand(repo_, endpoint_, place_.folder, missing));
    }
    if (fs::is_regular_file(place_.folder + "/config.json", ignored)) return ReportFolder(place_.folder);
    if (const std::string folder = FindInHuggingFaceCache(repo_); !folder.empty()) return ReportFolder(folder);
    const std::optional<Record> plan = ReadRecord(place_.partial);
    if (!plan) {
      Fail(ErrorCode::kNotFound, "[hub] ", repo_,
           " is not there, and --offline makes no connection; hint: pull it without, or ",
           ByHand(repo_, endpoint_, place_.folder, {}));
    }
    std::vector<std::string> all;
    for (const Record::File& file : plan->files) {
      all.push_back(file.remote.name);
      if (!fs::is_regular_file(place_.partial + "/" + file.remote.name, ignored)) missing.push_back(file.remote.name);
    }
    Fail(ErrorCode::kNotFound, "[hub] of ", repo_, " ", all.size() - missing.size(), " of ", all.size(),
         " files have come (missing: ", base::Join(missing),
         "), and --offline makes no connection; hint: pull it without, or ",
         ByHand(repo_, endpoint_, place_.folder, all));
  }

  std::string repo_;
  const PullOptions& options_;
  Place place_;
  std::string endpoint_;
  Record record_;
  std::vector<Download> downloads_;
  std::set<std::string> present_;  // chosen files that the folder holds, with the right content
  std::vector<std::string> kept_;  // other files of the folder that stay
};

}  // namespace
}  // namespace hub

PullReport Pull(const std::string& repo, const PullOptions& options) { return hub::Puller(repo, options).Run(); }

}  // namespace fovea
