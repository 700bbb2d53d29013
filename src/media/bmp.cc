// BMP: 1, 4, 8, 16, 24 and 32 bits, run-length coded, bit fields, top-down or bottom-up, OS/2 and Windows headers.
//
// Written here because it is a page of code, while the one packaged alternative (stb_image) reads no run-length coding
// and has its own ideas of 16-bit colour. 32-bit pictures have alpha only when their header names a mask for it, as in
// Pillow.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "media/codec.h"

namespace fovea::media {
namespace {

enum Compression : uint32_t { kPlain = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3, kAlphaBitFields = 6 };

struct Header {
  ImageInfo info;
  bool is_top_down = false;
  uint32_t bits = 0, compression = kPlain;
  std::array<uint32_t, 4> masks{};  // red, green, blue, alpha
  size_t pixels_at = 0;
  std::array<std::array<uint8_t, 3>, 256> palette{};
};

void ReadPalette(const Source& source, size_t at, size_t entry_bytes, uint32_t colors, Header& header) {
  const size_t limit = std::min(source.bytes.size(), std::max(header.pixels_at, at));
  if (colors == 0 || colors > 256) colors = 1u << header.bits;
  for (uint32_t i = 0; i < std::min(colors, 256u) && at + entry_bytes <= limit; ++i, at += entry_bytes) {
    header.palette[i] = {source.bytes[at + 2], source.bytes[at + 1], source.bytes[at]};
  }
}

void ReadMasks(const Source& source, uint32_t header_bytes, Header& header) {
  const auto bytes = source.bytes;
  if (header.compression == kBitFields || header.compression == kAlphaBitFields) {
    const bool has_alpha = header_bytes >= 56 || header.compression == kAlphaBitFields;
    if (bytes.size() < 54u + (has_alpha ? 16 : 12)) FailDamaged(source, "damaged BMP: the colour masks are missing");
    for (size_t i = 0; i < (has_alpha ? 4 : 3); ++i) header.masks[i] = U32Le(&bytes[54 + 4 * i]);
  } else if (header.bits == 16) {
    header.masks = {0x7C00, 0x3E0, 0x1F, 0};
  } else {
    header.masks = {0xFF0000, 0xFF00, 0xFF, 0};
  }
  for (const uint32_t mask : header.masks) {
    const uint32_t run = mask >> (mask == 0 ? 0 : std::countr_zero(mask));
    if ((run & (run + 1)) != 0) FailDamaged(source, "damaged BMP: a colour mask has gaps");
  }
}

Header ReadHeader(const Source& source) {
  const auto bytes = source.bytes;
  if (bytes.size() < 26) FailDamaged(source, "damaged BMP: the file ends within the header");
  Header header;
  header.pixels_at = U32Le(&bytes[10]);
  const uint32_t header_bytes = U32Le(&bytes[14]);
  int64_t width, height;
  size_t palette_at = size_t{14} + header_bytes;
  uint32_t colors = 0;
  if (header_bytes == 12) {
    width = U16Le(&bytes[18]);
    height = U16Le(&bytes[20]);
    header.bits = U16Le(&bytes[24]);
  } else {
    if (header_bytes < 40 || header_bytes > 124)
      FailUnsupported(source, "BMP with a header of ", header_bytes, " bytes");
    if (bytes.size() < 54) FailDamaged(source, "damaged BMP: the file ends within the header");
    width = static_cast<int32_t>(U32Le(&bytes[18]));
    height = static_cast<int32_t>(U32Le(&bytes[22]));
    header.bits = U16Le(&bytes[28]);
    header.compression = U32Le(&bytes[30]);
    colors = U32Le(&bytes[46]);
    if (header_bytes == 40 && header.compression == kBitFields) palette_at += 12;
  }
  header.is_top_down = height < 0;
  if (header.is_top_down) height = -height;
  if (header.bits != 1 && header.bits != 4 && header.bits != 8 && header.bits != 16 && header.bits != 24 &&
      header.bits != 32) {
    FailUnsupported(source, "BMP with ", header.bits, " bits a pixel");
  }
  const bool is_rle =
      (header.compression == kRle8 && header.bits == 8) || (header.compression == kRle4 && header.bits == 4);
  const bool is_masked =
      (header.compression == kBitFields || header.compression == kAlphaBitFields) && header.bits >= 16;
  if (header.compression != kPlain && !is_rle && !is_masked) {
    FailUnsupported(source, "BMP with compression ", header.compression, " and ", header.bits, " bits a pixel");
  }
  if (header.bits <= 8)
    ReadPalette(source, palette_at, header_bytes == 12 ? 3 : 4, colors, header);
  else
    ReadMasks(source, header_bytes, header);
  if (header.pixels_at < 26 || header.pixels_at > bytes.size())
    FailDamaged(source, "damaged BMP: the pixels lie outside of the file");
  header.info.format = "bmp";
  header.info.bits = header.bits <= 8 ? static_cast<int>(header.bits) : header.bits == 16 ? 5 : 8;
  header.info.has_alpha = header.bits > 8 && header.masks[3] != 0;
  SetGeometry(header.info, width, height, 1);
  return header;
}

// Position from the top of the picture of the y-th stored row.
int64_t RowPlace(const Header& header, int64_t y) { return header.is_top_down ? y : header.info.height - 1 - y; }

void DecodeIndexedRow(const Header& header, const uint8_t* in, uint8_t* rgb) {
  for (int64_t x = 0; x < header.info.width; ++x) {
    const int64_t bit = x * header.bits;
    const uint32_t index = (in[bit / 8] >> (8 - header.bits - bit % 8)) & ((1u << header.bits) - 1);
    std::memcpy(rgb + x * 3, header.palette[index].data(), 3);
  }
}

// The samples under one mask, widened to 8 bits.
struct Channel {
  explicit Channel(uint32_t mask) : mask(mask), shift(mask == 0 ? 0 : std::countr_zero(mask)), most(mask >> shift) {}
  uint8_t Of(uint32_t pixel) const {
    return static_cast<uint8_t>(most == 255 ? (pixel & mask) >> shift : uint64_t{(pixel & mask) >> shift} * 255 / most);
  }
  uint32_t mask;
  int shift;
  uint32_t most;
};

void DecodeMaskedRow(const Header& header, const uint8_t* in, uint8_t* rgb) {
  const Channel red(header.masks[0]), green(header.masks[1]), blue(header.masks[2]), alpha(header.masks[3]);
  const auto value = [](const Channel& channel, uint32_t pixel) {
    return channel.mask == 0 ? uint8_t{0} : channel.Of(pixel);
  };
  const uint32_t step = header.bits / 8;
  for (int64_t x = 0; x < header.info.width; ++x, in += step, rgb += 3) {
    const uint32_t pixel = step == 2 ? U16Le(in) : step == 3 ? U16Le(in) | uint32_t{in[2]} << 16 : U32Le(in);
    const uint8_t rgba[4] = {value(red, pixel), value(green, pixel), value(blue, pixel), value(alpha, pixel)};
    if (alpha.mask != 0)
      LayOnWhite(rgba, 1, rgb);
    else
      std::memcpy(rgb, rgba, 3);
  }
}

// Run-length coding: pairs (count, value), escapes (0, 0) end of line, (0, 1) end, (0, 2) jump, (0, n) n literal
// indices. Pixels that are jumped over have colour 0.
void DecodeRuns(const Source& source, const Header& header, Image& image) {
  const bool is_nibble = header.bits == 4;
  const auto bytes = source.bytes.subspan(header.pixels_at);
  for (int64_t i = 0; i < image.width * image.height; ++i)
    std::memcpy(image.mutable_row(0) + i * 3, header.palette[0].data(), 3);
  int64_t x = 0, y = 0;
  const auto put = [&](uint32_t index) {
    if (x < image.width && y < image.height)
      std::memcpy(image.mutable_row(RowPlace(header, y)) + x * 3, header.palette[index].data(), 3);
    ++x;
  };
  const auto nibble = [&](uint8_t byte, int i) -> uint32_t {
    return !is_nibble ? byte : i % 2 == 0 ? byte >> 4 : byte & 15u;
  };
  for (size_t at = 0; y < image.height;) {
    if (bytes.size() - at < 2) {
      if (y == image.height - 1 && x >= image.width) return;  // only the end mark is missing
      FailDamaged(source, "damaged BMP: the file ends within the pixels");
    }
    const uint8_t count = bytes[at], value = bytes[at + 1];
    at += 2;
    if (count > 0) {
      for (int i = 0; i < count; ++i) put(nibble(value, i));
    } else if (value == 0) {
      x = 0;
      ++y;
    } else if (value == 1) {
      return;
    } else if (value == 2) {
      if (bytes.size() - at < 2) FailDamaged(source, "damaged BMP: the file ends within the pixels");
      x += bytes[at];
      y += bytes[at + 1];
      at += 2;
    } else {
      const size_t size = is_nibble ? (value + 1u) / 2 : value;
      if (bytes.size() - at < size) FailDamaged(source, "damaged BMP: the file ends within the pixels");
      for (int i = 0; i < value; ++i) put(nibble(bytes[at + (is_nibble ? i / 2 : i)], i));
      at = std::min(bytes.size(), at + size + size % 2);
    }
  }
}

// "BM" alone would claim many texts, so the size of the second header must be sane too.
bool Matches(std::span<const uint8_t> bytes) {
  return HasAt(bytes, 0, "BM") && (bytes.size() < 18 || (U32Le(&bytes[14]) >= 12 && U32Le(&bytes[14]) <= 124));
}

ImageInfo Probe(const Source& source) { return ReadHeader(source).info; }

Image Decode(const Source& source, ImageInfo& info) {
  const Header header = ReadHeader(source);
  info = header.info;
  CheckBudget(source, info.width, info.height);
  const bool is_rle = header.compression == kRle8 || header.compression == kRle4;
  const int64_t stride = (info.width * header.bits + 31) / 32 * 4;
  // The last row may lack its padding.
  const int64_t needed = stride * (info.height - 1) + (info.width * header.bits + 7) / 8;
  if (!is_rle && needed > static_cast<int64_t>(source.bytes.size() - header.pixels_at)) {
    FailDamaged(source, "damaged BMP: expected ", needed, " bytes of pixels, got ",
                source.bytes.size() - header.pixels_at);
  }
  Image image = Image::Allocate(info.width, info.height);
  if (is_rle) {
    DecodeRuns(source, header, image);
    return image;
  }
  for (int64_t y = 0; y < info.height; ++y) {
    const uint8_t* in = source.bytes.data() + header.pixels_at + static_cast<size_t>(y * stride);
    uint8_t* out = image.mutable_row(RowPlace(header, y));
    if (header.bits <= 8)
      DecodeIndexedRow(header, in, out);
    else
      DecodeMaskedRow(header, in, out);
  }
  return image;
}

}  // namespace

const Codec kBmpCodec = {Matches, Probe, Decode};

}  // namespace fovea::media
