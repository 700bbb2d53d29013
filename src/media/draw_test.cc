#include "media/draw.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fovea::media {
namespace {

Image Black(int64_t width, int64_t height) {
  Image image = Image::Allocate(width, height);
  std::fill_n(image.rgb.get(), image.size_bytes(), uint8_t{0});
  return image;
}

// The red channel as rows of '#' and '.'.
std::string Shown(const Image& image) {
  std::string text;
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) text += image.row(y)[3 * x] > 127 ? '#' : '.';
    text += '\n';
  }
  return text;
}

TEST(Draw, BoxesStayInsideThePicture) {
  Image image = Black(7, 5);
  DrawBox(image, {1, 1, 4, 3}, {.thickness = 1});
  EXPECT_EQ(Shown(image), ".......\n.####..\n.#..#..\n.####..\n.......\n");
  Image over = Black(4, 3);
  DrawBox(over, {-2, 1, 20, 20}, {.thickness = 1});
  EXPECT_EQ(Shown(over), "....\n####\n....\n");
  Image dashed = Black(12, 3);
  DrawBox(dashed, {0, 0, 12, 3}, {.thickness = 1, .is_dashed = true});
  EXPECT_EQ(Shown(dashed), "####....####\n#..........#\n####....####\n");
}

TEST(Draw, LabelsAreReadableAndMovedInside) {
  Image image = Black(40, 16);
  const Rectangle bar = DrawLabel(image, 30, -5, {.text = "I", .colour = {255, 255, 255}, .bar = {0, 0, 99}});
  EXPECT_GE(bar.top, 0);
  EXPECT_LE(bar.left + bar.width, image.width);
  EXPECT_EQ(image.row(bar.top)[3 * bar.left + 2], 99);
  const std::string shown = Shown(image);
  EXPECT_GE(std::ranges::count(shown, '#'), 7);  // the stroke of a capital, seven dots high
  Image other = Black(60, 16);
  DrawLabel(other, 0, 0, {.text = "\xC3\xA9"});  // a character beyond ASCII is one "?"
  Image question = Black(60, 16);
  DrawLabel(question, 0, 0, {.text = "?"});
  EXPECT_EQ(Shown(other), Shown(question));
}

}  // namespace
}  // namespace fovea::media
