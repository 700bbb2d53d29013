#include "media/draw.h"

#include <stb/stb_easy_font.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace fovea::media {
namespace {

void Fill(Image& image, const Rectangle& area, const Colour& colour) {
  const int64_t left = std::clamp<int64_t>(area.left, 0, image.width), top = std::max<int64_t>(0, area.top);
  const int64_t right = std::clamp<int64_t>(area.left + area.width, 0, image.width);
  const int64_t bottom = std::min(image.height, area.top + area.height);
  for (int64_t y = top; y < bottom; ++y) {
    uint8_t* row = image.mutable_row(y);
    for (int64_t x = left; x < right; ++x) std::copy(colour.begin(), colour.end(), row + 3 * x);
  }
}

struct Vertex {
  float x, y, z;
  uint8_t colour[4];
};

}  // namespace

void DrawBox(Image& image, const Rectangle& box, const BoxStyle& style) {
  const int64_t t = std::min({style.thickness, (box.width + 1) / 2, (box.height + 1) / 2});
  const int64_t dash = style.is_dashed ? 4 * t : std::max(box.width, box.height) + 1;
  for (int64_t at = 0; at < box.width; at += 2 * dash) {
    const int64_t length = std::min(dash, box.width - at);
    Fill(image, {box.left + at, box.top, length, t}, style.colour);
    Fill(image, {box.left + at, box.top + box.height - t, length, t}, style.colour);
  }
  for (int64_t at = 0; at < box.height; at += 2 * dash) {
    const int64_t length = std::min(dash, box.height - at);
    Fill(image, {box.left, box.top + at, t, length}, style.colour);
    Fill(image, {box.left + box.width - t, box.top + at, t, length}, style.colour);
  }
}

Rectangle DrawLabel(Image& image, int64_t left, int64_t top, const Label& label) {
  Require(label.scale >= 1, "[draw] expected a scale of at least 1, got ", label.scale);
  std::string text;
  for (const char c : label.text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80) continue;  // the rest of a character
    text += byte >= 0x20 && byte < 0x7F ? c : '?';
  }
  constexpr size_t kBytesPerCharacter = 600;
  std::vector<Vertex> vertices(kBytesPerCharacter * (text.size() + 1) / sizeof(Vertex));
  const int quads = stb_easy_font_print(0, 0, text.data(), nullptr, vertices.data(),
                                        static_cast<int>(vertices.size() * sizeof(Vertex)));
  const int64_t margin = 2 * label.scale;
  Rectangle bar{left, top, stb_easy_font_width(text.data()) * label.scale + 2 * margin, 9 * label.scale + 2 * margin};
  bar.left = std::max<int64_t>(0, std::min(bar.left, image.width - bar.width));
  bar.top = std::max<int64_t>(0, std::min(bar.top, image.height - bar.height));
  Fill(image, bar, label.bar);
  const auto place = [&](float dots) {
    return static_cast<int64_t>(std::lround(dots * static_cast<float>(label.scale)));
  };
  for (int q = 0; q < quads; ++q) {
    const Vertex& from = vertices[static_cast<size_t>(4 * q)];
    const Vertex& to = vertices[static_cast<size_t>(4 * q + 2)];
    Fill(image,
         {bar.left + margin + place(from.x), bar.top + margin + place(from.y), place(to.x - from.x),
          place(to.y - from.y)},
         label.colour);
  }
  return bar;
}

}  // namespace fovea::media
