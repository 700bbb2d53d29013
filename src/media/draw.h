// Drawing on pictures: boxes, and short texts in a bitmap font (stb_easy_font), which needs no file of a font.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "fovea/image.h"
#include "media/resize.h"

namespace fovea::media {

using Colour = std::array<uint8_t, 3>;  // RGB

struct BoxStyle {
  Colour colour = {255, 255, 255};
  int64_t thickness = 2;  // px
  bool is_dashed = false;
};

// A frame along the inside of `box`; what lies outside of the picture is left out.
void DrawBox(Image& image, const Rectangle& box, const BoxStyle& style);

// A text in `colour` on a bar of `bar`, whose upper left corner is at (left, top), moved inward where it would leave
// the picture. `scale`: px of a dot of the font, whose capitals are 7 dots high. Characters beyond ASCII are drawn as
// "?". Returns the bar.
struct Label {
  std::string text;
  Colour colour = {255, 255, 255}, bar = {0, 0, 0};
  int64_t scale = 1;
};
Rectangle DrawLabel(Image& image, int64_t left, int64_t top, const Label& label);

}  // namespace fovea::media
