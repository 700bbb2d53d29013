#include "formats/zip.h"

#include <algorithm>

#include "formats/bytes.h"

namespace fovea::formats {
namespace {

// Signatures and sizes of PKWARE's APPNOTE 6.3, sections 4.3.7 to 4.3.16.
constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kEndBytes = 22;
constexpr size_t kLocator64Bytes = 20;
constexpr size_t kMaxCommentBytes = 65535;
constexpr uint16_t kFlagEncrypted = 1;
constexpr uint16_t kFlagSizesFollow = 8;  // local header may hold zeros
constexpr uint16_t kZip64Extra = 1;

struct Central {
  uint64_t offset, size, count;
};

// Finds the end record: its comment must reach exactly to the end of the file.
size_t FindEnd(std::span<const uint8_t> bytes, const std::string& source) {
  RequireData(bytes.size() >= kEndBytes, "[zip] ", source, " is cut short: no end record");
  const size_t last = bytes.size() - kEndBytes;
  const size_t first = last > kMaxCommentBytes ? last - kMaxCommentBytes : 0;
  for (size_t at = last + 1; at-- > first;) {
    if (LoadLittle<uint32_t>(&bytes[at]) == kEndSignature && LoadLittle<uint16_t>(&bytes[at + 20]) == last - at)
      return at;
  }
  Fail(ErrorCode::kCorruptData, "[zip] ", source, " has no end record; hint: it may be cut short");
}

Central ReadEnd(std::span<const uint8_t> bytes, const std::string& source) {
  const size_t end = FindEnd(bytes, source);
  const uint8_t* record = &bytes[end];
  const bool is_one_disk = LoadLittle<uint16_t>(record + 4) == 0 && LoadLittle<uint16_t>(record + 6) == 0;
  RequireData(is_one_disk, "[zip] ", source, ": expected an archive in one file, got a part of several");
  Central central{LoadLittle<uint32_t>(record + 16), LoadLittle<uint32_t>(record + 12),
                  LoadLittle<uint16_t>(record + 10)};
  uint64_t limit = end;
  if (end >= kLocator64Bytes && LoadLittle<uint32_t>(&bytes[end - kLocator64Bytes]) == kLocator64Signature) {
    const auto end64 = LoadLittle<uint64_t>(&bytes[end - kLocator64Bytes + 8]);
    RequireData(end64 <= end - kLocator64Bytes, "[zip] ", source, ": expected the zip64 end record before byte ", end,
                ", got ", end64);
    ByteCursor cursor(bytes.first(end), "zip", source, end64);
    RequireData(cursor.Read<uint32_t>() == kEnd64Signature, "[zip] ", source, ": expected a zip64 end record at byte ",
                end64);
    cursor.Take(28);  // its size, versions, disk numbers, members on this disk
    central.count = cursor.Read<uint64_t>();
    central.size = cursor.Read<uint64_t>();
    central.offset = cursor.Read<uint64_t>();
    limit = end64;
  }
  RequireData(central.offset <= limit && central.size <= limit - central.offset, "[zip] ", source,
              ": expected the directory before byte ", limit, ", got [", central.offset, ",+", central.size, ")");
  return central;
}

struct Header {
  uint16_t flags, method;
  uint64_t stored_bytes, bytes, local_offset;
  std::string_view name;
};

// Replaces sizes and offset that are all ones by those of the zip64 extra field.
void ReadZip64Extra(std::span<const uint8_t> extra, const std::string& source, Header& header) {
  ByteCursor cursor(extra, "zip", source);
  while (cursor.remaining() >= 4) {
    const auto id = cursor.Read<uint16_t>();
    const auto field = cursor.Take(cursor.Read<uint16_t>());
    if (id != kZip64Extra) continue;
    ByteCursor values(field, "zip", source);
    for (uint64_t* value : {&header.bytes, &header.stored_bytes, &header.local_offset}) {
      if (*value == UINT32_MAX) *value = values.Read<uint64_t>();
    }
  }
}

Header ReadCentralHeader(ByteCursor& cursor, const std::string& source) {
  RequireData(cursor.Read<uint32_t>() == kCentralSignature, "[zip] ", source, ": expected a directory entry at byte ",
              cursor.at() - 4);
  cursor.Take(4);  // versions
  Header header{};
  header.flags = cursor.Read<uint16_t>();
  header.method = cursor.Read<uint16_t>();
  cursor.Take(8);  // time, date, checksum
  header.stored_bytes = cursor.Read<uint32_t>();
  header.bytes = cursor.Read<uint32_t>();
  const auto name_bytes = cursor.Read<uint16_t>();
  const auto extra_bytes = cursor.Read<uint16_t>();
  const auto comment_bytes = cursor.Read<uint16_t>();
  cursor.Take(8);  // disk number, attributes
  header.local_offset = cursor.Read<uint32_t>();
  header.name = cursor.TakeText(name_bytes);
  ReadZip64Extra(cursor.Take(extra_bytes), source, header);
  cursor.Take(comment_bytes);
  return header;
}

// Checks the local header against the directory's and returns the content.
std::span<const uint8_t> ReadLocal(std::span<const uint8_t> before_directory, const Header& header,
                                   const std::string& source) {
  const std::string what = source + ": member " + base::PrintableUtf8(header.name.substr(0, 200));
  RequireData(header.local_offset <= before_directory.size(), "[zip] ", what, " starts behind the directory");
  ByteCursor cursor(before_directory, "zip", what, header.local_offset);
  RequireData(cursor.Read<uint32_t>() == kLocalSignature, "[zip] ", what, ": expected a local header at byte ",
              header.local_offset);
  cursor.Take(2);
  const auto flags = cursor.Read<uint16_t>();
  const auto method = cursor.Read<uint16_t>();
  cursor.Take(8);
  Header local{.flags = flags, .method = method};
  local.stored_bytes = cursor.Read<uint32_t>();
  local.bytes = cursor.Read<uint32_t>();
  const auto name_bytes = cursor.Read<uint16_t>();
  const auto extra_bytes = cursor.Read<uint16_t>();
  local.name = cursor.TakeText(name_bytes);
  const auto extra = cursor.Take(extra_bytes);
  const bool sizes_follow = (flags & kFlagSizesFollow) && local.bytes == 0 && local.stored_bytes == 0;
  if (!sizes_follow) ReadZip64Extra(extra, what, local);
  const bool is_same = local.name == header.name && method == header.method && flags == header.flags &&
                       (sizes_follow || (local.bytes == header.bytes && local.stored_bytes == header.stored_bytes));
  RequireData(is_same, "[zip] ", what, ": its local header differs from the directory");
  return cursor.Take(header.bytes);
}

}  // namespace

ZipDirectory ZipDirectory::Parse(std::span<const uint8_t> bytes, const std::string& source) {
  const Central central = ReadEnd(bytes, source);
  ByteCursor cursor(bytes.first(central.offset + central.size), "zip", source, central.offset);
  const auto before_directory = bytes.first(central.offset);
  ZipDirectory directory;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;  // [local header, end of content)
  while (cursor.remaining() > 0) {
    const Header header = ReadCentralHeader(cursor, source);
    const bool is_stored = header.method == 0 && (header.flags & kFlagEncrypted) == 0;
    if (!is_stored) {
      Fail(ErrorCode::kUnimplemented, "[zip] ", source, ": member ", base::PrintableUtf8(header.name.substr(0, 200)),
           header.method == 0 ? " is encrypted" : " is compressed",
           "; hint: only stored members are read, as torch.save writes them; TorchScript archives are not");
    }
    RequireData(header.stored_bytes == header.bytes, "[zip] ", source, ": expected a stored member to keep its size");
    const auto content = ReadLocal(before_directory, header, source);
    const auto content_end = static_cast<uint64_t>(content.data() - bytes.data()) + content.size();
    ranges.emplace_back(header.local_offset, content_end);
    const bool is_new = directory.index_.emplace(header.name, directory.members_.size()).second;
    RequireData(is_new, "[zip] ", source, " has two members named ", base::PrintableUtf8(header.name.substr(0, 200)));
    directory.members_.push_back({header.name, content});
  }
  RequireData(directory.members_.size() == central.count, "[zip] ", source, ": expected ", central.count,
              " members, got ", directory.members_.size());
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    RequireData(ranges[i - 1].second <= ranges[i].first, "[zip] ", source, ": members overlap at byte ",
                ranges[i].first);
  }
  return directory;
}

const ZipMember* ZipDirectory::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &members_[found->second];
}

}  // namespace fovea::formats
