// HEIC and AVIF through libheif, loaded when the first such picture comes.
//
// Linking libheif would add about 5 ms to every start of the program (it brings x265, aom and their relocations), so it
// is opened with dlopen through a typed table; a machine without it reads all other formats and gets a clear error for
// these. libheif applies the rotation and mirroring that the file asks for, so EXIF orientation, which repeats them, is
// not applied again.
#include <dlfcn.h>
#include <libheif/heif.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "media/codec.h"

namespace fovea::media {
namespace {

// The functions of libheif that we call, by the names and types of its header.
// clang-format off
#define FOVEA_HEIF_FUNCTIONS(X)                                                                                \
  X(heif_context_alloc)                                                                                        \
  X(heif_context_free)                                                                                         \
  X(heif_context_read_from_memory_without_copy)                                                                \
  X(heif_context_set_maximum_image_size_limit)                                                                 \
  X(heif_context_get_primary_image_handle) X(heif_image_handle_release) X(heif_image_handle_get_width)         \
      X(heif_image_handle_get_height) X(heif_image_handle_get_ispe_width) X(heif_image_handle_get_ispe_height) \
          X(heif_image_handle_has_alpha_channel) X(heif_image_handle_is_premultiplied_alpha)                   \
              X(heif_image_handle_get_luma_bits_per_pixel) X(heif_image_handle_get_list_of_metadata_block_IDs) \
                  X(heif_image_handle_get_metadata_size) X(heif_image_handle_get_metadata)                     \
                      X(heif_decoding_options_alloc) X(heif_decoding_options_free) X(heif_decode_image)        \
                          X(heif_image_release) X(heif_image_get_width) X(heif_image_get_height)               \
                              X(heif_image_get_plane_readonly)
// clang-format on

struct Library {
#define FOVEA_DECLARE(name) decltype(&::name) name = nullptr;
  FOVEA_HEIF_FUNCTIONS(FOVEA_DECLARE)
#undef FOVEA_DECLARE
  bool is_loaded = false;
};

// Loaded once and kept for the life of the process.
const Library& Heif() {
  static const Library library = [] {
    Library loaded;
    void* handle = ::dlopen("libheif.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return loaded;
    loaded.is_loaded = true;
#define FOVEA_LOAD(name)                                                     \
  loaded.name = reinterpret_cast<decltype(&::name)>(::dlsym(handle, #name)); \
  loaded.is_loaded = loaded.is_loaded && loaded.name != nullptr;
    FOVEA_HEIF_FUNCTIONS(FOVEA_LOAD)
#undef FOVEA_LOAD
    return loaded;
  }();
  return library;
}
#undef FOVEA_HEIF_FUNCTIONS

struct Release {
  void operator()(heif_context* context) const { Heif().heif_context_free(context); }
  void operator()(heif_image_handle* handle) const { Heif().heif_image_handle_release(handle); }
  void operator()(heif_decoding_options* options) const { Heif().heif_decoding_options_free(options); }
  void operator()(heif_image* image) const { Heif().heif_image_release(image); }
};
template <typename T>
using Owned = std::unique_ptr<T, Release>;

struct Opened {
  Owned<heif_context> context;
  Owned<heif_image_handle> handle;
  ImageInfo info;
};

void Check(const Source& source, const heif_error& error) {
  if (error.code == heif_error_Ok) return;
  const char* text = error.message != nullptr ? error.message : "unknown error";
  if (error.code == heif_error_Unsupported_filetype || error.code == heif_error_Unsupported_feature) {
    FailUnsupported(source, "HEIC or AVIF that libheif does not read: ", text);
  }
  if (error.code == heif_error_Memory_allocation_error) {
    Fail(ErrorCode::kResourceExhausted, "[image] ", base::PrintableUtf8(source.name),
         ": HEIC or AVIF beyond a limit: ", text);
  }
  FailDamaged(source, "damaged HEIC or AVIF: ", text);
}

bool IsAvif(std::span<const uint8_t> bytes) { return HasAt(bytes, 8, "avif") || HasAt(bytes, 8, "avis"); }

// EXIF of the picture; its block starts with a 4-byte offset to the TIFF header.
void ReadMetadata(Opened& opened) {
  const Library& heif = Heif();
  heif_item_id id;
  if (heif.heif_image_handle_get_list_of_metadata_block_IDs(opened.handle.get(), "Exif", &id, 1) < 1) return;
  const size_t size = heif.heif_image_handle_get_metadata_size(opened.handle.get(), id);
  if (size < 8 || size > (64 << 20)) return;
  std::vector<uint8_t> block(size);
  if (heif.heif_image_handle_get_metadata(opened.handle.get(), id, block.data()).code != heif_error_Ok) return;
  const uint32_t skip = U32Be(block.data());
  if (skip < size - 4) ReadExif(std::span<const uint8_t>(block).subspan(size_t{4} + skip), opened.info);
}

Opened Open(const Source& source) {
  const Library& heif = Heif();
  if (!heif.is_loaded) {
    FailUnsupported(source, "reading HEIC and AVIF needs libheif 1.12 or later; hint: apt install libheif1");
  }
  Opened opened;
  opened.context.reset(heif.heif_context_alloc());
  Check(source, heif.heif_context_read_from_memory_without_copy(opened.context.get(), source.bytes.data(),
                                                                source.bytes.size(), nullptr));
  heif_image_handle* handle = nullptr;
  Check(source, heif.heif_context_get_primary_image_handle(opened.context.get(), &handle));
  opened.handle.reset(handle);
  ReadMetadata(opened);
  ImageInfo& info = opened.info;
  info.format = IsAvif(source.bytes) ? "avif" : "heic";
  info.width = heif.heif_image_handle_get_width(handle);
  info.height = heif.heif_image_handle_get_height(handle);
  info.original_width = heif.heif_image_handle_get_ispe_width(handle);
  info.original_height = heif.heif_image_handle_get_ispe_height(handle);
  info.has_alpha = heif.heif_image_handle_has_alpha_channel(handle) != 0;
  info.bits = heif.heif_image_handle_get_luma_bits_per_pixel(handle);
  return opened;
}

// An ISO media file (size, "ftyp", major brand, version, compatible brands) that names a brand of HEIF or AVIF.
bool Matches(std::span<const uint8_t> bytes) {
  if (bytes.size() < 16 || !HasAt(bytes, 4, "ftyp")) return false;
  const size_t end = std::min<size_t>({bytes.size(), U32Be(bytes.data()), 256});
  constexpr std::array<std::string_view, 8> kBrands = {"heic", "heix", "heim", "heis", "mif1", "msf1", "avif", "avis"};
  for (size_t at = 8; at + 4 <= end; at += 4) {
    for (const std::string_view brand : kBrands) {
      if (at != 12 && HasAt(bytes, at, brand)) return true;
    }
  }
  return false;
}

ImageInfo Probe(const Source& source) { return Open(source).info; }

Image Decode(const Source& source, ImageInfo& info) {
  const Library& heif = Heif();
  const Opened opened = Open(source);
  info = opened.info;
  CheckBudget(source, info.original_width, info.original_height);
  CheckBudget(source, info.width, info.height);
  // For tiles and bit streams that are larger than the header says. libheif takes the side of a square of the allowed
  // area.
  const double side = std::ceil(std::sqrt(static_cast<double>(std::max<int64_t>(source.options.max_pixels, 1))));
  heif.heif_context_set_maximum_image_size_limit(opened.context.get(), static_cast<int>(std::min(side, 32768.0)));
  const Owned<heif_decoding_options> options(heif.heif_decoding_options_alloc());
  options->convert_hdr_to_8bit = 1;
  const heif_chroma chroma = info.has_alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB;
  heif_image* decoded = nullptr;
  Check(source, heif.heif_decode_image(opened.handle.get(), &decoded, heif_colorspace_RGB, chroma, options.get()));
  const Owned<heif_image> owner(decoded);
  const int64_t width = heif.heif_image_get_width(decoded, heif_channel_interleaved);
  const int64_t height = heif.heif_image_get_height(decoded, heif_channel_interleaved);
  int stride = 0;
  const uint8_t* plane = heif.heif_image_get_plane_readonly(decoded, heif_channel_interleaved, &stride);
  if (plane == nullptr || width < 1 || height < 1 || stride < width * (info.has_alpha ? 4 : 3)) {
    FailDamaged(source, "damaged HEIC or AVIF: no pixels");
  }
  CheckBudget(source, width, height);
  info.width = width;
  info.height = height;
  Image image = Image::Allocate(width, height);
  const bool is_premultiplied =
      info.has_alpha && heif.heif_image_handle_is_premultiplied_alpha(opened.handle.get()) != 0;
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* in = plane + y * stride;
    uint8_t* out = image.mutable_row(y);
    if (!info.has_alpha) {
      std::memcpy(out, in, static_cast<size_t>(width * 3));
    } else if (!is_premultiplied) {
      LayOnWhite(in, width, out);
    } else {
      for (int64_t i = 0; i < width * 3; ++i)
        out[i] = static_cast<uint8_t>(std::min(255, in[i / 3 * 4 + i % 3] + 255 - in[i / 3 * 4 + 3]));
    }
  }
  return image;
}

}  // namespace

const Codec kHeifCodec = {Matches, Probe, Decode};

}  // namespace fovea::media
