// The directory of a zip archive whose members are stored, not compressed: what torch.save writes, so that tensors can
// be mapped.
//
// Reads zip32 and zip64. The central directory is the truth; each local header must agree with it, members may not
// overlap each other or the directory, and names are unique. Compressed or encrypted members are refused by name.
// Checksums are not verified: torch can be told not to compute them, and it would mean reading every page of a mapped
// file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fovea::formats {

struct ZipMember {
  std::string_view name;           // points into the archive
  std::span<const uint8_t> bytes;  // the stored content, points into the archive
};

class ZipDirectory {
 public:
  // Throws kCorruptData, or kUnimplemented for members that are compressed or encrypted. `bytes` must outlive the
  // result.
  static ZipDirectory Parse(std::span<const uint8_t> bytes, const std::string& source);

  const std::vector<ZipMember>& members() const { return members_; }  // in the order of the directory
  const ZipMember* Find(std::string_view name) const;                 // nullptr when there is none

 private:
  std::vector<ZipMember> members_;
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace fovea::formats
