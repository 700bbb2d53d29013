// WebP through libwebp: lossy, lossless, with alpha; of an animation the first frame on its canvas, white where it does
// not reach.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "media/codec.h"

namespace fovea::media {
namespace {

struct FreeDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};

struct Container {
  std::unique_ptr<WebPDemuxer, FreeDemuxer> demuxer;  // points into the source
  ImageInfo info;
  bool is_animated = false;
};

// The bytes of the first chunk `name`, empty when absent.
std::span<const uint8_t> Chunk(const WebPDemuxer* demuxer, const char* name) {
  WebPChunkIterator chunk;
  if (WebPDemuxGetChunk(demuxer, name, 1, &chunk) == 0) return {};
  const std::span<const uint8_t> bytes(chunk.chunk.bytes, chunk.chunk.size);
  WebPDemuxReleaseChunkIterator(&chunk);
  return bytes;
}

Container Open(const Source& source) {
  const WebPData data = {source.bytes.data(), source.bytes.size()};
  WebPDemuxState state;
  Container container;
  container.demuxer.reset(WebPDemuxPartial(&data, &state));
  const WebPDemuxer* demuxer = container.demuxer.get();
  if (demuxer == nullptr || state < WEBP_DEMUX_PARSED_HEADER)
    FailDamaged(source, "damaged WebP: the header cannot be read");
  const uint32_t flags = WebPDemuxGetI(demuxer, WEBP_FF_FORMAT_FLAGS);
  container.is_animated = (flags & ANIMATION_FLAG) != 0;
  ImageInfo& info = container.info;
  info.format = "webp";
  info.has_alpha = (flags & ALPHA_FLAG) != 0;
  int orientation = ReadExif(Chunk(demuxer, "EXIF"), info);
  if (orientation == 0) orientation = XmpOrientation(Chunk(demuxer, "XMP "));
  SetGeometry(info, WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH), WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT),
              orientation);
  return container;
}

// Decodes one frame, `frame` bytes of width x height px, to where `rgb` points, rows `stride` bytes apart.
void DecodeFrame(const Source& source, std::span<const uint8_t> frame, int64_t width, int64_t height, uint8_t* rgb,
                 int64_t stride) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(frame.data(), frame.size(), &features) != VP8_STATUS_OK)
    FailDamaged(source, "damaged WebP frame");
  if (features.width != width || features.height != height) {
    FailDamaged(source, "damaged WebP: expected a frame of ", width, "x", height, ", got ", features.width, "x",
                features.height);
  }
  const uint8_t* decoded = nullptr;
  if (features.has_alpha == 0) {
    const size_t size = static_cast<size_t>(stride * (height - 1) + width * 3);
    decoded = WebPDecodeRGBInto(frame.data(), frame.size(), rgb, size, static_cast<int>(stride));
  } else {
    const size_t size = static_cast<size_t>(width * height * 4);
    const auto rgba = std::make_unique_for_overwrite<uint8_t[]>(size);
    decoded = WebPDecodeRGBAInto(frame.data(), frame.size(), rgba.get(), size, static_cast<int>(width * 4));
    if (decoded != nullptr) {
      for (int64_t y = 0; y < height; ++y) LayOnWhite(rgba.get() + y * width * 4, width, rgb + y * stride);
    }
  }
  if (decoded == nullptr) FailDamaged(source, "damaged or truncated WebP");
}

bool Matches(std::span<const uint8_t> bytes) { return HasAt(bytes, 0, "RIFF") && HasAt(bytes, 8, "WEBP"); }

ImageInfo Probe(const Source& source) { return Open(source).info; }

Image Decode(const Source& source, ImageInfo& info) {
  const Container container = Open(source);
  info = container.info;
  const int64_t width = info.original_width, height = info.original_height;
  CheckBudget(source, width, height);
  WebPIterator frame;
  if (WebPDemuxGetFrame(container.demuxer.get(), 1, &frame) == 0)
    FailDamaged(source, "damaged or truncated WebP: no complete frame");
  const std::unique_ptr<WebPIterator, void (*)(WebPIterator*)> release(&frame, WebPDemuxReleaseIterator);
  if (!frame.complete || frame.width < 1 || frame.height < 1 || frame.x_offset < 0 || frame.y_offset < 0 ||
      frame.x_offset + int64_t{frame.width} > width || frame.y_offset + int64_t{frame.height} > height) {
    FailDamaged(source, "damaged or truncated WebP: the first frame is incomplete or lies outside of the canvas");
  }
  Image image = Image::Allocate(width, height);
  if (frame.width != width || frame.height != height)
    std::memset(image.mutable_row(0), 255, static_cast<size_t>(image.size_bytes()));
  DecodeFrame(source, {frame.fragment.bytes, frame.fragment.size}, frame.width, frame.height,
              image.mutable_row(frame.y_offset) + frame.x_offset * 3, width * 3);
  return Upright(image, info.orientation);
}

}  // namespace

const Codec kWebpCodec = {Matches, Probe, Decode};

}  // namespace fovea::media
