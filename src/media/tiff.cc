// TIFF through libtiff, from memory: first page; strips or tiles; grey, palette, RGB, CMYK of 1 to 16 bits, with or
// without alpha, in one plane or several; any compression libtiff knows.
//
// libtiff undoes the compression, this file turns samples into RGB (16 bit by >> 8). YCbCr is left to libtiff: to its
// JPEG decoder, or to its RGBA interface when the pixels are stored subsampled without JPEG. Not read: 32-bit and
// floating-point samples, CIE Lab, and the "old-style JPEG" of 1992, whose reader is a well-known source of trouble.
#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "media/codec.h"

namespace fovea::media {
namespace {

// libtiff's messages of one file; the last one explains a failure.
struct Messages {
  char last[256] = "unknown error";
};

int KeepMessage(TIFF*, void* user, const char* module, const char* format, va_list arguments) {
  auto* messages = static_cast<Messages*>(user);
  const int used =
      std::snprintf(messages->last, sizeof(messages->last), "%s: ", module != nullptr ? module : "libtiff");
  if (used > 0 && used < static_cast<int>(sizeof(messages->last))) {
    std::vsnprintf(messages->last + used, sizeof(messages->last) - static_cast<size_t>(used), format, arguments);
  }
  return 1;
}
int DropMessage(TIFF*, void*, const char*, const char*, va_list) { return 1; }

struct Cursor {
  std::span<const uint8_t> bytes;
  uint64_t at = 0;
};

tmsize_t ReadBytes(thandle_t handle, void* out, tmsize_t size) {
  auto* cursor = static_cast<Cursor*>(handle);
  if (size <= 0 || cursor->at >= cursor->bytes.size()) return 0;
  const uint64_t count = std::min<uint64_t>(static_cast<uint64_t>(size), cursor->bytes.size() - cursor->at);
  std::memcpy(out, cursor->bytes.data() + cursor->at, count);
  cursor->at += count;
  return static_cast<tmsize_t>(count);
}
tmsize_t WriteNothing(thandle_t, void*, tmsize_t) { return 0; }
toff_t Seek(thandle_t handle, toff_t offset, int whence) {
  auto* cursor = static_cast<Cursor*>(handle);
  cursor->at = whence == SEEK_CUR ? cursor->at + offset : whence == SEEK_END ? cursor->bytes.size() + offset : offset;
  return cursor->at;
}
int CloseNothing(thandle_t) { return 0; }
toff_t Size(thandle_t handle) { return static_cast<Cursor*>(handle)->bytes.size(); }
int Map(thandle_t handle, void** base, toff_t* size) {
  auto* cursor = static_cast<Cursor*>(handle);
  *base = const_cast<uint8_t*>(cursor->bytes.data());
  *size = cursor->bytes.size();
  return 1;
}
void Unmap(thandle_t, void*, toff_t) {}

struct CloseTiff {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};

enum class Alpha { kNone, kStraight, kPremultiplied };

// An opened file and what its directory says, checked.
struct Page {
  std::unique_ptr<Messages> messages = std::make_unique<Messages>();
  std::unique_ptr<Cursor> cursor;
  std::unique_ptr<TIFF, CloseTiff> tiff;
  ImageInfo info;
  uint32_t width = 0, height = 0;
  uint16_t bits = 1, samples = 1, photometric = 0, compression = COMPRESSION_NONE, planes = PLANARCONFIG_CONTIG;
  uint16_t sample_format = SAMPLEFORMAT_UINT;
  Alpha alpha = Alpha::kNone;
};

uint16_t Field(TIFF* tiff, uint32_t tag, uint16_t fallback) {
  uint16_t value = fallback;
  return TIFFGetFieldDefaulted(tiff, tag, &value) == 1 ? value : fallback;
}

Page Open(const Source& source) {
  Page page;
  page.cursor = std::make_unique<Cursor>(Cursor{source.bytes});
  const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(),
                                                                             TIFFOpenOptionsFree);
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), KeepMessage, page.messages.get());
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), DropMessage, nullptr);
  TIFFOpenOptionsSetMaxSingleMemAlloc(
      options.get(), static_cast<tmsize_t>(std::max<int64_t>(source.options.max_pixels, 1 << 20) * 16));
  page.tiff.reset(TIFFClientOpenExt("tiff", "r", page.cursor.get(), ReadBytes, WriteNothing, Seek, CloseNothing, Size,
                                    Map, Unmap, options.get()));
  TIFF* tiff = page.tiff.get();
  if (tiff == nullptr) FailDamaged(source, "damaged TIFF: ", page.messages->last);
  if (TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &page.width) != 1 ||
      TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &page.height) != 1) {
    FailDamaged(source, "damaged TIFF: no image size");
  }
  page.bits = Field(tiff, TIFFTAG_BITSPERSAMPLE, 1);
  page.samples = Field(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
  page.compression = Field(tiff, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  page.planes = Field(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  page.sample_format = Field(tiff, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
  if (TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &page.photometric) != 1) {
    page.photometric = page.samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
  }
  const uint16_t colors = page.photometric == PHOTOMETRIC_RGB || page.photometric == PHOTOMETRIC_YCBCR ? 3
                          : page.photometric == PHOTOMETRIC_SEPARATED                                  ? 4
                                                                                                       : 1;
  uint16_t extra_count = 0;
  uint16_t* extra = nullptr;
  const bool has_extra =
      TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &extra_count, &extra) == 1 && extra_count > 0 && extra != nullptr;
  if (page.samples > colors) {
    // Without the tag, a fourth sample beside RGB is alpha, as in Pillow.
    const uint16_t kind = has_extra ? extra[0] : colors == 3 ? EXTRASAMPLE_UNASSALPHA : EXTRASAMPLE_UNSPECIFIED;
    if (kind == EXTRASAMPLE_ASSOCALPHA) page.alpha = Alpha::kPremultiplied;
    if (kind == EXTRASAMPLE_UNASSALPHA) page.alpha = Alpha::kStraight;
  }
  if (page.samples < colors)
    FailDamaged(source, "damaged TIFF: ", page.samples, " samples a pixel for ", colors, " colours");
  page.info.format = "tiff";
  page.info.bits = page.bits;
  page.info.has_alpha = page.alpha != Alpha::kNone;
  ReadExif(source.bytes, page.info);
  SetGeometry(page.info, page.width, page.height, Field(tiff, TIFFTAG_ORIENTATION, 1));
  return page;
}

void CheckSupported(const Source& source, const Page& page) {
  if (page.compression == COMPRESSION_OJPEG) FailUnsupported(source, "TIFF with old-style JPEG compression");
  if (TIFFIsCODECConfigured(page.compression) == 0) FailUnsupported(source, "TIFF with compression ", page.compression);
  if (page.photometric > PHOTOMETRIC_YCBCR || page.photometric == PHOTOMETRIC_MASK) {
    FailUnsupported(source, "TIFF with photometric interpretation ", page.photometric);
  }
  const bool has_known_depth = page.bits == 1 || page.bits == 2 || page.bits == 4 || page.bits == 8 || page.bits == 16;
  if (!has_known_depth || page.sample_format == SAMPLEFORMAT_IEEEFP || page.samples > 16) {
    FailUnsupported(source, "TIFF with ", page.samples, " samples of ", page.bits,
                    page.sample_format == SAMPLEFORMAT_IEEEFP ? " bits, floating point" : " bits");
  }
  if (page.bits == 16 && page.photometric == PHOTOMETRIC_PALETTE)
    FailUnsupported(source, "TIFF with a palette of 65,536 colours");
}

// `count` packed samples -> one byte each: values are scaled to 0..255, palette indices kept. 16-bit samples are in
// native order.
void Unpack(const uint8_t* in, uint16_t bits, size_t count, bool is_index, uint8_t* out, size_t out_step) {
  if (bits == 8) {
    for (size_t i = 0; i < count; ++i) out[i * out_step] = in[i];
  } else if (bits == 16) {
    for (size_t i = 0; i < count; ++i) {
      uint16_t value;
      std::memcpy(&value, in + 2 * i, 2);
      out[i * out_step] = static_cast<uint8_t>(value >> 8);
    }
  } else {
    const uint32_t most = (1u << bits) - 1, scale = is_index ? 1 : 255 / most;
    for (size_t i = 0; i < count; ++i) {
      const size_t bit = i * bits;
      out[i * out_step] = static_cast<uint8_t>(((in[bit / 8] >> (8 - bits - bit % 8)) & most) * scale);
    }
  }
}

// Samples of one row, a byte each, to RGB.
class RowConverter {
 public:
  RowConverter(const Source& source, const Page& page) : page_(page), rgba_(size_t{4} * page.width) {
    if (page.photometric != PHOTOMETRIC_PALETTE) return;
    uint16_t *red = nullptr, *green = nullptr, *blue = nullptr;
    if (TIFFGetField(page.tiff.get(), TIFFTAG_COLORMAP, &red, &green, &blue) != 1)
      FailDamaged(source, "damaged TIFF: no palette");
    for (size_t i = 0; i < (size_t{1} << page.bits); ++i) {
      palette_[i] = {static_cast<uint8_t>(red[i] >> 8), static_cast<uint8_t>(green[i] >> 8),
                     static_cast<uint8_t>(blue[i] >> 8)};
    }
  }

  void Convert(const uint8_t* samples, size_t count, uint8_t* rgb) {
    if (page_.photometric == PHOTOMETRIC_SEPARATED) {
      for (size_t i = 0; i < count; ++i) std::memcpy(&rgba_[4 * i], samples + i * page_.samples, 4);
      CmykToRgb(rgba_.data(), static_cast<int64_t>(count), rgb);
      return;
    }
    const int colors = page_.photometric == PHOTOMETRIC_RGB || page_.photometric == PHOTOMETRIC_YCBCR ? 3 : 1;
    const uint8_t inverse = page_.photometric == PHOTOMETRIC_MINISWHITE ? 255 : 0;
    for (size_t i = 0; i < count; ++i) {
      const uint8_t* in = samples + i * page_.samples;
      uint8_t* out = &rgba_[4 * i];
      if (page_.photometric == PHOTOMETRIC_PALETTE)
        std::memcpy(out, palette_[in[0]].data(), 3);
      else
        for (int c = 0; c < 3; ++c) out[c] = in[colors == 3 ? c : 0] ^ inverse;
      const uint8_t alpha = page_.alpha == Alpha::kNone ? 255 : in[colors];
      if (page_.alpha == Alpha::kPremultiplied && alpha != 0 && alpha != 255) {
        for (int c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>(std::min(255, 255 * out[c] / alpha));
      }
      out[3] = alpha;
    }
    LayOnWhite(rgba_.data(), static_cast<int64_t>(count), rgb);
  }

 private:
  const Page& page_;
  std::vector<uint8_t> rgba_;
  std::array<std::array<uint8_t, 3>, 256> palette_{};
};

// Strips and tiles alike: rectangles of the picture that are compressed on their own, one for each plane.
Image DecodeBlocks(const Source& source, const Page& page) {
  TIFF* tiff = page.tiff.get();
  const bool is_tiled = TIFFIsTiled(tiff) != 0;
  uint32_t block_width = page.width, block_height = page.height;
  if (is_tiled) {
    if (TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &block_width) != 1 ||
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &block_height) != 1) {
      FailDamaged(source, "damaged TIFF: no tile size");
    }
    CheckBudget(source, block_width, block_height);
  } else {
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &block_height);
    block_height = std::clamp<uint32_t>(block_height, 1, page.height);
  }
  const bool is_planar = page.planes == PLANARCONFIG_SEPARATE;
  const uint32_t plane_count = is_planar ? page.samples : 1, plane_samples = is_planar ? 1 : page.samples;
  const uint64_t row_bytes = (uint64_t{block_width} * plane_samples * page.bits + 7) / 8;
  const tmsize_t block_bytes = is_tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
  if (block_bytes <= 0 || static_cast<uint64_t>(block_bytes) < row_bytes * block_height ||
      static_cast<uint64_t>(is_tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff)) != row_bytes) {
    FailDamaged(source, "damaged TIFF: block sizes do not fit the image");
  }
  // A block may be stored larger than the picture; only the part inside is unpacked.
  const auto packed = std::make_unique_for_overwrite<uint8_t[]>(static_cast<size_t>(block_bytes));
  std::vector<uint8_t> samples(size_t{block_width} * std::min(block_height, page.height) *
                               (is_planar ? page.samples : 0));
  std::vector<uint8_t> row(size_t{block_width} * page.samples);
  RowConverter converter(source, page);
  Image image = Image::Allocate(page.width, page.height);
  const bool is_index = page.photometric == PHOTOMETRIC_PALETTE;
  for (uint32_t y0 = 0; y0 < page.height; y0 += std::min(block_height, page.height - y0)) {
    const uint32_t rows = std::min(block_height, page.height - y0);
    for (uint32_t x0 = 0; x0 < page.width; x0 += std::min(block_width, page.width - x0)) {
      const uint32_t columns = std::min(block_width, page.width - x0);
      for (uint32_t plane = 0; plane < plane_count; ++plane) {
        const auto sample = static_cast<uint16_t>(plane);
        const tmsize_t wanted = is_tiled ? block_bytes : static_cast<tmsize_t>(row_bytes * rows);
        const tmsize_t got =
            is_tiled ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, x0, y0, 0, sample), packed.get(), wanted)
                     : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y0, sample), packed.get(), wanted);
        if (got != wanted) FailDamaged(source, "damaged or truncated TIFF: ", page.messages->last);
        if (!is_planar) continue;
        for (uint32_t y = 0; y < rows; ++y) {
          Unpack(packed.get() + y * row_bytes, page.bits, columns, is_index,
                 &samples[size_t{y} * columns * page.samples + plane], page.samples);
        }
      }
      for (uint32_t y = 0; y < rows; ++y) {
        const uint8_t* in = is_planar ? &samples[size_t{y} * columns * page.samples] : row.data();
        if (!is_planar)
          Unpack(packed.get() + y * row_bytes, page.bits, size_t{columns} * page.samples, is_index, row.data(), 1);
        converter.Convert(in, columns, image.mutable_row(y0 + y) + size_t{3} * x0);
      }
    }
  }
  return image;
}

// libtiff's own conversion, for subsampled YCbCr.
Image DecodeRgba(const Source& source, const Page& page) {
  TIFF* tiff = page.tiff.get();
  const size_t count = size_t{page.width} * page.height;
  const auto rgba = std::make_unique_for_overwrite<uint32_t[]>(count);
  TIFFSetField(tiff, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);  // on this handle only: Upright turns the picture
  if (TIFFReadRGBAImageOriented(tiff, page.width, page.height, rgba.get(), ORIENTATION_TOPLEFT, 1) != 1) {
    FailDamaged(source, "damaged or truncated TIFF: ", page.messages->last);
  }
  Image image = Image::Allocate(page.width, page.height);
  uint8_t* rgb = image.mutable_row(0);
  for (size_t i = 0; i < count; ++i, rgb += 3) {
    rgb[0] = static_cast<uint8_t>(TIFFGetR(rgba[i]));
    rgb[1] = static_cast<uint8_t>(TIFFGetG(rgba[i]));
    rgb[2] = static_cast<uint8_t>(TIFFGetB(rgba[i]));
  }
  return image;
}

bool Matches(std::span<const uint8_t> bytes) {
  return HasAt(bytes, 0, std::string_view("II*\0", 4)) || HasAt(bytes, 0, std::string_view("MM\0*", 4)) ||
         HasAt(bytes, 0, std::string_view("II+\0", 4)) || HasAt(bytes, 0, std::string_view("MM\0+", 4));
}

ImageInfo Probe(const Source& source) { return Open(source).info; }

Image Decode(const Source& source, ImageInfo& info) {
  const Page page = Open(source);
  info = page.info;
  CheckBudget(source, page.width, page.height);
  CheckSupported(source, page);
  if (page.photometric != PHOTOMETRIC_YCBCR) return Upright(DecodeBlocks(source, page), info.orientation);
  if (page.compression == COMPRESSION_JPEG && page.planes == PLANARCONFIG_CONTIG) {
    TIFFSetField(page.tiff.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    return Upright(DecodeBlocks(source, page), info.orientation);
  }
  return Upright(DecodeRgba(source, page), info.orientation);
}

}  // namespace

const Codec kTiffCodec = {Matches, Probe, Decode};

}  // namespace fovea::media
