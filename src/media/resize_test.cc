// Resize against Pillow's stored results (to the bit) and against the reference in double precision.
#include "media/resize.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/parallel.h"
#include "media/golden_testing.h"
#include "testing/testing.h"

namespace fovea::media {
namespace {

struct Case {
  Image image;
  ResizeOptions options;
};

// "filter sw sh dw dh x0 y0 x1 y1"
Case CaseOf(const std::string& name) {
  const std::vector<std::string> words = Words(name);
  Case result{Pattern(std::stoi(words[1]), std::stoi(words[2])),
              {.width = std::stoi(words[3]), .height = std::stoi(words[4])}};
  for (int filter = 0; filter < 6; ++filter) {
    if (FilterName(static_cast<Filter>(filter)) == words[0]) result.options.filter = static_cast<Filter>(filter);
  }
  result.options.box = Box{std::stof(words[5]), std::stof(words[6]), std::stof(words[7]), std::stof(words[8])};
  return result;
}

int LargestDifference(const Image& a, const uint8_t* b) {
  int worst = 0;
  for (int64_t i = 0; i < a.size_bytes(); ++i) worst = std::max(worst, std::abs(a.data()[i] - b[i]));
  return worst;
}

TEST(Resize, EqualsPillow) {
  int compared = 0;
  for (const GoldenRecord& record : ReadGolden(testing::SourcePath("tests/golden/media/resize.bin"))) {
    SCOPED_TRACE(record.name);
    const Case c = CaseOf(record.name);
    const Image resized = Resize(c.image, c.options);
    EXPECT_EQ(LargestDifference(resized, record.Unpack(static_cast<size_t>(resized.size_bytes())).data()), 0);
    ++compared;
  }
  EXPECT_EQ(compared, 120);
}

TEST(Resize, LargeOnesEqualPillowOnAnyNumberOfThreads) {
  const auto sums =
      nlohmann::json::parse(base::ReadTextFile(testing::SourcePath("tests/golden/media/resize_crc.json")));
  for (const auto& [name, sum] : sums.items()) {
    SCOPED_TRACE(name);
    const Case c = CaseOf(name);
    for (const int threads : {1, 3}) {
      const base::ThreadLimit limit(threads);
      const Image resized = Resize(c.image, c.options);
      EXPECT_EQ(crc32(0, resized.data(), static_cast<uInt>(resized.size_bytes())), sum.get<uint32_t>());
    }
  }
}

TEST(Resize, IsWithinOneOfTheReference) {
  uint32_t random = 7;
  const auto next = [&](int64_t most) {
    return 1 + static_cast<int64_t>((random = random * 1664525 + 1013904223) >> 8) % most;
  };
  for (int round = 0; round < 150; ++round) {
    const Image image = Pattern(next(70), next(70));
    const ResizeOptions options{.width = next(90), .height = next(90), .filter = static_cast<Filter>(round % 6)};
    const Image expected = ResizeReference(ViewOf(image), options);
    EXPECT_LE(LargestDifference(Resize(image, options), expected.data()), 1)
        << image.width << "x" << image.height << " -> " << options.width << "x" << options.height;
  }
}

TEST(Resize, CropHidesWhatIsOutside) {
  const Image image = Pattern(60, 50);
  const ImageView part = Cropped(ViewOf(image), {7, 5, 31, 29});
  Image copy = Image::Allocate(31, 29);
  for (int64_t y = 0; y < 29; ++y) std::memcpy(copy.mutable_row(y), part.row(y), 31 * 3);
  for (int filter = 0; filter < 6; ++filter) {
    const ResizeOptions options{.width = 20, .height = 40, .filter = static_cast<Filter>(filter)};
    Image out = Image::Allocate(20, 40);
    ResizeInto(part, options, out.mutable_row(0));
    EXPECT_EQ(LargestDifference(out, Resize(copy, options).data()), 0);
  }
}

TEST(Resize, WindowIsAPartOfTheWhole) {
  const Image image = Pattern(60, 50);
  for (int filter = 0; filter < 6; ++filter) {
    for (const auto& [width, height] : {std::pair<int64_t, int64_t>{37, 80}, {60, 33}, {90, 50}, {60, 50}}) {
      ResizeOptions options{.width = width, .height = height, .filter = static_cast<Filter>(filter)};
      const Image whole = Resize(image, options);
      const Rectangle window = {3, 7, 29, 21};
      options.window = window;
      const Image part = Resize(image, options);
      const ImageView expected = Cropped(ViewOf(whole), window);
      ASSERT_EQ(part.width, 29);
      for (int64_t y = 0; y < 21; ++y)
        EXPECT_EQ(std::memcmp(part.row(y), expected.row(y), 29 * 3), 0) << filter << " " << width << " row " << y;
    }
  }
}

TEST(Resize, RefusesNonsense) {
  const Image image = Pattern(8, 8);
  EXPECT_THROW(Resize(image, {.width = 0, .height = 4}), Error);
  EXPECT_THROW(Resize(image, {.width = 4, .height = int64_t{1} << 40}), Error);
  EXPECT_THROW(Resize(Image(), {.width = 4, .height = 4}), Error);
  EXPECT_THROW(Resize(image, {.width = 4, .height = 4, .box = Box{2, 2, 2, 5}}), Error);
  EXPECT_THROW(Resize(image, {.width = 4, .height = 4, .box = Box{0, 0, 9, 8}}), Error);
  EXPECT_THROW(Resize(image, {.width = 4, .height = 4, .box = Box{0, 0, std::nanf(""), 8}}), Error);
  EXPECT_THROW(Resize(image, {.width = 4, .height = 4, .window = Rectangle{1, 1, 4, 1}}), Error);
  EXPECT_THROW(Cropped(ViewOf(image), {1, 0, 8, 8}), Error);
}

}  // namespace
}  // namespace fovea::media
