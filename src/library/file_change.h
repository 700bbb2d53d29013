// Changing one file of somebody else's so that it can be brought back: what differed from before, and putting new bytes
// in the place of old ones at once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fovea::library {

// How a file was before a change: `prefix` bytes and `suffix` bytes as they are now, and `middle` between them.
struct Delta {
  int64_t prefix = 0, suffix = 0;
  std::vector<uint8_t> middle;
};
Delta DeltaOf(std::span<const uint8_t> before, std::span<const uint8_t> now);
// Throws kCorruptData when `now` is too short for the delta.
std::vector<uint8_t> Before(const Delta& delta, std::span<const uint8_t> now);

// A file as it was found: its bytes, and what tells that nobody has touched it since.
struct FileState {
  std::vector<uint8_t> bytes;
  int64_t inode = 0, mtime_ns = 0, ctime_ns = 0;
};
// Nothing when there is no such file. Throws kIo, kResourceExhausted above 1 GiB.
std::optional<FileState> ReadState(const std::string& path);

// Puts `bytes` in the place of `path`: a reader sees the old file or the new one, also after a crash. The new one keeps
// the old one's mode, owner (as far as allowed) and extended attributes, and gets `mtime_ns` unless that is below 0.
// `old`: as the file was read, or nothing when there was none. Throws kIo, also when it was touched since.
void ReplaceFile(const std::string& path, const std::optional<FileState>& old, std::span<const uint8_t> bytes,
                 int64_t mtime_ns = -1);

// Removes it if it is still as it was read. Throws kIo.
void RemoveFile(const std::string& path, const FileState& old);

}  // namespace fovea::library
