// Pictures: from a file or bytes to upright 8-bit RGB pixels.
//
//   fovea::Image image = fovea::ReadImage("holiday.heic");
//   fovea::ImageInfo info = fovea::ReadImageInfo("holiday.heic");   // header and EXIF only, no pixels
//
// Read are JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF and BMP, told apart by their content, never by the name. Whatever the
// file holds (grey, palette, alpha, 16 bit, CMYK, EXIF or TIFF orientation, several frames or pages) comes out as the
// first picture, upright, RGB, transparency laid on white. The pixels are those of Pillow's
// ImageOps.exif_transpose(Image.open(f)).convert("RGB"), except that Pillow drops alpha where we lay it on white, and
// that 16-bit grey is scaled by >> 8 where Pillow clips it.
//
// All functions may be called from any number of threads at once. Errors name the file: kNotFound and kIo from the
// system, kCorruptData (damaged, truncated), kUnimplemented (well formed, but not read by Fovea, or no picture at all),
// kResourceExhausted (more pixels or bytes than the options allow; decided from the header, before anything is
// allocated).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace fovea {

// Upright RGB pixels, 8 bits each, row-major without padding. Copies share the pixels.
struct Image {
  int64_t width = 0;             // px
  int64_t height = 0;            // px
  std::shared_ptr<uint8_t> rgb;  // [height,width,3]

  // Uninitialised pixels. Throws kInvalidArgument unless both sizes are 1 or more, kResourceExhausted when memory is
  // out.
  static Image Allocate(int64_t width, int64_t height);

  bool empty() const { return rgb == nullptr; }
  int64_t size_bytes() const { return width * height * 3; }
  const uint8_t* data() const { return rgb.get(); }
  const uint8_t* row(int64_t y) const { return rgb.get() + y * width * 3; }
  uint8_t* mutable_row(int64_t y) { return rgb.get() + y * width * 3; }
};

// What the header says.
struct ImageInfo {
  std::string format;           // "jpeg", "png", "webp", "heic", "avif", "tiff", "gif", "bmp"
  int64_t width = 0;            // px, upright
  int64_t height = 0;           // px, upright
  int64_t original_width = 0;   // px as stored, before rotation
  int64_t original_height = 0;  // px as stored, before rotation
  int orientation = 1;  // EXIF 1..8 that was (or would be) applied; 1 for HEIC and AVIF, which carry their own rotation
  bool has_alpha = false;    // the file can hold transparent pixels
  int bits = 8;              // per sample as stored
  std::string capture_time;  // EXIF DateTimeOriginal as ISO 8601, "2023-05-01T12:30:00" plus "+02:00" when known; ""
                             // when absent
  std::optional<double> latitude;   // degrees, north positive
  std::optional<double> longitude;  // degrees, east positive
  std::string camera_make;          // "" when absent
  std::string camera_model;         // "" when absent
};

struct DecodeOptions {
  int64_t max_pixels = 178'956'970;           // width x height, as stored; the limit Pillow uses too
  int64_t max_file_bytes = int64_t{1} << 30;  // of the encoded file
};

// The picture in a file. With `info`, also what the header says (saves a second reading).
Image ReadImage(const std::string& path, const DecodeOptions& options = {}, ImageInfo* info = nullptr);

// The picture in `bytes`, a whole encoded file. `name` is used in errors only.
Image DecodeImage(std::span<const uint8_t> bytes, const std::string& name, const DecodeOptions& options = {},
                  ImageInfo* info = nullptr);

// What the header of a file says; decodes no pixels and sets no limit on them.
ImageInfo ReadImageInfo(const std::string& path, const DecodeOptions& options = {});
ImageInfo ProbeImage(std::span<const uint8_t> bytes, const std::string& name);

// Writes a picture atomically (the old file or the new one, never a part). Throws kIo, kInvalidArgument for an empty
// image, a quality outside 1..100, or a side of more than 65,500 px for JPEG.
void WritePng(const std::string& path, const Image& image);
void WriteJpeg(const std::string& path, const Image& image, int quality = 90);

}  // namespace fovea
