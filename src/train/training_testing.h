// What the tests of training share: a tiny model folder and pictures whose class is their colour. For *_test.cc only.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"
#include "fovea/image.h"
#include "testing/testing.h"
#include "train/data/random.h"

namespace fovea::train {

// The network of tests/golden/models/efficientnet_train.safetensors as a model folder (pictures of 20 px, 7 classes).
inline void WriteTinyModel(const std::string& folder) {
  std::filesystem::create_directories(folder);
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/efficientnet_train.safetensors"));
  std::string config = golden.metadata().at("config");
  const std::string from = "\"dropout_rate\": 0.0";
  config.replace(config.find(from), from.size(), "\"dropout_rate\": 0.2");
  base::WriteTextFileAtomically(folder + "/config.json", config);
  base::WriteTextFileAtomically(
      folder + "/preprocessor_config.json",
      R"({"image_processor_type": "ViTImageProcessor", "size": {"height": 20, "width": 20}})");
  std::vector<NamedTensor> tensors;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.")) tensors.push_back({info.name.substr(8), golden.Get(info.name)});
  }
  formats::WriteSafetensors(folder + "/model.safetensors", tensors);
}

// `count` noisy pictures of each class in folder/CLASS/N.png: "blue", "green", "red", told apart by their colour.
inline void WriteColourPictures(const std::string& folder, int count) {
  const char* const names[] = {"blue", "green", "red"};
  Random random(5);
  for (int c = 0; c < 3; ++c) {
    std::filesystem::create_directories(folder + "/" + names[c]);
    for (int i = 0; i < count; ++i) {
      Image image = Image::Allocate(24, 24);
      for (int64_t at = 0; at < image.size_bytes(); ++at)
        image.rgb.get()[at] = static_cast<uint8_t>((at % 3 == 2 - c ? 130 : 30) + random.Below(100));
      WritePng(folder + "/" + names[c] + "/" + std::to_string(i) + ".png", image);
    }
  }
}

// Two captions, in words that tests/golden/clip_tiny knows, beside each picture of WriteColourPictures.
inline void WriteColourCaptions(const std::string& folder) {
  const std::pair<const char*, const char*> captions[] = {{"blue", "a photo of a dog\nthe dog in the snow\n"},
                                                          {"green", "the temple near a palace\nan palace\n"},
                                                          {"red", "a red cup of coffee\ntwo red cup\n"}};
  for (const auto& [name, text] : captions) {
    std::vector<std::filesystem::path> pictures;
    for (const auto& file : std::filesystem::directory_iterator(folder + "/" + name)) pictures.push_back(file.path());
    for (std::filesystem::path& picture : pictures)
      base::WriteTextFileAtomically(picture.replace_extension(".txt").string(), text);
  }
}

}  // namespace fovea::train
