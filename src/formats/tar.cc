#include "formats/tar.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace fovea::formats {
namespace {

constexpr uint64_t kBlockBytes = 512;
constexpr uint64_t kMaxExtensionBytes = 1 << 20;
constexpr uint64_t kReadStepBytes = 1 << 20;
constexpr uint64_t kMaxContentBytes = uint64_t{1} << 50;

// Places in a header block (POSIX.1-1988 ustar).
constexpr size_t kNameAt = 0, kNameBytes = 100, kSizeAt = 124, kSizeBytes = 12, kChecksumAt = 148, kChecksumBytes = 8,
                 kTypeAt = 156, kMagicAt = 257, kPrefixAt = 345, kPrefixBytes = 155;

// The text of a field, which ends at a zero byte or at the end of the field.
std::string FieldText(std::span<const uint8_t> field) {
  const auto end = std::find(field.begin(), field.end(), uint8_t{0});
  return std::string(field.begin(), end);
}

uint64_t PaddingOf(uint64_t size) { return (kBlockBytes - size % kBlockBytes) % kBlockBytes; }

bool IsZero(std::span<const uint8_t> block) {
  return std::all_of(block.begin(), block.end(), [](uint8_t byte) { return byte == 0; });
}

}  // namespace

size_t SpanSource::Read(std::span<uint8_t> bytes) {
  const size_t count = std::min(bytes.size(), rest_.size());
  std::copy_n(rest_.begin(), count, bytes.begin());
  rest_ = rest_.subspan(count);
  return count;
}

bool SpanSource::Skip(uint64_t count) {
  if (count > rest_.size()) return false;
  rest_ = rest_.subspan(count);
  return true;
}

FileSource::FileSource(const std::string& path) : path_(base::PrintableUtf8(path)) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) Fail(ErrorCode::kIo, "[tar] ", path_, " is a directory");
  errno = 0;
  stream_.open(path, std::ios::binary);
  if (!stream_)
    Fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "[tar] cannot open ", path_, ": ",
         std::strerror(errno));
}

size_t FileSource::Read(std::span<uint8_t> bytes) {
  stream_.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (stream_.bad()) Fail(ErrorCode::kIo, "[tar] cannot read ", path_);
  return static_cast<size_t>(stream_.gcount());
}

bool FileSource::Skip(uint64_t count) {
  stream_.ignore(static_cast<std::streamsize>(count));
  if (stream_.bad()) Fail(ErrorCode::kIo, "[tar] cannot read ", path_);
  return static_cast<uint64_t>(stream_.gcount()) == count;
}

struct TarReader::Overrides {
  std::optional<std::string> name;
  std::optional<uint64_t> size;
};

bool TarReader::Next(TarEntry& entry) {
  if (is_at_end_) return false;
  Overrides overrides;
  for (;;) {
    SkipRest();
    std::array<uint8_t, kBlockBytes> block;
    RequireData(ReadBlock(block), "[tar] ", name_, " is cut short: expected a header or the end marker at byte ", at_);
    if (IsZero(block)) {
      // The marker has two blocks; a single one at the very end is common enough.
      if (ReadBlock(block))
        RequireData(IsZero(block), "[tar] ", name_, ": expected the second block of the end marker at byte ",
                    at_ - kBlockBytes);
      is_at_end_ = true;
      return false;
    }
    CheckChecksum(block);
    const std::span<const uint8_t> header(block);
    const bool is_posix = std::memcmp(&block[kMagicAt], "ustar\0", 6) == 0;
    const char type = static_cast<char>(block[kTypeAt]);
    const uint64_t size = ParseNumber(header.subspan(kSizeAt, kSizeBytes), "size");
    if (type == 'L' || type == 'x') {
      const std::string extension = ReadExtension(size);
      if (type == 'L') overrides.name = extension.substr(0, extension.find('\0'));
      if (type == 'x') ParsePax(extension, overrides);
      continue;
    }
    const bool is_sparse_or_volume = type == 'S' || type == 'M';
    if (is_sparse_or_volume)
      Fail(ErrorCode::kUnimplemented, "[tar] ", name_, " holds a ",
           type == 'S' ? "sparse file" : "part of another volume");
    const bool has_content = !(type >= '1' && type <= '6');  // links, devices, directories, pipes
    const bool is_remark = type == 'g' || type == 'K';       // stands between an extension and its file
    content_left_ = !has_content ? 0 : is_remark ? size : overrides.size.value_or(size);
    padding_left_ = PaddingOf(content_left_);
    const bool is_file = type == '0' || type == '\0' || type == '7';
    if (is_file) {
      entry.name = FieldText(header.subspan(kNameAt, kNameBytes));
      const std::string prefix = is_posix ? FieldText(header.subspan(kPrefixAt, kPrefixBytes)) : "";
      if (!prefix.empty()) entry.name = prefix + "/" + entry.name;
      if (overrides.name) entry.name = *overrides.name;
      RequireData(!entry.name.empty(), "[tar] ", name_, ": expected a file name at byte ", at_ - kBlockBytes);
      entry.offset_bytes = at_;
      entry.size_bytes = content_left_;
      return true;
    }
    if (!is_remark) overrides = {};
  }
}

std::vector<uint8_t> TarReader::ReadContent(uint64_t limit_bytes) {
  if (content_left_ > limit_bytes) {
    Fail(ErrorCode::kResourceExhausted, "[tar] ", name_, " holds a file of ", content_left_, " bytes, the limit is ",
         limit_bytes);
  }
  std::vector<uint8_t> content = ReadExactly(content_left_);
  content_left_ = 0;
  return content;
}

// False at the end of the source; a part of a block is an error.
bool TarReader::ReadBlock(std::span<uint8_t> block) {
  const size_t got = source_->Read(block);
  at_ += got;
  RequireData(got == 0 || got == kBlockBytes, "[tar] ", name_, " is cut short: expected a block of 512 bytes, got ",
              got);
  return got != 0;
}

std::string TarReader::ReadExtension(uint64_t size) {
  if (size > kMaxExtensionBytes) {
    Fail(ErrorCode::kResourceExhausted, "[tar] ", name_, " holds a header extension of ", size, " bytes, the limit is ",
         kMaxExtensionBytes);
  }
  const std::vector<uint8_t> bytes = ReadExactly(size);
  padding_left_ = PaddingOf(size);
  return std::string(bytes.begin(), bytes.end());
}

// Records "LENGTH KEY=VALUE\n", where LENGTH counts the whole record.
void TarReader::ParsePax(const std::string& records, Overrides& overrides) const {
  std::string_view rest = records;
  while (!rest.empty()) {
    size_t length = 0;
    const auto [digits_end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    const auto digits = static_cast<size_t>(digits_end - rest.data());
    const bool is_record = error == std::errc() && length > digits + 1 && length <= rest.size() &&
                           rest[digits] == ' ' && rest[length - 1] == '\n';
    RequireData(is_record, "[tar] ", name_, ": expected PAX records of the form \"LENGTH KEY=VALUE\"");
    const std::string_view record = rest.substr(digits + 1, length - digits - 2);
    const size_t equals = record.find('=');
    RequireData(equals != std::string_view::npos, "[tar] ", name_,
                ": expected PAX records of the form \"LENGTH KEY=VALUE\"");
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") overrides.name = std::string(value);
    if (key == "size") {
      uint64_t size = 0;
      const auto [end, size_error] = std::from_chars(value.data(), value.data() + value.size(), size);
      RequireData(size_error == std::errc() && end == value.data() + value.size() && size <= kMaxContentBytes, "[tar] ",
                  name_, ": expected a PAX size in bytes, got \"", base::PrintableUtf8(value.substr(0, 40)), "\"");
      overrides.size = size;
    }
    if (key.starts_with("GNU.sparse.")) Fail(ErrorCode::kUnimplemented, "[tar] ", name_, " holds a sparse file");
    rest.remove_prefix(length);
  }
}

// Octal digits between spaces and zeros, or GNU's base 256 when the first bit is set.
uint64_t TarReader::ParseNumber(std::span<const uint8_t> field, const char* what) const {
  uint64_t value = 0;
  bool is_valid = true;
  if (field[0] & 0x80) {
    for (size_t i = 0; i < field.size(); ++i) {
      is_valid = is_valid && value <= (UINT64_MAX >> 8);
      value = value << 8 | (i == 0 ? field[i] & 0x7F : field[i]);
    }
  } else {
    size_t i = 0;
    while (i < field.size() && field[i] == ' ') ++i;
    for (; i < field.size() && field[i] >= '0' && field[i] <= '7'; ++i)
      value = value << 3 | static_cast<uint64_t>(field[i] - '0');
    for (; i < field.size(); ++i) is_valid = is_valid && (field[i] == ' ' || field[i] == 0);
  }
  RequireData(is_valid && value <= kMaxContentBytes, "[tar] ", name_, ": expected a ", what, " in the header at byte ",
              at_ - kBlockBytes);
  return value;
}

// The sum of the block's bytes with the checksum itself as spaces; some old writers summed signed bytes.
void TarReader::CheckChecksum(std::span<const uint8_t> block) const {
  int64_t sum = 0, signed_sum = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    const bool is_checksum = i >= kChecksumAt && i < kChecksumAt + kChecksumBytes;
    sum += is_checksum ? ' ' : block[i];
    signed_sum += is_checksum ? ' ' : static_cast<int8_t>(block[i]);
  }
  const auto stored = static_cast<int64_t>(ParseNumber(block.subspan(kChecksumAt, kChecksumBytes), "checksum"));
  RequireData(stored == sum || stored == signed_sum, "[tar] ", name_, ": expected checksum ", sum,
              " in the header at byte ", at_ - kBlockBytes, ", got ", stored, "; hint: not a tar archive, or damaged");
}

std::vector<uint8_t> TarReader::ReadExactly(uint64_t size) {
  std::vector<uint8_t> bytes;
  while (bytes.size() < size) {
    const size_t begin = bytes.size();
    bytes.resize(begin + static_cast<size_t>(std::min(size - begin, std::max<uint64_t>(kReadStepBytes, begin))));
    const auto piece = std::span<uint8_t>(bytes).subspan(begin);
    const size_t got = source_->Read(piece);
    at_ += got;
    RequireData(got == piece.size(), "[tar] ", name_, " is cut short: expected ", size, " bytes of content, got ",
                begin + got);
  }
  return bytes;
}

void TarReader::SkipRest() {
  const uint64_t count = content_left_ + padding_left_;
  RequireData(count == 0 || source_->Skip(count), "[tar] ", name_, " is cut short: expected ", count,
              " more bytes of content at byte ", at_);
  at_ += count;
  content_left_ = padding_left_ = 0;
}

}  // namespace fovea::formats
