// The walk is depth first with open directory handles instead of recursion: constant stack, and memory that does not
// grow with the folder.
#include "library/scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

#include "base/error.h"
#include "library/words.h"

namespace fovea::library {
namespace {

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

struct OpenFolder {
  std::unique_ptr<DIR, CloseDir> dir;
  size_t path_length;  // of `path_` while this folder is read
};

FileStamp StampOf(const struct stat& info) {
  const auto nanoseconds = [](const timespec& t) { return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; };
  return {info.st_size, nanoseconds(info.st_mtim), nanoseconds(info.st_ctim)};
}

// The first bytes of a file: nothing when it cannot be read.
std::optional<bool> SniffFile(int folder, const char* name) {
  const int fd = ::openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return std::nullopt;
  uint8_t head[64];
  const ssize_t got = ::read(fd, head, sizeof(head));
  ::close(fd);
  if (got < 0) return std::nullopt;
  return LooksLikePicture({head, static_cast<size_t>(got)});
}

class Walker {
 public:
  // `count_only`: no file is opened or examined, file() gets paths alone.
  Walker(const ScanEvents& events, bool count_only) : events_(events), count_only_(count_only) {}

  void Walk(const std::string& root) {
    struct stat info {};
    if (::stat(root.c_str(), &info) != 0) return Report(root, errno);
    path_ = root;
    if (S_ISDIR(info.st_mode)) {
      Enter(AT_FDCWD, root.c_str());
    } else {
      GivenFile(info);
    }
    Drain();
  }

  // Links to folders come last, so that a folder that can be reached without one is listed under its own path.
  void WalkLinks() {
    while (!links_.empty() && !Cancelled()) {
      path_ = std::move(links_.back());
      links_.pop_back();
      Enter(AT_FDCWD, path_.c_str());
      Drain();
    }
  }

 private:
  using FolderId = std::pair<dev_t, ino_t>;

  bool Cancelled() const { return events_.cancel != nullptr && events_.cancel->load(std::memory_order_relaxed); }

  void Report(const std::string& path, int error) {
    if (events_.failure) events_.failure(path, std::strerror(error));
  }

  // A file that was asked for by name, unless its folder has been listed: hidden files and odd names count here.
  void GivenFile(const struct stat& info) {
    struct stat folder {};
    const std::string parent(ParentFolder(path_));
    const std::string_view name = FileName(path_);
    if (!name.starts_with('.') && ::stat(parent.empty() ? "/" : parent.c_str(), &folder) == 0 &&
        visited_.contains({folder.st_dev, folder.st_ino})) {
      return;
    }
    if (!S_ISREG(info.st_mode)) {
      if (events_.failure) events_.failure(path_, "not a regular file");
      return;
    }
    events_.file({path_, StampOf(info)});
  }

  // Opens the folder at path_ unless it was visited before.
  void Enter(int parent, const char* name) {
    if (stack_.size() >= kMaxDepth) {
      if (events_.failure) events_.failure(path_, base::StrCat("folders nested deeper than ", kMaxDepth));
      return;
    }
    const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return Report(path_, errno);
    struct stat info {};
    if (::fstat(fd, &info) != 0) {
      Report(path_, errno);
      ::close(fd);
      return;
    }
    if (!visited_.insert({info.st_dev, info.st_ino}).second) {
      ::close(fd);
      return;
    }
    DIR* dir = ::fdopendir(fd);
    if (dir == nullptr) {
      Report(path_, errno);
      ::close(fd);
      return;
    }
    stack_.push_back({std::unique_ptr<DIR, CloseDir>(dir), path_.size()});
  }

  // Lists what is on the stack.
  void Drain() {
    while (!stack_.empty() && !Cancelled()) {
      OpenFolder& folder = stack_.back();
      path_.resize(folder.path_length);
      errno = 0;
      const dirent* entry = ::readdir(folder.dir.get());
      if (entry == nullptr) {
        if (errno != 0) Report(path_, errno);
        stack_.pop_back();
      } else if (entry->d_name[0] != '.') {
        if (path_.back() != '/') path_ += '/';
        path_ += entry->d_name;
        Visit(::dirfd(folder.dir.get()), entry->d_name, entry->d_type);
      }
    }
    stack_.clear();
  }

  // One entry, whose path is path_.
  void Visit(int folder, const char* name, unsigned char type) {
    if (type == DT_DIR) return Enter(folder, name);
    if (count_only_ && type == DT_REG) {
      if (HasPictureExtension(name)) events_.file({path_, {}});
      return;
    }
    if (type != DT_REG && type != DT_LNK && type != DT_UNKNOWN) return;
    struct stat info {};
    if (::fstatat(folder, name, &info, type == DT_UNKNOWN ? AT_SYMLINK_NOFOLLOW : 0) != 0) {
      if (HasPictureExtension(name)) Report(path_, errno);  // e.g. a link that leads nowhere
      return;
    }
    bool is_link = type == DT_LNK;
    if (S_ISLNK(info.st_mode)) {
      is_link = true;
      if (::fstatat(folder, name, &info, 0) != 0) {
        if (HasPictureExtension(name)) Report(path_, errno);
        return;
      }
    }
    if (S_ISDIR(info.st_mode)) {
      is_link ? links_.push_back(path_) : Enter(folder, name);
    } else if (S_ISREG(info.st_mode) && IsCandidate(folder, name)) {
      events_.file({path_, StampOf(info)});
    }
  }

  bool IsCandidate(int folder, const char* name) {
    if (HasPictureExtension(name)) return true;
    if (count_only_) return false;
    return SniffFile(folder, name).value_or(false);  // an unreadable file without a picture's name is none of ours
  }

  const ScanEvents& events_;
  const bool count_only_;
  std::string path_;
  std::vector<OpenFolder> stack_;
  std::vector<std::string> links_;
  std::set<FolderId> visited_;
};

std::optional<std::string> RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) return std::nullopt;
  return std::string(resolved);
}

std::string WorkingFolder() { return RealPath(".").value_or("/"); }

}  // namespace

void Scan(const std::vector<std::string>& roots, const ScanEvents& events) {
  Walker walker(events, /*count_only=*/false);
  for (const std::string& root : roots) walker.Walk(root);
  walker.WalkLinks();
}

int64_t CountPictures(const std::vector<std::string>& roots, const std::atomic<bool>* cancel) {
  int64_t count = 0;
  const ScanEvents events{.file = [&](const FoundFile&) { ++count; }, .cancel = cancel};
  Walker walker(events, /*count_only=*/true);
  for (const std::string& root : roots) walker.Walk(root);
  walker.WalkLinks();
  return count;
}

std::string AbsolutePath(const std::string& path) {
  const std::string name(FileName(path));
  const bool names_folder = name.empty() || name == "." || name == "..";
  std::string folder = names_folder ? path : path.substr(0, path.size() - name.size());
  if (folder.empty()) folder = ".";
  std::string absolute = RealPath(folder).value_or(folder.starts_with('/') ? folder : WorkingFolder() + "/" + folder);
  while (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
  if (names_folder) return absolute;
  return absolute == "/" ? "/" + name : absolute + "/" + name;
}

std::vector<std::string> NormalizeRoots(const std::vector<std::string>& roots) {
  std::set<std::string> folders, others;
  for (std::string root : roots) {
    while (root.size() > 1 && root.ends_with('/')) root.pop_back();
    struct stat info {};
    const bool is_folder = ::stat(root.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
    is_folder ? folders.insert(RealPath(root).value_or(root)) : others.insert(AbsolutePath(root));
  }
  std::vector<std::string> normal(folders.begin(), folders.end());
  normal.insert(normal.end(), others.begin(), others.end());
  return normal;
}

bool HasPictureExtension(std::string_view name) {
  constexpr std::string_view kExtensions[] = {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "heic", "heif",
                                              "hif", "avif", "tif", "tiff", "gif", "bmp",  "dib"};
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  const std::string extension = base::AsciiLower(name.substr(dot + 1));
  return std::find(std::begin(kExtensions), std::end(kExtensions), extension) != std::end(kExtensions);
}

bool LooksLikePicture(std::span<const uint8_t> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  using namespace std::string_view_literals;
  if (text.starts_with("\xFF\xD8\xFF"sv) || text.starts_with("\x89PNG\r\n\x1A\n"sv)) return true;
  if (text.starts_with("GIF87a"sv) || text.starts_with("GIF89a"sv)) return true;
  if (text.starts_with("II*\0"sv) || text.starts_with("MM\0*"sv)) return true;
  if (text.size() < 16) return false;
  if (text.starts_with("RIFF"sv)) return text.substr(8, 4) == "WEBP"sv;
  if (text.substr(4, 4) == "ftyp"sv) {
    constexpr std::string_view kBrands[] = {"heic", "heix", "hevc", "heim", "heis",
                                            "mif1", "msf1", "avif", "avis", "heif"};
    return std::find(std::begin(kBrands), std::end(kBrands), text.substr(8, 4)) != std::end(kBrands);
  }
  // "BM" alone begins many texts: ask for the size of one of the known headers, too.
  constexpr uint8_t kBmpHeaders[] = {12, 40, 52, 56, 64, 108, 124};
  return text.starts_with("BM"sv) && text.size() >= 18 && text.substr(15, 3) == "\0\0\0"sv &&
         std::find(std::begin(kBmpHeaders), std::end(kBmpHeaders), head[14]) != std::end(kBmpHeaders);
}

}  // namespace fovea::library
