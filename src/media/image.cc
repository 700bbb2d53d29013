// The entry points of include/fovea/image.h: which decoder reads these bytes, and what to say when none does.
#include "fovea/image.h"

#include <algorithm>
#include <array>

#include "base/file.h"
#include "media/codec.h"

namespace fovea {
namespace {

using media::Codec;
using media::HasAt;

constexpr std::array<const Codec*, 7> kCodecs = {&media::kJpegCodec, &media::kPngCodec,  &media::kWebpCodec,
                                                 &media::kHeifCodec, &media::kTiffCodec, &media::kGifCodec,
                                                 &media::kBmpCodec};

// What a file that is no supported picture seems to be, for the error text.
std::string_view GuessContent(std::span<const uint8_t> bytes) {
  struct Magic {
    size_t offset;
    std::string_view text, what;
  };
  static constexpr Magic kMagics[] = {
      {0, "%PDF", "a PDF document"},
      {0, "PK\x03\x04", "a zip archive or office document"},
      {0, "\x1f\x8b", "gzip-compressed data"},
      {0, "Rar!", "a RAR archive"},
      {0,
       "\x7f"
       "ELF",
       "a program"},
      {0, "MZ", "a Windows program"},
      {0, "<!DOCTYPE html", "HTML"},
      {0, "<!doctype html", "HTML"},
      {0, "<html", "HTML"},
      {0, "<HTML", "HTML"},
      {0, "<svg", "an SVG drawing"},
      {0, "<?xml", "XML (perhaps an SVG drawing)"},
      {0, "8BPS", "a Photoshop document"},
      {0, "\xff\x0a", "JPEG XL"},
      {4, "JXL ", "JPEG XL"},
      {4, "jP  ", "JPEG 2000"},
      {0, "\xff\x4f\xff\x51", "JPEG 2000"},
      {4, "ftyp", "a video or another ISO media file"},
      {0, "\x1a\x45\xdf\xa3", "a Matroska or WebM video"},
      {0, "RIFF", "a RIFF file (AVI video or WAV sound)"},
      {0, "OggS", "Ogg sound or video"},
      {0, "ID3", "MP3 sound"},
      {0, "version https://git-lfs", "a Git LFS pointer, not the file it stands for"},
      {0, "{", "JSON or other text"},
  };
  for (const Magic& magic : kMagics) {
    if (HasAt(bytes, magic.offset, magic.text)) return magic.what;
  }
  const auto head = bytes.first(std::min<size_t>(bytes.size(), 512));
  bool is_text = true, is_zero = true;
  for (const uint8_t byte : head) {
    is_text &= byte >= 0x20 || byte == '\n' || byte == '\r' || byte == '\t';
    is_zero &= byte == 0;
  }
  return is_zero ? "zero bytes only" : is_text ? "text" : "unknown binary data";
}

const Codec& FindCodec(const media::Source& source) {
  if (source.bytes.empty()) media::FailDamaged(source, "expected a picture, got an empty file");
  for (const Codec* codec : kCodecs) {
    if (codec->matches(source.bytes)) return *codec;
  }
  media::FailUnsupported(source, "expected JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP, got what looks like ",
                         GuessContent(source.bytes));
}

}  // namespace

Image DecodeImage(std::span<const uint8_t> bytes, const std::string& name, const DecodeOptions& options,
                  ImageInfo* info) {
  const media::Source source{bytes, name, options};
  if (static_cast<int64_t>(bytes.size()) > options.max_file_bytes) {
    Fail(ErrorCode::kResourceExhausted, "[image] ", base::PrintableUtf8(name), " has ", bytes.size(),
         " bytes, the limit is ", options.max_file_bytes);
  }
  ImageInfo unused;
  return FindCodec(source).decode(source, info != nullptr ? *info : unused);
}

Image ReadImage(const std::string& path, const DecodeOptions& options, ImageInfo* info) {
  return DecodeImage(base::ReadFile(path, options.max_file_bytes), path, options, info);
}

ImageInfo ProbeImage(std::span<const uint8_t> bytes, const std::string& name) {
  const DecodeOptions options;
  const media::Source source{bytes, name, options};
  return FindCodec(source).probe(source);
}

ImageInfo ReadImageInfo(const std::string& path, const DecodeOptions& options) {
  return ProbeImage(base::ReadFile(path, options.max_file_bytes), path);
}

}  // namespace fovea
