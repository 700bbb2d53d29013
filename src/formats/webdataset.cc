#include "formats/webdataset.h"

#include <algorithm>

#include "base/error.h"

namespace fovea::formats {
namespace {

// Splits a file name into key and extension; false when the file belongs to no sample.
bool SplitName(std::string_view name, std::string& key, std::string& extension) {
  if (name.starts_with("./")) name.remove_prefix(2);
  const size_t last_part = name.rfind('/') + 1;  // 0 when there is no slash
  const size_t dot = name.find('.', last_part);
  if (dot == std::string_view::npos || dot == last_part) return false;
  key = name.substr(0, dot);
  extension = base::AsciiLower(name.substr(dot + 1));
  return true;
}

[[noreturn]] void FailTwice(const std::string& name, const std::string& key, const std::string& extension) {
  Fail(ErrorCode::kCorruptData, "[webdataset] ", name, ": sample \"", base::PrintableUtf8(key), "\" has two files \".",
       base::PrintableUtf8(extension), "\"");
}

}  // namespace

WebDatasetReader::WebDatasetReader(const std::string& path, const WebDatasetLimits& limits)
    : WebDatasetReader(std::make_unique<FileSource>(path), base::PrintableUtf8(path), limits) {}

WebDatasetReader::WebDatasetReader(std::unique_ptr<ByteSource> source, std::string name, const WebDatasetLimits& limits)
    : tar_(std::move(source), name), name_(std::move(name)), limits_(limits) {}

// Moves to the next file that belongs to a sample.
bool WebDatasetReader::Advance() {
  TarEntry entry;
  while (tar_.Next(entry)) {
    if (!SplitName(entry.name, pending_key_, pending_extension_)) continue;
    pending_ = std::move(entry);
    return true;
  }
  pending_.reset();
  return false;
}

bool WebDatasetReader::Next(Sample& sample) {
  if (!pending_ && !Advance()) return false;
  sample.key = pending_key_;
  sample.files.clear();
  uint64_t sample_bytes = 0;
  do {
    sample_bytes += pending_->size_bytes;
    if (sample_bytes > limits_.max_sample_bytes || sample.files.size() >= limits_.max_sample_files) {
      Fail(ErrorCode::kResourceExhausted, "[webdataset] ", name_, ": sample \"", base::PrintableUtf8(sample.key),
           "\" has more than ", limits_.max_sample_files, " files or ", limits_.max_sample_bytes, " bytes");
    }
    if (sample.files.contains(pending_extension_)) FailTwice(name_, sample.key, pending_extension_);
    sample.files.emplace(pending_extension_, tar_.ReadContent(limits_.max_file_bytes));
  } while (Advance() && pending_key_ == sample.key);
  return true;
}

const WebDatasetIndex::File* WebDatasetIndex::Sample::Find(std::string_view extension) const {
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const File& file) { return file.extension == extension; });
  return found == files.end() ? nullptr : &*found;
}

WebDatasetIndex WebDatasetIndex::Open(const std::string& path) {
  auto mapped = base::MappedFile::Open(path);
  WebDatasetIndex index = Parse(mapped->bytes(), base::PrintableUtf8(path));
  index.mapped_ = std::move(mapped);
  return index;
}

WebDatasetIndex WebDatasetIndex::Parse(std::span<const uint8_t> bytes, const std::string& name) {
  WebDatasetIndex index;
  index.bytes_ = bytes;
  TarReader tar(std::make_unique<SpanSource>(bytes), name);
  TarEntry entry;
  std::string key, extension;
  const size_t max_files = WebDatasetLimits{}.max_sample_files;
  while (tar.Next(entry)) {
    if (!SplitName(entry.name, key, extension)) continue;
    if (index.samples_.empty() || index.samples_.back().key != key) index.samples_.push_back({.key = key, .files = {}});
    Sample& sample = index.samples_.back();
    if (sample.Find(extension) != nullptr) FailTwice(name, key, extension);
    if (sample.files.size() >= max_files) {
      Fail(ErrorCode::kResourceExhausted, "[webdataset] ", name, ": sample \"", base::PrintableUtf8(key),
           "\" has more than ", max_files, " files");
    }
    sample.files.push_back({extension, entry.offset_bytes, entry.size_bytes});
  }
  return index;
}

}  // namespace fovea::formats
