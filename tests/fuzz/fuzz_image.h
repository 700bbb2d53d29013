// What the fuzz targets of the image formats share: read the header, then the pixels, of arbitrary bytes.
//
// A target keeps to its own format by its first bytes, which it puts in place itself, so that no time is spent on
// finding them. An Error is the expected answer; anything else (crash, leak, another exception, an image larger than
// allowed) is a finding.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "fovea/error.h"
#include "fovea/image.h"

namespace fovea::fuzzing {

struct Magic {
  size_t offset;
  std::string_view text;
};

inline int ReadImageBytes(const uint8_t* data, size_t size, std::initializer_list<Magic> magics) {
  std::vector<uint8_t> bytes(data, data + size);
  for (const Magic& magic : magics) {
    if (bytes.size() < magic.offset + magic.text.size()) return -1;
    std::memcpy(bytes.data() + magic.offset, magic.text.data(), magic.text.size());
  }
  DecodeOptions options;
  options.max_pixels = 1 << 20;
  try {
    ProbeImage(bytes, "fuzz");
  } catch (const Error&) {
  }
  try {
    const Image image = DecodeImage(bytes, "fuzz", options);
    // Every pixel must be readable and the budget kept.
    if (image.width * image.height > options.max_pixels) std::abort();
    volatile uint8_t sum = 0;
    for (int64_t i = 0; i < image.size_bytes(); ++i) sum = static_cast<uint8_t>(sum + image.data()[i]);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInternal) std::abort();
  }
  return 0;
}

}  // namespace fovea::fuzzing
