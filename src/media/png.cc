// PNG through libspng: every colour type and depth, interlaced, with transparency by alpha or tRNS; of an animated PNG
// the still picture.
//
// The chunks are walked here once for what the header says (size, EXIF, XMP), which libspng would only tell after
// reading the pixels. 16-bit samples keep their high byte, as in Pillow; gamma and colour profiles are not applied.
#include <spng.h>

#include <cstdlib>
#include <memory>

#include "base/file.h"
#include "media/codec.h"

namespace fovea::media {
namespace {

constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";
constexpr uint32_t kMaxMetadataBytes = 64 << 20;  // for one chunk that is not pixels (profile, text)

struct Header {
  ImageInfo info;
  bool has_transparency = false;
};

// XMP packet in an uncompressed iTXt chunk: keyword NUL, two flags, language NUL, translated keyword NUL, text.
int OrientationOfText(std::span<const uint8_t> chunk) {
  constexpr std::string_view kKeyword("XML:com.adobe.xmp\0\0", 19);
  return HasAt(chunk, 0, kKeyword) ? XmpOrientation(chunk.subspan(kKeyword.size())) : 0;
}

Header ReadHeader(const Source& source) {
  const auto bytes = source.bytes;
  if (bytes.size() < 33 || !HasAt(bytes, 12, "IHDR")) FailDamaged(source, "damaged PNG: no complete IHDR chunk");
  const int64_t width = U32Be(&bytes[16]), height = U32Be(&bytes[20]);
  const int color_type = bytes[25];
  Header header;
  header.info.format = "png";
  header.info.bits = bytes[24];
  header.has_transparency = color_type == 4 || color_type == 6;
  int orientation = 0, xmp_orientation = 0;
  for (size_t at = 33; bytes.size() - at >= 12;) {
    const uint32_t size = U32Be(&bytes[at]);
    if (size > bytes.size() - at - 12) break;
    const auto data = bytes.subspan(at + 8, size);
    if (HasAt(bytes, at + 4, "tRNS")) header.has_transparency = true;
    if (HasAt(bytes, at + 4, "eXIf")) orientation = ReadExif(data, header.info);
    if (HasAt(bytes, at + 4, "iTXt") && xmp_orientation == 0) xmp_orientation = OrientationOfText(data);
    if (HasAt(bytes, at + 4, "IEND")) break;
    at += size_t{12} + size;
  }
  header.info.has_alpha = header.has_transparency;
  SetGeometry(header.info, width, height, orientation != 0 ? orientation : xmp_orientation);
  return header;
}

struct FreeContext {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};
using Context = std::unique_ptr<spng_ctx, FreeContext>;

bool Matches(std::span<const uint8_t> bytes) { return HasAt(bytes, 0, kSignature); }

ImageInfo Probe(const Source& source) { return ReadHeader(source).info; }

Image Decode(const Source& source, ImageInfo& info) {
  const Header header = ReadHeader(source);
  info = header.info;
  const int64_t width = info.original_width, height = info.original_height;
  CheckBudget(source, width, height);
  const auto check = [&](int error) {
    if (error != 0) FailDamaged(source, "damaged PNG: ", spng_strerror(error));
  };
  const Context context(spng_ctx_new(0));
  if (!context) Fail(ErrorCode::kResourceExhausted, "[image] out of memory");
  check(spng_set_image_limits(context.get(), static_cast<uint32_t>(width), static_cast<uint32_t>(height)));
  check(spng_set_chunk_limits(context.get(), kMaxMetadataBytes, kMaxMetadataBytes));
  check(spng_set_png_buffer(context.get(), source.bytes.data(), source.bytes.size()));
  Image image = Image::Allocate(width, height);
  if (!header.has_transparency) {
    check(spng_decode_image(context.get(), image.mutable_row(0), static_cast<size_t>(image.size_bytes()), SPNG_FMT_RGB8,
                            0));
  } else {
    const size_t rgba_bytes = static_cast<size_t>(width * height * 4);
    const auto rgba = std::make_unique_for_overwrite<uint8_t[]>(rgba_bytes);
    check(spng_decode_image(context.get(), rgba.get(), rgba_bytes, SPNG_FMT_RGBA8, SPNG_DECODE_TRNS));
    LayOnWhite(rgba.get(), width * height, image.mutable_row(0));
  }
  return Upright(image, info.orientation);
}

}  // namespace

const Codec kPngCodec = {Matches, Probe, Decode};

}  // namespace fovea::media

namespace fovea {

void WritePng(const std::string& path, const Image& image) {
  Require(!image.empty(), "[image] expected a picture to write to ", base::PrintableUtf8(path), ", got an empty image");
  const media::Context context(spng_ctx_new(SPNG_CTX_ENCODER));
  if (!context) Fail(ErrorCode::kResourceExhausted, "[image] out of memory");
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(image.width);
  header.height = static_cast<uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1);
  spng_set_ihdr(context.get(), &header);
  int error = spng_encode_image(context.get(), image.data(), static_cast<size_t>(image.size_bytes()), SPNG_FMT_PNG,
                                SPNG_ENCODE_FINALIZE);
  size_t size = 0;
  const std::unique_ptr<void, void (*)(void*)> png(
      error == 0 ? spng_get_png_buffer(context.get(), &size, &error) : nullptr, std::free);
  if (!png) Fail(ErrorCode::kInternal, "[image] cannot write ", base::PrintableUtf8(path), ": ", spng_strerror(error));
  base::WriteFileAtomically(path, {static_cast<const uint8_t*>(png.get()), size});
}

}  // namespace fovea
