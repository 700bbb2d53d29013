// A small reader of EXIF: orientation, time, place and camera out of a TIFF directory.
//
// Why not exiv2: linking it costs every start of the program about 2 ms for relocations, it parses all tags into heap
// objects, and we need seven of them. This reader is bounded (at most 1,024 entries in each of three directories, every
// offset checked), never throws, and follows Pillow where files disagree with the standard. It reads no maker notes and
// writes nothing.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>

#include "media/codec.h"

namespace fovea::media {
namespace {

constexpr uint32_t kTypeByte = 1, kTypeAscii = 2, kTypeShort = 3, kTypeLong = 4, kTypeRational = 5;

struct Entry {
  uint32_t tag, type, count;
  size_t value_at;  // offset of the first value; the value's bytes lie within the data
};

class Directory {
 public:
  Directory(std::span<const uint8_t> data, bool is_big_endian) : data_(data), is_big_endian_(is_big_endian) {}

  uint32_t U16(size_t at) const { return is_big_endian_ ? U16Be(&data_[at]) : U16Le(&data_[at]); }
  uint32_t U32(size_t at) const { return is_big_endian_ ? U32Be(&data_[at]) : U32Le(&data_[at]); }

  // Calls visit(entry) for every entry whose value lies within the data.
  template <typename Visit>
  void ForEach(size_t offset, Visit visit) const {
    if (offset > data_.size() || data_.size() - offset < 2) return;
    const uint32_t entries = std::min<uint32_t>(U16(offset), 1024);
    for (uint32_t i = 0; i < entries; ++i) {
      const size_t at = offset + 2 + size_t{12} * i;
      if (at + 12 > data_.size()) return;
      const uint32_t type = U16(at + 2);
      constexpr std::array<uint8_t, 13> kSizes = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8};
      if (type == 0 || type >= kSizes.size()) continue;
      Entry entry{U16(at), type, U32(at + 4), at + 8};
      const uint64_t size = uint64_t{entry.count} * kSizes[type];
      if (size > 4) entry.value_at = U32(at + 8);
      if (entry.value_at > data_.size() || data_.size() - entry.value_at < size) continue;
      visit(entry);
    }
  }

  std::optional<uint32_t> Integer(const Entry& entry) const {
    if (entry.count < 1) return std::nullopt;
    if (entry.type == kTypeShort) return U16(entry.value_at);
    if (entry.type == kTypeLong) return U32(entry.value_at);
    if (entry.type == kTypeByte) return data_[entry.value_at];
    return std::nullopt;
  }

  // Text up to the first NUL, without blanks at the end, safe to print.
  std::string Text(const Entry& entry) const {
    if (entry.type != kTypeAscii) return {};
    const char* begin = reinterpret_cast<const char*>(data_.data()) + entry.value_at;
    std::string text(begin, std::find(begin, begin + std::min<uint32_t>(entry.count, 256), '\0'));
    while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.pop_back();
    return base::PrintableUtf8(text);
  }

  // Degrees, minutes, seconds -> degrees.
  std::optional<double> Degrees(const Entry& entry) const {
    if (entry.type != kTypeRational || entry.count < 1) return std::nullopt;
    double degrees = 0, unit = 1;
    for (uint32_t i = 0; i < std::min<uint32_t>(entry.count, 3); ++i, unit /= 60) {
      const uint32_t numerator = U32(entry.value_at + 8 * i), denominator = U32(entry.value_at + 8 * i + 4);
      if (denominator == 0) {
        if (i == 0) return std::nullopt;
        continue;
      }
      degrees += unit * numerator / denominator;
    }
    return degrees;
  }

 private:
  std::span<const uint8_t> data_;
  bool is_big_endian_;
};

bool HasDigits(const std::string& text, std::initializer_list<size_t> places) {
  return std::all_of(places.begin(), places.end(), [&](size_t i) { return text[i] >= '0' && text[i] <= '9'; });
}

// "2023:05:01 12:30:00" and "+02:00" -> "2023-05-01T12:30:00+02:00"; "" for anything else ("0000:00:00 ..." means
// unknown).
std::string IsoTime(std::string time, const std::string& offset) {
  if (time.size() != 19 || !HasDigits(time, {0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18})) return {};
  if (time[13] != ':' || time[16] != ':' || time.substr(0, 4) == "0000") return {};
  const int month = std::stoi(time.substr(5, 2)), day = std::stoi(time.substr(8, 2)),
            hour = std::stoi(time.substr(11, 2));
  const int minute = std::stoi(time.substr(14, 2)), second = std::stoi(time.substr(17, 2));
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) return {};
  time[4] = time[7] = '-';
  time[10] = 'T';
  const bool has_offset = offset.size() == 6 && (offset[0] == '+' || offset[0] == '-') && offset[3] == ':' &&
                          HasDigits(offset, {1, 2, 4, 5});
  return has_offset ? time + offset : time;
}

void ReadPlace(const Directory& directory, size_t offset, ImageInfo& info) {
  std::optional<double> latitude, longitude;
  char latitude_side = 0, longitude_side = 0;
  directory.ForEach(offset, [&](const Entry& entry) {
    if (entry.tag == 1) latitude_side = (directory.Text(entry) + "?")[0];
    if (entry.tag == 2) latitude = directory.Degrees(entry);
    if (entry.tag == 3) longitude_side = (directory.Text(entry) + "?")[0];
    if (entry.tag == 4) longitude = directory.Degrees(entry);
  });
  if (!latitude || !longitude || *latitude > 90 || *longitude > 180) return;
  info.latitude = latitude_side == 'S' ? -*latitude : *latitude;
  info.longitude = longitude_side == 'W' ? -*longitude : *longitude;
}

}  // namespace

int ReadExif(std::span<const uint8_t> tiff, ImageInfo& info) {
  if (HasAt(tiff, 0, std::string_view("Exif\0\0", 6))) tiff = tiff.subspan(6);
  if (tiff.size() < 8 || (!HasAt(tiff, 0, "II") && !HasAt(tiff, 0, "MM"))) return 0;
  const Directory directory(tiff, tiff[0] == 'M');
  int orientation = 0;
  uint32_t exif_at = 0, place_at = 0;
  directory.ForEach(directory.U32(4), [&](const Entry& entry) {
    switch (entry.tag) {
      case 0x010F: info.camera_make = directory.Text(entry); break;
      case 0x0110: info.camera_model = directory.Text(entry); break;
      case 0x0112: orientation = static_cast<int>(std::min<uint32_t>(directory.Integer(entry).value_or(0), 9)); break;
      case 0x8769: exif_at = directory.Integer(entry).value_or(0); break;
      case 0x8825: place_at = directory.Integer(entry).value_or(0); break;
      default: break;
    }
  });
  if (exif_at != 0) {
    std::string time, time_zone;
    directory.ForEach(exif_at, [&](const Entry& entry) {
      if (entry.tag == 0x9003) time = directory.Text(entry);
      if (entry.tag == 0x9011) time_zone = directory.Text(entry);
    });
    info.capture_time = IsoTime(time, time_zone);
  }
  if (place_at != 0) ReadPlace(directory, place_at, info);
  return orientation;
}

int XmpOrientation(std::span<const uint8_t> packet) {
  const std::string_view text(reinterpret_cast<const char*>(packet.data()), packet.size());
  for (const std::string_view key : {"tiff:Orientation=\"", "tiff:Orientation>"}) {
    const size_t at = text.find(key);
    if (at == std::string_view::npos || at + key.size() >= text.size()) continue;
    const char digit = text[at + key.size()];
    if (digit >= '1' && digit <= '8') return digit - '0';
  }
  return 0;
}

}  // namespace fovea::media
