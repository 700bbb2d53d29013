// Preprocess against the image processors of transformers, to the bit.
#include "media/preprocess.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "media/golden_testing.h"
#include "testing/testing.h"

namespace fovea::media {
namespace {

PreprocessSpec SpecOf(const std::string& json) {
  return PreprocessSpec::FromConfig(base::Config::Parse(json, "preprocessor_config.json"));
}

TEST(Preprocess, EqualsTransformers) {
  const auto configs =
      nlohmann::json::parse(base::ReadTextFile(testing::SourcePath("tests/golden/media/preprocess.json")));
  int compared = 0;
  for (const GoldenRecord& record : ReadGolden(testing::SourcePath("tests/golden/media/preprocess.bin"))) {
    SCOPED_TRACE(record.name);
    const std::vector<std::string> words = Words(record.name);
    const PreprocessSpec spec = SpecOf(configs.at(words[0]).dump());
    const Image image = Pattern(std::stoi(words[1]), std::stoi(words[2]));
    const Tensor pixels = Preprocess(image, spec);
    ASSERT_EQ(pixels.shape(), (Shape{record.numbers[0], record.numbers[1], 3}));
    const std::vector<uint8_t> bytes = record.Unpack(static_cast<size_t>(pixels.size_bytes()));
    const auto expected = reinterpret_cast<const float*>(bytes.data());
    float worst = 0;
    for (int64_t i = 0; i < pixels.numel(); ++i)
      worst = std::max(worst, std::abs(pixels.data<float>()[i] - expected[i]));
    EXPECT_EQ(worst, 0.0f);
    const PixelSize size = OutputSize(spec, image.width, image.height);
    EXPECT_EQ(size.height, record.numbers[0]);
    EXPECT_EQ(size.width, record.numbers[1]);
    ++compared;
  }
  EXPECT_EQ(compared, 72);
}

TEST(Preprocess, BatchRowsAreThePictures) {
  const PreprocessSpec spec =
      SpecOf(R"({"image_processor_type": "ViTImageProcessor", "size": {"height": 9, "width": 11}})");
  const Tensor batch = Tensor::Zeros({3, 9, 11, 3});
  const Image image = Pattern(40, 30);
  PreprocessInto(image, spec, batch, 1);
  const Tensor single = Preprocess(image, spec);
  testing::ExpectClose(batch.Sliced(0, 1, 2).Contiguous().View({9, 11, 3}), single, 0.0f);
  testing::ExpectClose(batch.Sliced(0, 0, 1).Contiguous(), Tensor::Zeros({1, 9, 11, 3}), 0.0f);
  EXPECT_THROW(PreprocessInto(image, spec, batch, 3), Error);
  EXPECT_THROW(PreprocessInto(image, spec, Tensor::Zeros({1, 9, 9, 3}), 0), Error);
}

TEST(Preprocess, LongThinPictureIsNotEnlargedInMemory) {
  const PreprocessSpec spec =
      SpecOf(R"({"image_processor_type": "CLIPImageProcessor"})");  // short side to 224, then a crop of 224
  const Tensor pixels = Preprocess(Pattern(1, 20000), spec);
  EXPECT_EQ(pixels.shape(), (Shape{224, 224, 3}));
  EXPECT_LT(GetAllocatorStats().peak_bytes, int64_t{256} << 20);
}

TEST(Preprocess, DefaultsAreThoseOfTheProcessor) {
  const PreprocessSpec clip =
      SpecOf(R"({"feature_extractor_type": "CLIPFeatureExtractor", "size": 30, "crop_size": 20})");
  EXPECT_EQ(clip.size.shortest_edge, 30);
  EXPECT_EQ(clip.crop_width, 20);
  EXPECT_TRUE(clip.do_center_crop);
  EXPECT_EQ(clip.resample, Filter::kBicubic);
  const PreprocessSpec vit = SpecOf(R"({"size": 30})");
  EXPECT_EQ(vit.size.height, 30);
  EXPECT_EQ(vit.resample, Filter::kBilinear);
  EXPECT_FALSE(vit.do_center_crop);
  EXPECT_TRUE(SpecOf(R"({"image_processor_type": "EfficientNetImageProcessorFast"})").include_top);
  EXPECT_NE(clip.ToString().find("resize the short side to 30 bicubic, centre crop 20x20"), std::string::npos)
      << clip.ToString();
}

TEST(Preprocess, TheModelTypeChoosesTheProcessorWhenTheFileDoesNot) {
  const auto config = [](const std::string& json) { return base::Config::Parse(json, "config.json"); };
  const PreprocessSpec clip = PreprocessSpec::FromConfig(config(R"({"size": 30})"), "clip");
  EXPECT_EQ(clip.size.shortest_edge, 30);
  EXPECT_EQ(clip.crop_height, 224);
  EXPECT_TRUE(PreprocessSpec::FromConfig(config("{}"), "efficientnet").include_top);
  const PreprocessSpec named =
      PreprocessSpec::FromConfig(config(R"({"image_processor_type": "ViTImageProcessor"})"), "efficientnet");
  EXPECT_FALSE(named.include_top);  // a name in the file goes first
  EXPECT_EQ(PreprocessSpec::FromConfig(config("{}"), "unheard-of").size.height, 224);
  const PreprocessSpec efficientnet = PreprocessSpec::OfModel(config(R"({"model_type": "efficientnet"})"));
  EXPECT_EQ(efficientnet.size.height, 346);
  EXPECT_EQ(efficientnet.resample, Filter::kBicubic);
  EXPECT_TRUE(efficientnet.include_top);
  EXPECT_EQ(PreprocessSpec::OfModel(config(R"({"model_type": "vgg"})")).centring, Centring::kTorchvision);
  for (const char* json : {"{}", R"({"model_type": "visual_bert"})", R"({"model_type": "siglip2"})"})
    EXPECT_THROW(PreprocessSpec::OfModel(config(json)), Error) << json;
}

TEST(Preprocess, OpenClipTakesTheSizeOfTheModel) {
  const auto spec_of = [](const std::string& json) {
    return PreprocessSpec::FromOpenClip(base::Config::Parse(json, "open_clip_config.json"));
  };
  EXPECT_EQ(spec_of("{}").size.shortest_edge, 224);
  EXPECT_EQ(spec_of(R"({"size": 96})").size.shortest_edge, 96);
  EXPECT_EQ(spec_of(R"({"model_cfg": {"vision_cfg": {"image_size": 336}}, "preprocess_cfg": {"size": 96}})").crop_width,
            336);
  EXPECT_EQ(spec_of(R"({"size": 96, "resize_mode": "longest"})").size.fit, Fit::kInside);
  EXPECT_EQ(OutputSize(spec_of(R"({"size": [60, 30], "resize_mode": "longest"})"), 10, 10).height, 60);
  for (const char* json :
       {R"({"mode": "L"})", R"({"interpolation": "lanczos"})", R"({"resize_mode": "pad"})", R"({"size": [1, 2, 3]})",
        R"({"fill_color": 256, "resize_mode": "longest"})", R"({"std": [0, 1, 1]})", R"({"size": 0})"})
    EXPECT_THROW(spec_of(json), Error) << json;
}

TEST(Preprocess, LongestEdgeLimitsTheLongSide) {
  const PreprocessSpec spec = SpecOf(R"({"size": {"shortest_edge": 20, "longest_edge": 50}})");
  EXPECT_EQ(OutputSize(spec, 100, 100).width, 20);
  EXPECT_EQ(OutputSize(spec, 200, 100).width, 40);
  EXPECT_EQ(OutputSize(spec, 400, 100).width, 50);  // 12.5 rounds to the even 12; the long side keeps its exact 50
  EXPECT_EQ(OutputSize(spec, 400, 100).height, 12);
  EXPECT_EQ(OutputSize(spec, 1, 1000).width, 1);
}

TEST(Preprocess, RefusesWhatItDoesNotCover) {
  const auto message_of = [](const std::string& json) -> std::string {
    try {
      SpecOf(json);
    } catch (const Error& error) {
      return error.message();
    }
    return "accepted";
  };
  EXPECT_NE(message_of(R"({"do_pad": true})").find("\"do_pad\""), std::string::npos);
  EXPECT_EQ(message_of(R"({"do_pad": false, "pad_size": null})"), "accepted");
  EXPECT_NE(message_of(R"({"pad_size": {"height": 4, "width": 4}})").find("\"pad_size\""), std::string::npos);
  EXPECT_NE(message_of(R"({"image_processor_type": "Qwen2VLImageProcessor"})").find("Qwen2VLImageProcessor"),
            std::string::npos);
  EXPECT_NE(message_of(R"({"size": {"max_height": 4, "max_width": 4}})").find("max_height"), std::string::npos);
  EXPECT_NE(message_of(R"({"size": {"height": 4}})").find("height and width"), std::string::npos);
  EXPECT_NE(message_of(R"({"size": 99999999})").find("16384"), std::string::npos);
  EXPECT_NE(message_of(R"({"image_std": [1, 0, 1]})").find("image_std"), std::string::npos);
  EXPECT_NE(message_of(R"({"image_mean": [1]})").find("image_mean"), std::string::npos);
  EXPECT_NE(message_of(R"({"resample": 9})").find("resample"), std::string::npos);
  EXPECT_NE(message_of(R"({"crop_pct": 0.875})").find("crop_pct"), std::string::npos);
  EXPECT_NE(message_of(R"({"do_flip_channel_order": true})").find("\"do_flip_channel_order\""), std::string::npos);
  EXPECT_NE(message_of(R"({"interpolation": "bicubic"})").find("\"interpolation\""), std::string::npos);
  EXPECT_EQ(message_of(
                R"({"interpolation": null, "do_pad": false, "processor_class": "X", "data_format": "channels_first"})"),
            "accepted");
  EXPECT_NE(message_of(R"({"include_top": true})").find("include_top"), std::string::npos);
  EXPECT_NE(message_of(R"({"image_processor_type": "Siglip2ImageProcessorFast"})").find("PatchSpec"),
            std::string::npos);
  EXPECT_NE(message_of(R"({"image_processor_type": "DINOv3ViTImageProcessor", "resample": 1})").find("bilinear"),
            std::string::npos);
  EXPECT_NE(message_of(R"({"image_processor_type": "ConvNextImageProcessor", "size": {"height": 9, "width": 9}})")
                .find("shortest_edge"),
            std::string::npos);
  EXPECT_NE(message_of(R"({"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0})").find("crop_pct"),
            std::string::npos);
  EXPECT_NE(message_of(R"({"image_processor": {"do_pad": true}})").find("\"do_pad\""), std::string::npos);
  EXPECT_NE(message_of(R"({"crop_first": true, "crop_pct": 2})").find("crop_pct"), std::string::npos);
  EXPECT_NE(message_of(R"({"crop_first": true, "crop_pct": 0.5, "crop_size": 9})").find("crop_size"),
            std::string::npos);
}

}  // namespace
}  // namespace fovea::media
