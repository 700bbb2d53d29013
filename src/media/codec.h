// What the decoders share: the shape of a decoder, its input, and the steps from stored samples to upright RGB.
//
// A format is one file with one `Codec`; image.cc holds the table. Each decoder reads the header first, asks
// CheckBudget, and only then allocates. Libraries that report errors by longjmp are called from functions without
// destructors in between.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "fovea/image.h"

namespace fovea::media {

// An encoded picture and where it came from.
struct Source {
  std::span<const uint8_t> bytes;
  const std::string& name;
  const DecodeOptions& options;
};

struct Codec {
  bool (*matches)(std::span<const uint8_t> bytes);  // by the first bytes
  ImageInfo (*probe)(const Source& source);
  Image (*decode)(const Source& source, ImageInfo& info);  // upright RGB; fills `info` as probe does
};

extern const Codec kJpegCodec, kPngCodec, kWebpCodec, kHeifCodec, kTiffCodec, kGifCodec, kBmpCodec;

// Throws kCorruptData / kUnimplemented: "[image] NAME: WHAT".
template <typename... What>
[[noreturn]] void FailDamaged(const Source& source, const What&... what) {
  Fail(ErrorCode::kCorruptData, "[image] ", base::PrintableUtf8(source.name), ": ", what...);
}
template <typename... What>
[[noreturn]] void FailUnsupported(const Source& source, const What&... what) {
  Fail(ErrorCode::kUnimplemented, "[image] ", base::PrintableUtf8(source.name), ": ", what...);
}

// Throws kCorruptData for a size below 1x1 and kResourceExhausted for more pixels than the options allow.
void CheckBudget(const Source& source, int64_t width, int64_t height);

// Sets sizes and orientation of `info` (upright and as stored). Orientations outside 1..8 count as 1.
void SetGeometry(ImageInfo& info, int64_t stored_width, int64_t stored_height, int orientation);

// Fills what EXIF says (time, place, camera) and returns its orientation, 0 when it names none. `tiff` starts with "II"
// or "MM"; an "Exif\0\0" prefix is skipped. Damaged metadata never fails: what can be read is read.
int ReadExif(std::span<const uint8_t> tiff, ImageInfo& info);
// tiff:Orientation of an XMP packet, 0 when absent.
int XmpOrientation(std::span<const uint8_t> packet);

// Turns stored pixels upright as EXIF orientation 1..8 asks; the same image for 1.
Image Upright(const Image& stored, int orientation);

// rgba [count,4], straight alpha, laid on white -> rgb [count,3]. Rounds as Pillow's alpha_composite does.
void LayOnWhite(const uint8_t* rgba, int64_t count, uint8_t* rgb);
// Naive CMYK (0 = no ink) [count,4] -> rgb [count,3]. Rounds as Pillow's convert("RGB") does.
void CmykToRgb(const uint8_t* cmyk, int64_t count, uint8_t* rgb);

// Big- and little-endian integers from bytes; the caller has checked the bounds.
inline uint32_t U16Le(const uint8_t* p) { return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8; }
inline uint32_t U32Le(const uint8_t* p) { return U16Le(p) | U16Le(p + 2) << 16; }
inline uint32_t U16Be(const uint8_t* p) { return static_cast<uint32_t>(p[1]) | static_cast<uint32_t>(p[0]) << 8; }
inline uint32_t U32Be(const uint8_t* p) { return U16Be(p + 2) | U16Be(p) << 16; }

// True when `bytes` has `text` at `offset`.
inline bool HasAt(std::span<const uint8_t> bytes, size_t offset, std::string_view text) {
  if (bytes.size() < offset || bytes.size() - offset < text.size()) return false;
  return std::string_view(reinterpret_cast<const char*>(bytes.data()) + offset, text.size()) == text;
}

}  // namespace fovea::media
