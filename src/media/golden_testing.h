// Stored results of Pillow and transformers for the tests of this room; written by tools/dump_media_golden.py.
#pragma once

#include <zlib.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "media/codec.h"

namespace fovea::media {

// The test picture of the script: pattern(width, height).
inline Image Pattern(int64_t width, int64_t height) {
  Image image = Image::Allocate(width, height);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        image.mutable_row(y)[3 * x + c] =
            static_cast<uint8_t>((x * x * 3 + y * y * 5 + x * y * 7 + c * 85 + (x ^ y) * 11) >> 2);
      }
    }
  }
  return image;
}

struct GoldenRecord {
  std::string name;
  std::array<int32_t, 5> numbers;
  std::vector<uint8_t> packed;

  std::vector<uint8_t> Unpack(size_t size) const {
    std::vector<uint8_t> data(size);
    uLongf got = size;
    Require(uncompress(data.data(), &got, packed.data(), packed.size()) == Z_OK && got == size, "[golden] ", name,
            ": expected ", size, " bytes");
    return data;
  }
};

inline std::vector<GoldenRecord> ReadGolden(const std::string& path) {
  const std::vector<uint8_t> bytes = base::ReadFile(path, 64 << 20);
  std::vector<GoldenRecord> records;
  for (size_t at = 0; at < bytes.size();) {
    GoldenRecord record;
    const size_t name_size = U16Le(&bytes[at]);
    record.name.assign(reinterpret_cast<const char*>(&bytes[at + 2]), name_size);
    at += 2 + name_size;
    std::memcpy(record.numbers.data(), &bytes[at], 20);
    const size_t size = U32Le(&bytes[at + 20]);
    at += 24;
    record.packed.assign(bytes.begin() + static_cast<int64_t>(at), bytes.begin() + static_cast<int64_t>(at + size));
    at += size;
    records.push_back(std::move(record));
  }
  return records;
}

inline std::vector<std::string> Words(const std::string& text) { return base::Split(text, ' '); }

}  // namespace fovea::media
