// Files: read whole, map, write atomically. Every error names the file and what the operating system said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::base {

// Reads a regular file of at most `limit_bytes`. Throws kNotFound, kIo, or kResourceExhausted (checked by size before
// reading; a file that grows while it is read is cut at the limit with the same error).
std::vector<uint8_t> ReadFile(const std::string& path, int64_t limit_bytes);
std::string ReadTextFile(const std::string& path, int64_t limit_bytes = 64 << 20);

// Writes `bytes` so that a reader sees the old file or the new one, never a part: temporary file in the same folder,
// fsync, rename. Throws kIo.
void WriteFileAtomically(const std::string& path, std::span<const uint8_t> bytes);
// The same for a file in pieces, which are not joined in memory first.
void WriteFileAtomically(const std::string& path, std::span<const std::span<const uint8_t>> pieces);
void WriteTextFileAtomically(const std::string& path, std::string_view text);

// A whole file mapped read-only. Shared by everything that points into it: keep the shared_ptr as owner of the bytes.
class MappedFile {
 public:
  // Throws kNotFound, kIo (also for a directory).
  static std::shared_ptr<const MappedFile> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, const uint8_t* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const uint8_t* data_;
  size_t size_;
};

}  // namespace fovea::base
