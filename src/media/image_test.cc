// Decoders against Pillow's pixels and headers, and against damaged, hostile and foreign files.
#include "fovea/image.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "media/golden_testing.h"
#include "testing/testing.h"

namespace fovea::media {
namespace {

std::string ImagePath(const std::string& name) { return testing::SourcePath("tests/golden/media/images/" + name); }
std::vector<uint8_t> ImageBytes(const std::string& name) { return base::ReadFile(ImagePath(name), 64 << 20); }

bool EndsWith(const std::string& name, std::string_view end) {
  return name.size() >= end.size() && name.ends_with(end);
}

bool NeedsLibheif(const std::string& name) { return EndsWith(name, ".heic") || EndsWith(name, ".avif"); }

// The code of the Error that `call` throws; fails the test when it throws none.
template <typename Call>
ErrorCode CodeOf(Call call, std::string* message = nullptr) {
  try {
    call();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.message();
    return error.code();
  }
  ADD_FAILURE() << "expected an Error";
  return ErrorCode::kInternal;
}

// Everything but HEIC and AVIF is exact. libheif's colour conversion changes by one step between versions, and for AVIF
// it repeats chroma samples where Pillow's libavif interpolates them.
int ToleranceOf(const std::string& name) { return EndsWith(name, ".avif") ? 14 : EndsWith(name, ".heic") ? 2 : 0; }

TEST(Image, PixelsEqualPillow) {
  int compared = 0;
  for (const GoldenRecord& record : ReadGolden(testing::SourcePath("tests/golden/media/decode.bin"))) {
    SCOPED_TRACE(record.name);
    Image image;
    try {
      image = ReadImage(ImagePath(record.name));
    } catch (const Error& error) {
      ADD_FAILURE() << error.message();
      continue;
    }
    ASSERT_EQ(image.width, record.numbers[0]);
    ASSERT_EQ(image.height, record.numbers[1]);
    const std::vector<uint8_t> expected = record.Unpack(static_cast<size_t>(image.size_bytes()));
    int worst = 0;
    double sum = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const int difference = std::abs(image.data()[i] - expected[i]);
      worst = std::max(worst, difference);
      sum += difference;
    }
    EXPECT_LE(worst, ToleranceOf(record.name));
    EXPECT_LE(sum / static_cast<double>(expected.size()), EndsWith(record.name, ".avif") ? 4.0 : 0.1);
    ++compared;
  }
  EXPECT_GE(compared, 90);
}

TEST(Image, HeaderEqualsPillow) {
  const auto infos = nlohmann::json::parse(base::ReadTextFile(testing::SourcePath("tests/golden/media/info.json")));
  for (const auto& [name, expected] : infos.items()) {
    SCOPED_TRACE(name);
    const ImageInfo info = ReadImageInfo(ImagePath(name));
    EXPECT_EQ(info.format, expected["format"]);
    if (!NeedsLibheif(name)) {
      EXPECT_EQ(info.original_width, expected["original"][0]);
      EXPECT_EQ(info.original_height, expected["original"][1]);
      EXPECT_EQ(info.orientation, expected["orientation"]);
    }
    EXPECT_EQ(info.capture_time, expected.value("capture_time", ""));
    EXPECT_EQ(info.camera_make, expected.value("make", ""));
    EXPECT_EQ(info.camera_model, expected.value("model", ""));
    ASSERT_EQ(info.latitude.has_value(), expected.contains("latitude"));
    if (info.latitude) {
      EXPECT_NEAR(*info.latitude, expected["latitude"].get<double>(), 1e-9);
      EXPECT_NEAR(info.longitude.value_or(0), expected["longitude"].get<double>(), 1e-9);
    }
    ImageInfo decoded;
    const Image image = ReadImage(ImagePath(name), {}, &decoded);
    EXPECT_EQ(image.width, info.width);
    EXPECT_EQ(image.height, info.height);
    EXPECT_EQ(decoded.format, info.format);
    EXPECT_EQ(decoded.capture_time, info.capture_time);
  }
}

TEST(Image, AlphaAndDepthAreReported) {
  EXPECT_TRUE(ReadImageInfo(ImagePath("rgba.png")).has_alpha);
  EXPECT_TRUE(ReadImageInfo(ImagePath("transparent.gif")).has_alpha);
  EXPECT_TRUE(ReadImageInfo(ImagePath("lossy_alpha.webp")).has_alpha);
  EXPECT_FALSE(ReadImageInfo(ImagePath("rgb.png")).has_alpha);
  EXPECT_EQ(ReadImageInfo(ImagePath("rgb16.png")).bits, 16);
  EXPECT_EQ(ReadImageInfo(ImagePath("one_bit.tif")).bits, 1);
}

TEST(Image, TruncatedFilesAreRefused) {
  for (const GoldenRecord& record : ReadGolden(testing::SourcePath("tests/golden/media/decode.bin"))) {
    // What is cut off here is not the picture: bytes after it, or later frames and pages.
    if (record.name == "trailing_bytes.jpg" || record.name.starts_with("animated") || record.name.ends_with(".tif"))
      continue;
    SCOPED_TRACE(record.name);
    const std::vector<uint8_t> bytes = ImageBytes(record.name);
    const std::span<const uint8_t> half(bytes.data(), bytes.size() * 6 / 10);
    std::string message;
    CodeOf([&] { DecodeImage(half, "half of it"); }, &message);
    EXPECT_NE(message.find("half of it"), std::string::npos) << message;
  }
}

TEST(Image, EveryPrefixAndManyDamagesAreSurvived) {
  for (const char* name : {"camera.jpg", "progressive.jpg", "cmyk.jpg", "palette_transparent.png", "rgb_interlaced.png",
                           "offset_transparent.gif", "rle8.bmp", "rgb565.bmp", "lossy_alpha.webp", "animated.webp",
                           "tiled_planar16.tif", "cmyk.tif", "strips.tif"}) {
    SCOPED_TRACE(name);
    std::vector<uint8_t> bytes = ImageBytes(name);
    const DecodeOptions options{.max_pixels = 1 << 16};
    const auto try_it = [&](std::span<const uint8_t> data) {
      try {
        DecodeImage(data, name, options);
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::kInternal) << error.message();
      }
    };
    for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 300) try_it({bytes.data(), size});
    uint32_t random = 1;
    for (int round = 0; round < 400; ++round) {
      random = random * 1664525 + 1013904223;
      const size_t at = random % bytes.size();
      const uint8_t kept = bytes[at];
      bytes[at] = static_cast<uint8_t>(random >> 24);
      try_it(bytes);
      bytes[at] = kept;
    }
  }
}

TEST(Image, PixelBudgetIsCheckedFromTheHeader) {
  // 20000x20000 px declared in a few dozen bytes.
  const std::vector<uint8_t> png = {0x89, 'P', 'N',  'G',  '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R',
                                    0,    0,   0x4e, 0x20, 0,    0,    0x4e, 0x20, 8, 2, 0, 0,  0,   0,   0,   0,
                                    0,    0,   0,    0,    'I',  'D',  'A',  'T',  0, 0, 0, 0,  0,   0,   0,   0};
  std::vector<uint8_t> bmp = ImageBytes("rgb.bmp");
  bmp[18] = bmp[22] = 0x20;
  bmp[19] = bmp[23] = 0x4e;
  std::vector<uint8_t> gif = ImageBytes("plain.gif");
  gif[6] = gif[8] = 0x20;
  gif[7] = gif[9] = 0x4e;
  std::vector<uint8_t> jpeg = ImageBytes("grey.jpg");
  for (size_t i = 0; i + 9 < jpeg.size(); ++i) {
    if (jpeg[i] == 0xFF && jpeg[i + 1] == 0xC0) {
      jpeg[i + 5] = jpeg[i + 7] = 0x4e;
      jpeg[i + 6] = jpeg[i + 8] = 0x20;
    }
  }
  for (const std::vector<uint8_t>* bytes :
       std::initializer_list<const std::vector<uint8_t>*>{&png, &bmp, &gif, &jpeg}) {
    const auto start = std::chrono::steady_clock::now();
    std::string message;
    EXPECT_EQ(CodeOf([&] { DecodeImage(*bytes, "bomb.img"); }, &message), ErrorCode::kResourceExhausted);
    EXPECT_NE(message.find("bomb.img: 20000x20000"), std::string::npos) << message;
    EXPECT_NE(message.find("178956970"), std::string::npos) << message;
    EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 0.1);
    EXPECT_EQ(ProbeImage(*bytes, "bomb.img").width, 20000);
  }
  const std::vector<uint8_t> all = ImageBytes("rgb.png");
  EXPECT_EQ(DecodeImage(all, "just fits", {.max_pixels = 21 * 14}).width, 21);
  for (const GoldenRecord& record : ReadGolden(testing::SourcePath("tests/golden/media/decode.bin"))) {
    if (record.numbers[0] * record.numbers[1] == 1) continue;
    SCOPED_TRACE(record.name);
    const std::vector<uint8_t> bytes = ImageBytes(record.name);
    EXPECT_EQ(CodeOf([&] { DecodeImage(bytes, "x", {.max_pixels = record.numbers[0] * record.numbers[1] - 1}); }),
              ErrorCode::kResourceExhausted);
  }
  EXPECT_EQ(CodeOf([&] { DecodeImage(all, "x", {.max_file_bytes = 100}); }), ErrorCode::kResourceExhausted);
}

TEST(Image, ForeignContentIsNamed) {
  const auto message_of = [](std::string_view content) {
    std::string message;
    CodeOf([&] { DecodeImage({reinterpret_cast<const uint8_t*>(content.data()), content.size()}, "f.jpg"); }, &message);
    return message;
  };
  EXPECT_NE(message_of("").find("f.jpg: expected a picture, got an empty file"), std::string::npos);
  EXPECT_NE(message_of("<!DOCTYPE html><html>").find("HTML"), std::string::npos);
  EXPECT_NE(message_of("%PDF-1.4").find("PDF"), std::string::npos);
  EXPECT_NE(message_of("Hello, this is a letter").find("text"), std::string::npos);
  EXPECT_NE(message_of(std::string(100, '\0')).find("zero bytes only"), std::string::npos);
  EXPECT_NE(message_of(std::string("\0\0\0\x20"
                                   "ftypisom\0\0\0\0isomiso2avc1mp41",
                                   32))
                .find("video"),
            std::string::npos);
  EXPECT_EQ(CodeOf([] { ReadImage("/no/such/file.jpg"); }), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf([] { ReadImage("/tmp"); }), ErrorCode::kIo);
}

TEST(Image, DecodesInParallel) {
  std::vector<std::thread> threads;
  std::vector<int> differences(4, 0);
  const std::vector<GoldenRecord> records = ReadGolden(testing::SourcePath("tests/golden/media/decode.bin"));
  for (size_t t = 0; t < differences.size(); ++t) {
    threads.emplace_back([&, t] {
      for (const GoldenRecord& record : records) {
        const Image image = ReadImage(ImagePath(record.name));
        const auto expected = record.Unpack(static_cast<size_t>(image.size_bytes()));
        differences[t] +=
            ToleranceOf(record.name) == 0 && std::memcmp(expected.data(), image.data(), expected.size()) != 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int difference : differences) EXPECT_EQ(difference, 0);
}

TEST(Image, WrittenFilesReadBack) {
  const testing::TemporaryFolder folder;
  const Image image = Pattern(33, 21);
  WritePng(folder.File("a.png"), image);
  const Image png = ReadImage(folder.File("a.png"));
  ASSERT_EQ(png.width, 33);
  ASSERT_EQ(png.height, 21);
  EXPECT_EQ(std::memcmp(png.data(), image.data(), static_cast<size_t>(image.size_bytes())), 0);
  Image flat = Image::Allocate(40, 30);
  std::memset(flat.mutable_row(0), 90, static_cast<size_t>(flat.size_bytes()));
  WriteJpeg(folder.File("a.jpg"), flat, 95);
  const Image jpeg = ReadImage(folder.File("a.jpg"));
  ASSERT_EQ(jpeg.width, 40);
  EXPECT_NEAR(jpeg.row(15)[60], 90, 2);
  EXPECT_EQ(CodeOf([&] { WriteJpeg(folder.File("b.jpg"), flat, 0); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf([&] { WritePng(folder.File("b.png"), Image()); }), ErrorCode::kInvalidArgument);
}

TEST(Pixels, AlphaOnWhiteIsRounded) {
  for (int alpha = 0; alpha < 256; ++alpha) {
    for (int value = 0; value < 256; value += 5) {
      const uint8_t rgba[4] = {static_cast<uint8_t>(value), 0, 255, static_cast<uint8_t>(alpha)};
      uint8_t rgb[3];
      LayOnWhite(rgba, 1, rgb);
      EXPECT_NEAR(rgb[0], (value * alpha + 255 * (255 - alpha)) / 255.0, 0.51);
      EXPECT_EQ(rgb[2], 255);
    }
  }
}

TEST(Pixels, UprightFollowsTheStandard) {
  // Stored 3x2:  1 2 3     What orientation o shows, from the EXIF standard: where row 0 and column 0 of the stored
  // picture are.
  //              4 5 6
  const std::vector<std::vector<int>> expected = {{1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1},
                                                  {4, 5, 6, 1, 2, 3}, {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3},
                                                  {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4}};
  Image stored = Image::Allocate(3, 2);
  for (int i = 0; i < 18; ++i) stored.mutable_row(0)[i] = static_cast<uint8_t>(i / 3 + 1);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Image upright = Upright(stored, orientation);
    EXPECT_EQ(upright.width, orientation >= 5 ? 2 : 3);
    for (size_t i = 0; i < 6; ++i)
      EXPECT_EQ(upright.data()[3 * i + 1], expected[static_cast<size_t>(orientation - 1)][i]) << orientation;
  }
}

TEST(Exif, DamagedMetadataIsIgnored) {
  ImageInfo info;
  const std::string loop("II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0",
                         22);  // an EXIF directory that is its own parent
  EXPECT_EQ(ReadExif({reinterpret_cast<const uint8_t*>(loop.data()), loop.size()}, info), 0);
  const std::string beyond("MM\0*\xff\xff\xff\xf0", 8);
  EXPECT_EQ(ReadExif({reinterpret_cast<const uint8_t*>(beyond.data()), beyond.size()}, info), 0);
  EXPECT_EQ(ReadExif({}, info), 0);
  EXPECT_EQ(info.capture_time, "");
}

}  // namespace
}  // namespace fovea::media
