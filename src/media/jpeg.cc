// JPEG through libjpeg-turbo: baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK.
//
// Uses the slow integer DCT and smooth ("fancy") upsampling, the defaults of Pillow, so the pixels are the same to the
// bit. Like Pillow it takes four-channel files as inverted (Adobe's habit), refuses truncated files, and lets mere
// warnings of the library pass. libjpeg reports errors by longjmp: ReadHeader and ReadPixels hold no objects with
// destructors.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs size_t and FILE to be known.
#include <jpeglib.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/file.h"
#include "media/codec.h"
#include "media/encode.h"

namespace fovea::media {
namespace {

// A file of a few bytes can ask for endless passes over a large picture. Encoders write at most some dozens.
constexpr int kMaxScans = 100;

struct ErrorState {
  jpeg_error_mgr manager;  // first, so that libjpeg's pointer is a pointer to this
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void JumpOut(j_common_ptr info) {
  auto* state = reinterpret_cast<ErrorState*>(info->err);
  state->manager.format_message(info, state->message);
  std::longjmp(state->jump, 1);
}

[[noreturn]] void JumpOutWith(j_common_ptr info, const char* message) {
  auto* state = reinterpret_cast<ErrorState*>(info->err);
  std::snprintf(state->message, sizeof(state->message), "%s", message);
  std::longjmp(state->jump, 1);
}

void IgnoreMessage(j_common_ptr, int) {}
void DoNothing(j_decompress_ptr) {}

boolean FailTruncated(j_decompress_ptr info) {
  JumpOutWith(reinterpret_cast<j_common_ptr>(info), "the file ends too early");
}

void SkipBytes(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  if (static_cast<size_t>(count) > info->src->bytes_in_buffer) FailTruncated(info);
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= static_cast<size_t>(count);
}

void CountScans(j_common_ptr info) {
  if (info->is_decompressor && reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    JumpOutWith(info, "more than 100 scans");
  }
}

// Frees what libjpeg allocated, also when the constructor of Reader throws.
struct Decompressor : jpeg_decompress_struct {
  Decompressor() : jpeg_decompress_struct{} {}
  ~Decompressor() { jpeg_destroy_decompress(this); }
};

class Reader {
 public:
  explicit Reader(const Source& source) : source_(source) {
    info_.err = jpeg_std_error(&error_.manager);
    error_.manager.error_exit = JumpOut;
    error_.manager.emit_message = IgnoreMessage;
    input_.init_source = DoNothing;
    input_.fill_input_buffer = FailTruncated;
    input_.skip_input_data = SkipBytes;
    input_.resync_to_restart = jpeg_resync_to_restart;
    input_.term_source = DoNothing;
    input_.next_input_byte = source.bytes.data();
    input_.bytes_in_buffer = source.bytes.size();
    progress_.progress_monitor = CountScans;
    if (!ReadHeader()) FailDamaged(source, "damaged JPEG: ", error_.message);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  ImageInfo Info() const {
    ImageInfo info;
    info.format = "jpeg";
    info.bits = info_.data_precision;
    // EXIF may be split over several APP1 segments; XMP is asked only when EXIF names no orientation, as Pillow does.
    std::vector<uint8_t> exif;
    int xmp_orientation = 0;
    constexpr std::string_view kExif("Exif\0\0", 6), kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
    for (auto marker = info_.marker_list; marker != nullptr; marker = marker->next) {
      const std::span<const uint8_t> data(marker->data, marker->data_length);
      if (HasAt(data, 0, kExif)) exif.insert(exif.end(), data.begin() + 6, data.end());
      if (HasAt(data, 0, kXmp)) xmp_orientation = XmpOrientation(data.subspan(kXmp.size()));
    }
    const int orientation = ReadExif(exif, info);
    SetGeometry(info, info_.image_width, info_.image_height, orientation != 0 ? orientation : xmp_orientation);
    return info;
  }

  Image Decode() {
    CheckBudget(source_, info_.image_width, info_.image_height);
    if (info_.num_components != 1 && info_.num_components != 3 && info_.num_components != 4) {
      FailUnsupported(source_, "JPEG with ", info_.num_components, " components");
    }
    Image image = Image::Allocate(info_.image_width, info_.image_height);
    std::vector<uint8_t> cmyk_row(info_.num_components == 4 ? size_t{4} * info_.image_width : 0);
    if (!ReadPixels(image.mutable_row(0), cmyk_row.data())) FailDamaged(source_, "damaged JPEG: ", error_.message);
    return image;
  }

 private:
  bool ReadHeader() {
    if (setjmp(error_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.src = &input_;
    info_.progress = &progress_;
    jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  bool ReadPixels(uint8_t* rgb, uint8_t* cmyk_row) {
    if (setjmp(error_.jump) != 0) return false;
    const bool is_cmyk = info_.num_components == 4;
    info_.out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info_);
    const size_t stride = size_t{3} * info_.image_width;
    while (info_.output_scanline < info_.output_height) {
      uint8_t* rows[8];
      if (is_cmyk) {
        const JDIMENSION y = info_.output_scanline;
        rows[0] = cmyk_row;
        jpeg_read_scanlines(&info_, rows, 1);
        for (size_t i = 0; i < size_t{4} * info_.image_width; ++i) cmyk_row[i] = 255 - cmyk_row[i];
        CmykToRgb(cmyk_row, info_.image_width, rgb + y * stride);
        continue;
      }
      const JDIMENSION count = std::min<JDIMENSION>(8, info_.output_height - info_.output_scanline);
      for (JDIMENSION i = 0; i < count; ++i) rows[i] = rgb + (info_.output_scanline + i) * stride;
      jpeg_read_scanlines(&info_, rows, count);
    }
    // No jpeg_finish_decompress: all rows are here, and a missing end mark is no reason to refuse them.
    return true;
  }

  const Source& source_;
  Decompressor info_;
  jpeg_source_mgr input_{};
  jpeg_progress_mgr progress_{};
  ErrorState error_{};
};

bool Matches(std::span<const uint8_t> bytes) { return HasAt(bytes, 0, "\xff\xd8\xff"); }

ImageInfo Probe(const Source& source) { return Reader(source).Info(); }

Image Decode(const Source& source, ImageInfo& info) {
  Reader reader(source);
  info = reader.Info();
  return Upright(reader.Decode(), info.orientation);
}

// Compresses to memory that libjpeg allocates with malloc; the caller frees it, also on failure.
bool Compress(jpeg_compress_struct& info, ErrorState& error, const Image& image, int quality, unsigned char** bytes,
              unsigned long* size) {
  if (setjmp(error.jump) != 0) return false;
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, bytes, size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    uint8_t* row = const_cast<uint8_t*>(image.row(info.next_scanline));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

}  // namespace

const Codec kJpegCodec = {Matches, Probe, Decode};

}  // namespace fovea::media

namespace fovea {

namespace media {

std::vector<uint8_t> EncodeJpeg(const Image& image, int quality) {
  Require(!image.empty() && image.width <= JPEG_MAX_DIMENSION && image.height <= JPEG_MAX_DIMENSION,
          "[image] expected a picture of 1 to 65500 px a side for JPEG, got ", image.width, "x", image.height);
  Require(quality >= 1 && quality <= 100, "[image] expected a JPEG quality from 1 to 100, got ", quality);
  jpeg_compress_struct info{};
  ErrorState error{};
  info.err = jpeg_std_error(&error.manager);
  error.manager.error_exit = JumpOut;
  error.manager.emit_message = IgnoreMessage;
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const bool is_done = Compress(info, error, image, quality, &bytes, &size);
  jpeg_destroy_compress(&info);
  const std::unique_ptr<unsigned char, void (*)(void*)> owner(bytes, std::free);
  if (!is_done) Fail(ErrorCode::kInternal, "[image] cannot write a JPEG: ", error.message);
  return {bytes, bytes + size};
}

}  // namespace media

void WriteJpeg(const std::string& path, const Image& image, int quality) {
  base::WriteFileAtomically(path, media::EncodeJpeg(image, quality));
}

}  // namespace fovea
