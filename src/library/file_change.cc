#include "library/file_change.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace fovea::library {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 30;

[[noreturn]] void FailWithErrno(const char* action, const std::string& path) {
  const int error = errno;
  Fail(ErrorCode::kIo, "[file] cannot ", action, " ", base::PrintableUtf8(path), ": ", std::strerror(error));
}

int64_t Nanoseconds(const timespec& time) { return int64_t{1'000'000'000} * time.tv_sec + time.tv_nsec; }

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

void RequireUntouched(const std::string& path, const std::optional<FileState>& old) {
  struct stat now {};
  const bool is_there = ::lstat(path.c_str(), &now) == 0;
  const bool is_same =
      is_there == old.has_value() &&
      (!is_there || (static_cast<int64_t>(now.st_ino) == old->inode && S_ISREG(now.st_mode) &&
                     Nanoseconds(now.st_mtim) == old->mtime_ns && Nanoseconds(now.st_ctim) == old->ctime_ns));
  if (!is_same) {
    Fail(ErrorCode::kIo, "[file] ", base::PrintableUtf8(path),
         " was changed by somebody else just now; hint: run the command again");
  }
}

// Tags and comments of desktops are kept in extended attributes. Those that this system does not let us write are lost.
void CopyAttributes(const std::string& from, int to) {
  const ssize_t size = ::llistxattr(from.c_str(), nullptr, 0);
  if (size <= 0) return;
  std::string names(static_cast<size_t>(size), '\0');
  const ssize_t got = ::llistxattr(from.c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < got; at += static_cast<ssize_t>(std::strlen(names.data() + at)) + 1) {
    const char* name = names.data() + at;
    const ssize_t length = ::lgetxattr(from.c_str(), name, nullptr, 0);
    if (length < 0) continue;
    std::string value(static_cast<size_t>(length), '\0');
    if (::lgetxattr(from.c_str(), name, value.data(), value.size()) == length)
      static_cast<void>(::fsetxattr(to, name, value.data(), value.size(), 0));
  }
}

void WriteAll(int fd, std::span<const uint8_t> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) FailWithErrno("write", path);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

void SyncFolder(const std::string& folder) {
  const Descriptor directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (directory.fd >= 0) ::fsync(directory.fd);
}

}  // namespace

Delta DeltaOf(std::span<const uint8_t> before, std::span<const uint8_t> now) {
  const auto differs = std::ranges::mismatch(before, now).in1 - before.begin();
  const auto rest = before.subspan(static_cast<size_t>(differs)), now_rest = now.subspan(static_cast<size_t>(differs));
  const size_t shorter = std::min(rest.size(), now_rest.size());
  size_t suffix = 0;
  while (suffix < shorter && rest[rest.size() - 1 - suffix] == now_rest[now_rest.size() - 1 - suffix]) ++suffix;
  const auto middle = rest.first(rest.size() - suffix);
  return {.prefix = differs, .suffix = static_cast<int64_t>(suffix), .middle = {middle.begin(), middle.end()}};
}

std::vector<uint8_t> Before(const Delta& delta, std::span<const uint8_t> now) {
  const auto size = static_cast<int64_t>(now.size());
  RequireData(delta.prefix >= 0 && delta.suffix >= 0 && delta.prefix <= size && delta.suffix <= size - delta.prefix,
              "[file] what was changed does not fit a file of ", size, " bytes");
  std::vector<uint8_t> before(now.begin(), now.begin() + delta.prefix);
  before.insert(before.end(), delta.middle.begin(), delta.middle.end());
  before.insert(before.end(), now.end() - delta.suffix, now.end());
  return before;
}

std::optional<FileState> ReadState(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    FailWithErrno("examine", path);
  }
  return FileState{.bytes = base::ReadFile(path, kMostBytes),
                   .inode = static_cast<int64_t>(info.st_ino),
                   .mtime_ns = Nanoseconds(info.st_mtim),
                   .ctime_ns = Nanoseconds(info.st_ctim)};
}

void ReplaceFile(const std::string& path, const std::optional<FileState>& old, std::span<const uint8_t> bytes,
                 int64_t mtime_ns) {
  const std::filesystem::path place(path);
  const std::string folder = place.has_parent_path() ? place.parent_path().native() : ".";
  // The same name each time: what a crash leaves behind is overwritten by the next run. Callers hold a lock.
  const std::string name = place.filename().native();
  const std::string temporary =
      folder + "/.fovea-" +
      base::ContentHash({reinterpret_cast<const uint8_t*>(name.data()), name.size()}).substr(0, 16) + ".new";
  ::unlink(temporary.c_str());
  try {
    const Descriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666)};
    if (file.fd < 0) FailWithErrno("create a file beside", path);
    WriteAll(file.fd, bytes, path);
    struct stat info {};
    if (old && ::lstat(path.c_str(), &info) == 0) {
      CopyAttributes(path, file.fd);
      static_cast<void>(::fchown(file.fd, info.st_uid, info.st_gid) == 0);
      if (::fchmod(file.fd, info.st_mode & 07777) != 0) FailWithErrno("set the mode of", path);
    }
    if (mtime_ns >= 0) {
      const timespec modified{.tv_sec = mtime_ns / 1'000'000'000, .tv_nsec = mtime_ns % 1'000'000'000};
      const timespec times[2] = {modified, modified};
      ::futimens(file.fd, times);
    }
    if (::fsync(file.fd) != 0) FailWithErrno("sync", path);
    RequireUntouched(path, old);
    if (::rename(temporary.c_str(), path.c_str()) != 0) FailWithErrno("replace", path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  SyncFolder(folder);
}

void RemoveFile(const std::string& path, const FileState& old) {
  RequireUntouched(path, old);
  if (::unlink(path.c_str()) != 0) FailWithErrno("remove", path);
  SyncFolder(std::filesystem::path(path).parent_path().native());
}

}  // namespace fovea::library
