// GIF through giflib: the first frame at its place on the screen; transparent pixels become white.
//
// As in Pillow, the screen grows when the frame reaches beyond it, what the frame does not cover has the transparent
// colour or else colour 0, and a file without a palette is grey.
#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "media/codec.h"

namespace fovea::media {
namespace {

struct Cursor {
  std::span<const uint8_t> bytes;
  size_t at = 0;
  bool is_closed = false;
};

int ReadBytes(GifFileType* gif, GifByteType* out, int size) {
  auto* cursor = static_cast<Cursor*>(gif->UserData);
  if (size == 1 && cursor->at == cursor->bytes.size() && !cursor->is_closed) {
    // Some writers forget what ends the last block of pixels; everybody shows such files.
    cursor->is_closed = true;
    *out = 0;
    return 1;
  }
  const size_t count = std::min(static_cast<size_t>(std::max(size, 0)), cursor->bytes.size() - cursor->at);
  std::memcpy(out, cursor->bytes.data() + cursor->at, count);
  cursor->at += count;
  return static_cast<int>(count);
}

struct CloseGif {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};

// A file opened and read up to the pixels of its first frame.
struct Opened {
  std::unique_ptr<Cursor> cursor;
  std::unique_ptr<GifFileType, CloseGif> gif;
  int transparent = NO_TRANSPARENT_COLOR;
  ImageInfo info;
};

[[noreturn]] void FailGif(const Source& source, int error) {
  const char* text = GifErrorString(error);
  FailDamaged(source, "damaged GIF: ", text != nullptr ? text : "unknown error");
}

// Reads one extension; a graphic control extension tells the transparent colour.
void ReadExtension(const Source& source, Opened& opened) {
  GifFileType* gif = opened.gif.get();
  int code = 0;
  GifByteType* data = nullptr;
  if (DGifGetExtension(gif, &code, &data) == GIF_ERROR) FailGif(source, gif->Error);
  GraphicsControlBlock control;
  if (code == GRAPHICS_EXT_FUNC_CODE && data != nullptr && data[0] >= 4 &&
      DGifExtensionToGCB(data[0], data + 1, &control) == GIF_OK) {
    opened.transparent = control.TransparentColor;
  }
  while (data != nullptr) {
    if (DGifGetExtensionNext(gif, &data) == GIF_ERROR) FailGif(source, gif->Error);
  }
}

Opened Open(const Source& source) {
  Opened opened;
  opened.cursor = std::make_unique<Cursor>(Cursor{source.bytes});
  int error = 0;
  opened.gif.reset(DGifOpen(opened.cursor.get(), ReadBytes, &error));
  GifFileType* gif = opened.gif.get();
  if (gif == nullptr) FailGif(source, error);
  GifRecordType record = UNDEFINED_RECORD_TYPE;
  while (record != IMAGE_DESC_RECORD_TYPE) {
    if (DGifGetRecordType(gif, &record) == GIF_ERROR) FailGif(source, gif->Error);
    if (record == TERMINATE_RECORD_TYPE) FailDamaged(source, "damaged GIF: holds no picture");
    if (record == EXTENSION_RECORD_TYPE) ReadExtension(source, opened);
  }
  if (DGifGetImageDesc(gif) == GIF_ERROR) FailGif(source, gif->Error);
  opened.info.format = "gif";
  opened.info.has_alpha = opened.transparent != NO_TRANSPARENT_COLOR;
  SetGeometry(opened.info, std::max(gif->SWidth, gif->Image.Left + gif->Image.Width),
              std::max(gif->SHeight, gif->Image.Top + gif->Image.Height), 1);
  return opened;
}

std::array<std::array<uint8_t, 3>, 256> Palette(const Opened& opened) {
  std::array<std::array<uint8_t, 3>, 256> palette;
  for (int i = 0; i < 256; ++i) palette[i].fill(static_cast<uint8_t>(i));
  const GifFileType* gif = opened.gif.get();
  const ColorMapObject* colors = gif->Image.ColorMap != nullptr ? gif->Image.ColorMap : gif->SColorMap;
  for (int i = 0; colors != nullptr && i < std::min(colors->ColorCount, 256); ++i) {
    palette[i] = {colors->Colors[i].Red, colors->Colors[i].Green, colors->Colors[i].Blue};
  }
  if (opened.transparent >= 0 && opened.transparent < 256) palette[opened.transparent].fill(255);
  return palette;
}

bool Matches(std::span<const uint8_t> bytes) { return HasAt(bytes, 0, "GIF87a") || HasAt(bytes, 0, "GIF89a"); }

ImageInfo Probe(const Source& source) { return Open(source).info; }

Image Decode(const Source& source, ImageInfo& info) {
  const Opened opened = Open(source);
  info = opened.info;
  GifFileType* gif = opened.gif.get();
  const GifImageDesc& frame = gif->Image;
  CheckBudget(source, info.width, info.height);
  CheckBudget(source, frame.Width, frame.Height);
  const auto palette = Palette(opened);
  Image image = Image::Allocate(info.width, info.height);
  if (frame.Width != info.width || frame.Height != info.height) {
    const auto& outside = palette[opened.transparent >= 0 && opened.transparent < 256 ? opened.transparent : 0];
    for (int64_t i = 0; i < image.width * image.height; ++i)
      std::memcpy(image.mutable_row(0) + i * 3, outside.data(), 3);
  }
  std::vector<uint8_t> line(static_cast<size_t>(frame.Width));
  struct Pass {
    int first, step;
  };
  constexpr Pass kInterlaced[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}}, kPlain[] = {{0, 1}};
  for (const Pass& pass : frame.Interlace ? std::span<const Pass>(kInterlaced) : std::span<const Pass>(kPlain)) {
    for (int y = pass.first; y < frame.Height; y += pass.step) {
      if (DGifGetLine(gif, line.data(), frame.Width) == GIF_ERROR) FailGif(source, gif->Error);
      uint8_t* out = image.mutable_row(frame.Top + y) + frame.Left * 3;
      for (int x = 0; x < frame.Width; ++x, out += 3) std::memcpy(out, palette[line[x]].data(), 3);
    }
  }
  return image;
}

}  // namespace

const Codec kGifCodec = {Matches, Probe, Decode};

}  // namespace fovea::media
