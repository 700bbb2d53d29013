// Tar archives, read front to back: ustar, GNU long names, and the PAX keys path and size.
//
// Streaming needs nothing but Read and Skip of its source, so that a pipe, a file and a mapped file are read by one
// parser; no tar library offers both that and the offset of each file's content, which random access needs. Strict
// where data would silently go missing: checksums must match and the end marker (a block of zeros) must be there, so a
// download cut off anywhere is noticed. Links, directories and devices are passed over; sparse files and multi-volume
// archives are refused.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace fovea::formats {

// A source of bytes that is read once, forwards.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Reads `bytes.size()` bytes, fewer only at the end; returns how many. Throws kIo.
  virtual size_t Read(std::span<uint8_t> bytes) = 0;
  // Passes over `count` bytes; false when the source ends before.
  virtual bool Skip(uint64_t count) = 0;
};

// Memory that outlives the source.
class SpanSource : public ByteSource {
 public:
  explicit SpanSource(std::span<const uint8_t> bytes) : rest_(bytes) {}
  size_t Read(std::span<uint8_t> bytes) override;
  bool Skip(uint64_t count) override;

 private:
  std::span<const uint8_t> rest_;
};

// A file or pipe.
class FileSource : public ByteSource {
 public:
  // Throws kNotFound, kIo (also for a directory).
  explicit FileSource(const std::string& path);
  size_t Read(std::span<uint8_t> bytes) override;
  bool Skip(uint64_t count) override;

 private:
  std::string path_;
  std::ifstream stream_;
};

// One regular file of an archive.
struct TarEntry {
  std::string name;       // as stored, e.g. "./train/0001.jpg"; not a path to be opened
  uint64_t offset_bytes;  // of its content from the start of the archive
  uint64_t size_bytes;
};

class TarReader {
 public:
  // `name` names the archive in errors.
  TarReader(std::unique_ptr<ByteSource> source, std::string name)
      : source_(std::move(source)), name_(std::move(name)) {}

  // Moves to the next regular file, past what is left of the current one; false at the end marker. Throws kCorruptData
  // (checksum, sizes, cut short), kUnimplemented (sparse, multi-volume), kResourceExhausted (names or PAX headers over
  // 1 MiB).
  bool Next(TarEntry& entry);

  // The content of the current file. Throws kResourceExhausted above `limit_bytes`, checked before; memory grows with
  // what is really there.
  std::vector<uint8_t> ReadContent(uint64_t limit_bytes);

 private:
  struct Overrides;  // what a GNU or PAX header says about the next file

  bool ReadBlock(std::span<uint8_t> block);
  std::string ReadExtension(uint64_t size);
  void ParsePax(const std::string& records, Overrides& overrides) const;
  uint64_t ParseNumber(std::span<const uint8_t> field, const char* what) const;
  void CheckChecksum(std::span<const uint8_t> block) const;
  std::vector<uint8_t> ReadExactly(uint64_t size);
  void SkipRest();

  std::unique_ptr<ByteSource> source_;
  std::string name_;
  uint64_t at_ = 0;            // bytes consumed
  uint64_t content_left_ = 0;  // of the current file
  uint64_t padding_left_ = 0;
  bool is_at_end_ = false;
};

}  // namespace fovea::formats
