// Walking folders for pictures.
//
// What counts as a picture: a regular file with a picture's extension (whatever it holds: a broken one shall be
// reported), or whose first bytes are those of a picture (one that lost its extension or has a wrong one). All other
// files are passed over in silence. Hidden files and folders (names that begin with a dot: thumbnails, trash, ".git",
// "._x" of other systems) are left out, unless given as a root.
//
// Links: links to files and folders are followed and keep the path through which they were reached, but every folder is
// visited once (by device and inode, real folders before links), so loops end and nothing is listed twice. Order is
// that of the directory, not sorted.
//
// Memory: one open handle for each level of nesting (at most kMaxDepth, deeper folders are reported) and 16 bytes for
// each folder; nothing grows with the number of files.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "library/store.h"

namespace fovea::library {

inline constexpr int kMaxDepth = 128;

// A file that may be a picture.
struct FoundFile {
  std::string path;  // absolute
  FileStamp stamp;
};

struct ScanEvents {
  std::function<void(FoundFile)> file;
  // A file or folder that cannot be examined. What lies below it is unknown, not gone.
  std::function<void(const std::string& path, const std::string& reason)> failure;
  const std::atomic<bool>* cancel = nullptr;
};

// Walks `roots` (from NormalizeRoots).
void Scan(const std::vector<std::string>& roots, const ScanEvents& events);

// Number of files below `roots` that have a picture's extension: what Scan will find, but for files without one. Fast:
// opens no file.
int64_t CountPictures(const std::vector<std::string>& roots, const std::atomic<bool>* cancel);

// Absolute paths without links, each once, files after folders. A path that does not exist is made absolute as written.
std::vector<std::string> NormalizeRoots(const std::vector<std::string>& roots);

// Absolute path of a file: the folder without links, the name as given.
std::string AbsolutePath(const std::string& path);

bool HasPictureExtension(std::string_view name);
// Whether the first bytes of a file (64 are enough) are those of a format that Fovea reads.
bool LooksLikePicture(std::span<const uint8_t> head);

}  // namespace fovea::library
