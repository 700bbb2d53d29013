#include "hub/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "fovea/hub.h"

namespace fovea {
namespace hub {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostRecordBytes = 16 << 20;

Record ParseRecord(const base::Config& config) {
  Record record{config.Get<std::string>("repo", ""),     config.Get<std::string>("endpoint", ""),
                config.Get<std::string>("revision", ""), config.Get<std::string>("commit", ""),
                config.Get<std::string>("licence", ""),  config.Get<std::string>("time", "")};
  const auto files = config.json().find("files");
  if (files == config.json().end() || !files->is_array()) return record;
  for (const auto& item : *files) {
    const base::Config file = base::Config::Parse(item.dump(), config.source());
    record.files.push_back({{file.Get<std::string>("name", ""), file.Get<int64_t>("size_bytes", -1),
                             file.Get<std::string>("sha256", ""), file.Get<std::string>("git_sha1", "")},
                            file.Get<std::string>("etag", "")});
  }
  return record;
}

bool HasWeights(const fs::path& folder) {
  std::error_code ignored;
  for (fs::directory_iterator it(folder, ignored), end; it != end; it.increment(ignored)) {
    const std::string name = it->path().filename().string();
    const bool is_weights =
        name.ends_with(".safetensors") || (name.starts_with("pytorch_model") && name.ends_with(".bin"));
    if (is_weights && it->is_regular_file(ignored)) return true;
  }
  return false;
}

// Files and bytes in `folder` and below.
void Measure(const fs::path& folder, RemovedModel& removed) {
  std::error_code ignored;
  for (fs::recursive_directory_iterator it(folder, ignored), end; it != end; it.increment(ignored)) {
    if (it->is_symlink(ignored) || !it->is_regular_file(ignored)) continue;
    ++removed.files;
    removed.size_bytes += static_cast<int64_t>(it->file_size(ignored));
  }
}

}  // namespace

std::string EnvironmentValue(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string DefaultEndpoint() {
  const std::string endpoint = EnvironmentValue("HF_ENDPOINT");
  return endpoint.empty() ? "https://huggingface.co" : endpoint;
}

Place PlaceOf(const std::string& repo, const std::string& cache_dir) {
  CheckRepoName(repo);
  const std::string root = cache_dir.empty() ? PulledModelsFolder() : cache_dir;
  const size_t slash = repo.find('/');
  const std::string owner = root + "/" + repo.substr(0, slash), name = repo.substr(slash + 1);
  return {owner + "/" + name, owner + "/." + name + ".partial", owner + "/." + name + ".lock"};
}

const Record::File* Record::Find(const std::string& name) const {
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const File& file) { return file.remote.name == name; });
  return found == files.end() ? nullptr : &*found;
}

std::optional<Record> ReadRecord(const std::string& folder) {
  try {
    const std::string path = folder + "/" + kRecordFile;
    return ParseRecord(base::Config::Parse(base::ReadTextFile(path, kMostRecordBytes), base::PrintableUtf8(path)));
  } catch (const Error&) {
    return std::nullopt;
  }
}

void WriteRecord(const std::string& folder, const Record& record) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const Record::File& file : record.files) {
    nlohmann::ordered_json item{{"name", file.remote.name}, {"size_bytes", file.remote.size_bytes}};
    if (!file.remote.sha256.empty()) item["sha256"] = file.remote.sha256;
    if (!file.remote.git_sha1.empty()) item["git_sha1"] = file.remote.git_sha1;
    if (!file.etag.empty()) item["etag"] = file.etag;
    files.push_back(std::move(item));
  }
  const nlohmann::ordered_json json{
      {"repo", record.repo},     {"endpoint", record.endpoint}, {"revision", record.revision},
      {"commit", record.commit}, {"licence", record.licence},   {"time", record.time},
      {"files", files}};
  base::WriteTextFileAtomically(folder + "/" + kRecordFile,
                                json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

FolderLock::~FolderLock() {
  if (fd_ < 0) return;
  ::unlink(path_.c_str());  // before the lock is given up: whoever waits for it sees that the file is gone and makes a
                            // new one
  ::close(fd_);
}

bool FolderLock::TryLock(const std::string& path) {
  for (;;) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) Fail(ErrorCode::kIo, "[hub] cannot create ", base::PrintableUtf8(path), ": ", std::strerror(errno));
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      ::close(fd);
      if (error == EWOULDBLOCK || error == EINTR) return false;
      Fail(ErrorCode::kIo, "[hub] cannot lock ", base::PrintableUtf8(path), ": ", std::strerror(error));
    }
    struct stat held {
    }, named{};
    if (::fstat(fd, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino) {
      path_ = path;
      fd_ = fd;
      return true;
    }
    ::close(fd);  // removed by the one who held it, between our open and our lock
  }
}

std::string FindInHuggingFaceCache(const std::string& repo) {
  std::vector<std::string> roots;
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string value = EnvironmentValue(name); !value.empty()) roots.push_back(value);
  }
  const std::string home = EnvironmentValue("HOME"), cache = EnvironmentValue("XDG_CACHE_HOME");
  if (const std::string hf = EnvironmentValue("HF_HOME"); !hf.empty()) {
    roots.push_back(hf + "/hub");
  } else if (!cache.empty()) {
    roots.push_back(cache + "/huggingface/hub");
  } else if (!home.empty()) {
    roots.push_back(home + "/.cache/huggingface/hub");
  }
  const size_t slash = repo.find('/');
  if (!IsRepoName(repo)) return "";
  const std::string folder = "/models--" + repo.substr(0, slash) + "--" + repo.substr(slash + 1);
  for (const std::string& root : roots) {
    try {
      std::string commit = base::ReadTextFile(root + folder + "/refs/main", 1 << 10);
      while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r')) commit.pop_back();
      const fs::path snapshot = root + folder + "/snapshots/" + commit;
      std::error_code ignored;
      if (IsHex(commit, 40) && fs::is_regular_file(snapshot / "config.json", ignored) && HasWeights(snapshot))
        return snapshot.string();
    } catch (const Error&) {
      continue;  // not in this one
    }
  }
  return "";
}

std::string ByHand(const std::string& repo, const std::string& endpoint, const std::string& folder,
                   const std::vector<std::string>& files) {
  constexpr size_t kMostNamed = 40;
  std::string names = UsualFiles();
  if (!files.empty()) {
    const size_t shown = std::min(files.size(), kMostNamed);
    names = base::Join(std::vector<std::string>(files.begin(), files.begin() + static_cast<std::ptrdiff_t>(shown)));
    if (files.size() > shown) names += base::StrCat(" and ", files.size() - shown, " more");
  }
  return base::StrCat("put these files of ", endpoint, "/", repo, "/tree/main by hand into the folder ",
                      base::PrintableUtf8(folder), ": ", names);
}

}  // namespace hub

std::string PulledModelsFolder() {
  const std::string data = hub::EnvironmentValue("XDG_DATA_HOME"), home = hub::EnvironmentValue("HOME");
  if (!data.empty()) return data + "/fovea/models";
  if (home.empty())
    Fail(ErrorCode::kNotFound, "[hub] there is no folder for models: neither XDG_DATA_HOME nor HOME is set");
  return home + "/.local/share/fovea/models";
}

RemovedModel RemoveModel(const std::string& repo, const std::string& cache_dir) {
  Require(hub::IsRepoName(repo), "[hub] expected a pulled model as OWNER/NAME, got \"", base::PrintableUtf8(repo),
          "\"; hint: models that came with Fovea or were put there by hand are not removed");
  const hub::Place place = hub::PlaceOf(repo, cache_dir);
  const auto is_there = [](const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(std::filesystem::symlink_status(path, ignored));
  };
  if (!is_there(place.folder) && !is_there(place.partial)) {
    const std::string elsewhere = hub::FindInHuggingFaceCache(repo);
    Fail(ErrorCode::kNotFound, "[hub] there is no pulled model ", repo, " in ",
         base::PrintableUtf8(std::filesystem::path(place.folder).parent_path().parent_path().string()),
         elsewhere.empty() ? "; hint: `fovea models` lists what is there"
                           : "; the one in " + base::PrintableUtf8(elsewhere) + " belongs to other programs");
  }
  RemovedModel removed{.repo = repo, .folder = place.folder};
  std::error_code error, ignored;
  {
    hub::FolderLock lock;
    if (!lock.TryLock(place.lock)) Fail(ErrorCode::kIo, "[hub] ", repo, " is being pulled at this moment");
    // A link to a model elsewhere goes, the model stays: remove_all follows none.
    if (!std::filesystem::is_symlink(place.folder, ignored)) hub::Measure(place.folder, removed);
    hub::Measure(place.partial, removed);
    std::filesystem::remove_all(place.folder, error);
    if (!error) std::filesystem::remove_all(place.partial, error);
  }
  if (error) Fail(ErrorCode::kIo, "[hub] cannot remove ", base::PrintableUtf8(place.folder), ": ", error.message());
  std::filesystem::remove(std::filesystem::path(place.folder).parent_path(), ignored);  // the owner's, when it is empty
  return removed;
}

}  // namespace fovea
