// WebDataset shards: tar archives in which neighbouring files with one key form a sample (0001.jpg, 0001.txt,
// 0001.json). https://github.com/webdataset/webdataset
//
// Two ways in. WebDatasetReader streams a shard of any size, from a file or a pipe, one sample in memory at a time.
// WebDatasetIndex maps a shard and notes where each file lies, so that several threads can decode pictures in any
// order.
//
// The key is the name up to the first dot of its last part, the extension is the rest in lower case:
// "a/b.c/0001.seg.PNG" has key "a/b.c/0001" and extension "seg.png". Files without a key or an extension (".hidden",
// "README") belong to no sample and are passed over. A sample that continues after another one is two samples, as in
// the reference.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "formats/tar.h"

namespace fovea::formats {

struct WebDatasetLimits {
  uint64_t max_file_bytes = 256 << 20;
  uint64_t max_sample_bytes = 1 << 30;  // all files of one sample together
  size_t max_sample_files = 1000;
};

class WebDatasetReader {
 public:
  struct Sample {
    std::string key;
    std::map<std::string, std::vector<uint8_t>> files;  // by extension
  };

  // Throws kNotFound, kIo.
  explicit WebDatasetReader(const std::string& path, const WebDatasetLimits& limits = {});
  WebDatasetReader(std::unique_ptr<ByteSource> source, std::string name, const WebDatasetLimits& limits = {});

  // The next sample; false at the end. Throws as TarReader, kCorruptData when a sample has one extension twice, and
  // kResourceExhausted above a limit.
  bool Next(Sample& sample);

 private:
  bool Advance();

  TarReader tar_;
  std::string name_;
  WebDatasetLimits limits_;
  // The first file of the next sample, already found but not yet read.
  std::optional<TarEntry> pending_;
  std::string pending_key_, pending_extension_;
};

class WebDatasetIndex {
 public:
  struct File {
    std::string extension;
    uint64_t offset_bytes, size_bytes;
  };
  struct Sample {
    std::string key;
    std::vector<File> files;  // in the order of the archive
    // nullptr when the sample has no such file.
    const File* Find(std::string_view extension) const;
  };

  // Maps and scans headers only. Throws as WebDatasetReader; sizes are checked against the archive, which is all memory
  // there is.
  static WebDatasetIndex Open(const std::string& path);
  // Bytes that outlive the index, called `name` in errors.
  static WebDatasetIndex Parse(std::span<const uint8_t> bytes, const std::string& name);

  const std::vector<Sample>& samples() const { return samples_; }
  // The content of a file of this index, valid as long as the index. Safe from several threads.
  std::span<const uint8_t> Bytes(const File& file) const { return bytes_.subspan(file.offset_bytes, file.size_bytes); }

 private:
  std::shared_ptr<const base::MappedFile> mapped_;
  std::span<const uint8_t> bytes_;
  std::vector<Sample> samples_;
};

}  // namespace fovea::formats
