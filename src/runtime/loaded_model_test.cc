#include "runtime/loaded_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "formats/safetensors.h"
#include "testing/testing.h"

namespace fovea {
namespace {

// A folder with the tiny network of a golden file, prepared for 64x48 pictures.
class ModelFolder : public ::testing::Test {
 protected:
  ModelFolder() {
    Write("efficientnet_b0");
    base::WriteTextFileAtomically(folder_.File("preprocessor_config.json"),
                                  R"({"do_resize": true, "size": {"height": 48, "width": 64}, "resample": 2,
      "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})");
  }

  // Makes it the folder of another network, of the golden file with this name.
  void Write(const std::string& name) {
    const auto golden =
        formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/" + name + ".safetensors"));
    base::WriteTextFileAtomically(folder_.File("config.json"), golden.metadata().at("config"));
    weights_.clear();
    for (const auto& info : golden.tensors()) {
      if (info.name.starts_with("weights.")) weights_.push_back({info.name.substr(8), golden.Get(info.name)});
    }
    formats::WriteSafetensors(folder_.File("model.safetensors"), weights_);
  }

  static Image Gradient(int64_t width, int64_t height, int shift) {
    Image image = Image::Allocate(width, height);
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width * 3; ++x) image.mutable_row(y)[x] = static_cast<uint8_t>(x * shift + y * 3);
    }
    return image;
  }

  static std::string ErrorOf(const std::string& model) {
    try {
      Model::Load(model);
    } catch (const Error& error) {
      return error.message();
    }
    return "";
  }

  testing::TemporaryFolder folder_;
  std::vector<NamedTensor> weights_;
};

TEST_F(ModelFolder, ClassifiesAndEmbedsTheSameAloneAndInABatch) {
  const Model model = Model::Load(folder_.path());
  EXPECT_EQ(model.info().model_type, "efficientnet");
  EXPECT_EQ(model.info().classes, 7);
  EXPECT_EQ(model.info().embedding_dim, 128);
  std::vector<Image> images;
  for (int i = 0; i < 11; ++i) images.push_back(Gradient(30 + 7 * i, 50, i + 1));
  const auto analyses = model.Analyze(images, {.top_k = 7});
  ASSERT_EQ(analyses.size(), images.size());
  for (size_t i = 0; i < images.size(); ++i) {
    double sum = 0, norm = 0;
    for (const Label& label : analyses[i].labels) sum += label.score;
    for (const float value : analyses[i].embedding) norm += static_cast<double>(value) * value;
    EXPECT_NEAR(sum, 1.0, 1e-5);
    EXPECT_NEAR(norm, 1.0, 1e-5);
    for (size_t k = 1; k < analyses[i].labels.size(); ++k)
      EXPECT_GE(analyses[i].labels[k - 1].score, analyses[i].labels[k].score);
    const auto alone = model.Analyze(std::span(&images[i], 1), {.top_k = 7});
    EXPECT_EQ(alone[0].labels[0].index, analyses[i].labels[0].index);
    EXPECT_NEAR(alone[0].labels[0].score, analyses[i].labels[0].score, 1e-5);
  }
  EXPECT_TRUE(model.Analyze(std::span(images).first(1), {.top_k = 0})[0].labels.empty());
  EXPECT_THROW(model.Classify(images, {.top_k = 0}), Error);
}

TEST_F(ModelFolder, FingerprintFollowsWeightsConfigurationAndPreparation) {
  const std::string before = Model::Load(folder_.path()).info().fingerprint;
  EXPECT_EQ(Model::Load(folder_.path()).info().fingerprint, before);
  const std::string path = folder_.File("preprocessor_config.json"), text = base::ReadTextFile(path);
  std::string changed = text;
  changed.replace(changed.find("\"resample\": 2"), 13, "\"resample\": 3");
  base::WriteTextFileAtomically(path, changed);
  EXPECT_NE(Model::Load(folder_.path()).info().fingerprint, before);
  base::WriteTextFileAtomically(path, text);
  for (auto& weight : weights_) {
    if (weight.name != "classifier.bias") continue;
    weight.tensor = weight.tensor.Clone();
    weight.tensor.mutable_data<float>()[0] += 1;
  }
  formats::WriteSafetensors(folder_.File("model.safetensors"), weights_);
  EXPECT_NE(Model::Load(folder_.path()).info().fingerprint, before);
}

// A backbone that was cut out of a classifier often keeps the names of its classes.
TEST_F(ModelFolder, ABackboneHasNoClassesWhateverItsConfigurationNames) {
  Write("vit_pooled");
  const std::string config = base::ReadTextFile(folder_.File("config.json"));
  base::WriteTextFileAtomically(folder_.File("config.json"),
                                R"({"id2label": {"0": "cat", "1": "dog"}, )" + config.substr(config.find('{') + 1));
  const Model model = Model::Load(folder_.path());
  EXPECT_EQ(model.info().classes, 0);
  EXPECT_EQ(std::ranges::count(model.info().capabilities, "classify"), 0);
  Write("vit_classifier");
  EXPECT_EQ(std::ranges::count(Model::Load(folder_.path()).info().capabilities, "classify"), 1);
}

TEST(Fingerprint, FollowsTheFilesThatTextsAreReadBy) {
  const testing::TemporaryFolder folder;
  const std::string clip = testing::SourcePath("tests/golden/clip_tiny");
  for (const auto& file : std::filesystem::directory_iterator(clip))
    std::filesystem::copy(file.path(), folder.File(file.path().filename().string()));
  const std::string before = Model::Load(folder.path()).info().fingerprint;
  std::filesystem::create_directory(folder.File("1_Pooling"));
  base::WriteTextFileAtomically(folder.File("1_Pooling/config.json"), "{}");
  const std::string pooled = Model::Load(folder.path()).info().fingerprint;
  EXPECT_NE(pooled, before);
  const std::string tokenizer = base::ReadTextFile(folder.File("tokenizer.json"));
  base::WriteTextFileAtomically(folder.File("tokenizer.json"), tokenizer + "\n");
  EXPECT_NE(Model::Load(folder.path()).info().fingerprint, pooled);
}

TEST_F(ModelFolder, SavedAsF16LoadsAgainAndAnswersAlike) {
  const Model model = Model::Load(folder_.path());
  const testing::TemporaryFolder copy;
  model.Save(copy.File("half"), "f16");
  const Model half = Model::Load(copy.File("half"));
  EXPECT_LT(std::filesystem::file_size(copy.File("half/model.safetensors")),
            std::filesystem::file_size(folder_.File("model.safetensors")) * 2 / 3);
  const Image image = Gradient(64, 48, 5);
  const auto exact = model.EmbedImages(std::span(&image, 1))[0], rounded = half.EmbedImages(std::span(&image, 1))[0];
  double cosine = 0;
  for (size_t i = 0; i < exact.size(); ++i) cosine += static_cast<double>(exact[i]) * rounded[i];
  EXPECT_GT(cosine, 0.9999);
  EXPECT_THROW(model.Save(copy.File("other"), "int3"), Error);
}

TEST_F(ModelFolder, RefusalsNameTheCause) {
  EXPECT_NE(ErrorOf("no-such-model").find("no-such-model"), std::string::npos);
  EXPECT_NE(ErrorOf("../escape/none").find("none"), std::string::npos);
  const std::string config = base::ReadTextFile(folder_.File("config.json"));
  base::WriteTextFileAtomically(folder_.File("config.json"), R"({"model_type": "sorcery"})");
  EXPECT_NE(ErrorOf(folder_.path()).find("sorcery"), std::string::npos);
  EXPECT_NE(ErrorOf(folder_.path()).find("efficientnet"), std::string::npos);  // what there is
  base::WriteTextFileAtomically(folder_.File("config.json"), "{\"model_type\":");
  EXPECT_NE(ErrorOf(folder_.path()).find("config.json"), std::string::npos);
  base::WriteTextFileAtomically(folder_.File("config.json"), config);
  base::WriteTextFileAtomically(folder_.File("model.safetensors"), "short");
  EXPECT_NE(ErrorOf(folder_.path()).find("model.safetensors"), std::string::npos);
  std::filesystem::remove(folder_.File("model.safetensors"));
  EXPECT_NE(ErrorOf(folder_.path()), "");
}

// A folder as OpenCLIP publishes it: its own names for configuration, weights and tensors.
TEST(OpenClipFolder, LoadsAndGivesTheFeaturesOfTheReference) {
  const auto golden =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/open_clip_quickgelu.safetensors"));
  const testing::TemporaryFolder folder;
  const base::Config config = base::Config::Parse(golden.metadata().at("config"), "golden");
  base::WriteTextFileAtomically(folder.File("open_clip_config.json"),
                                "{\"model_cfg\": " + config.Object("model_cfg").Text() +
                                    R"(, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}})");
  std::vector<NamedTensor> weights;
  for (const auto& info : golden.tensors()) {
    if (info.name.starts_with("weights.")) weights.push_back({info.name.substr(8), golden.Get(info.name)});
  }
  formats::WriteSafetensors(folder.File("open_clip_model.safetensors"), weights);
  const auto model = runtime::LoadedModel::Load(folder.path(), "tiny");
  EXPECT_EQ(model->info().model_type, "open_clip");
  EXPECT_EQ(model->preprocess().crop_width, 24);
  EXPECT_EQ(model->preprocess().std[0], 0.25f);
  const Tensor expected = golden.Get("output.features");
  testing::ExpectClose(model->network().EncodeImages(golden.Get("input.pixels")).features, expected, 1e-4f, "features");

  const testing::TemporaryFolder saved;  // with the names of the network, beside the same configuration
  model->Save(saved.path(), "f32");
  const auto again = runtime::LoadedModel::Load(saved.path(), "saved");
  testing::ExpectClose(again->network().EncodeImages(golden.Get("input.pixels")).features, expected, 1e-4f, "saved");
}

TEST_F(ModelFolder, PreparationFollowsTheFilesThereAre) {
  const std::string fixed = Model::Load(folder_.path()).info().input;
  // A processor_config.json counts only when it holds the image processor, and then first.
  base::WriteTextFileAtomically(folder_.File("processor_config.json"), R"({"processor_class": "CLIPProcessor"})");
  EXPECT_EQ(Model::Load(folder_.path()).info().input, fixed);
  base::WriteTextFileAtomically(folder_.File("processor_config.json"),
                                R"({"image_processor": {"image_processor_type": "CLIPImageProcessor"}})");
  const Model nested = Model::Load(folder_.path());
  EXPECT_NE(nested.info().input.find("short side to 224"), std::string::npos) << nested.info().input;
  const testing::TemporaryFolder copy;
  nested.Save(copy.File("saved"), "f32");
  EXPECT_EQ(Model::Load(copy.File("saved")).info().input, nested.info().input);
  // Without either: what transformers' EfficientNetImageProcessor does by default.
  std::filesystem::remove(folder_.File("processor_config.json"));
  std::filesystem::remove(folder_.File("preprocessor_config.json"));
  EXPECT_NE(Model::Load(folder_.path()).info().input.find("resize to 346x346 bicubic"), std::string::npos);
  EXPECT_NE(Model::Load(folder_.path()).info().input.find("std again"), std::string::npos);
  const auto lite =
      formats::SafetensorsFile::Open(testing::SourcePath("tests/golden/models/efficientnet_lite.safetensors"));
  base::WriteTextFileAtomically(folder_.File("config.json"), lite.metadata().at("config"));
  EXPECT_NE(ErrorOf(folder_.path()).find("Lite needs preprocessor_config.json"), std::string::npos);
}

TEST_F(ModelFolder, ShardsAnswerAsTheWholeFileDoes) {
  std::vector<NamedTensor> whole, parts[2];
  std::string map;
  for (size_t i = 0; i < weights_.size(); ++i) {
    const bool is_matrix = weights_[i].tensor.shape().rank() >= 2;
    const DType dtype = !is_matrix ? weights_[i].tensor.dtype() : i % 2 == 0 ? DType::kF16 : DType::kBF16;
    whole.push_back({weights_[i].name, weights_[i].tensor.To(dtype)});
    parts[i % 2].push_back(whole.back());
    map += base::StrCat(map.empty() ? "" : ", ", "\"", whole.back().name, "\": \"part", i % 2, ".safetensors\"");
  }
  formats::WriteSafetensors(folder_.File("model.safetensors"), whole);
  const Image image = Gradient(64, 48, 5);
  const auto expected = Model::Load(folder_.path()).EmbedImages(std::span(&image, 1))[0];
  std::filesystem::remove(folder_.File("model.safetensors"));
  for (int k = 0; k < 2; ++k)
    formats::WriteSafetensors(folder_.File(base::StrCat("part", k, ".safetensors")), parts[k]);
  base::WriteTextFileAtomically(folder_.File("model.safetensors.index.json"), "{\"weight_map\": {" + map + "}}");
  EXPECT_EQ(Model::Load(folder_.path()).EmbedImages(std::span(&image, 1))[0], expected);
  std::filesystem::remove(folder_.File("part1.safetensors"));
  EXPECT_NE(ErrorOf(folder_.path()).find("part1.safetensors"), std::string::npos);
}

TEST_F(ModelFolder, AModelThatSeesNoPicturesSaysSo) {
  const Image image = Gradient(20, 20, 1);
  for (const std::string name : {"bert_model", "lxmert_plain", "visual_bert_answering"}) {
    Write(name);
    const Model model = Model::Load(folder_.path());
    try {
      model.EmbedImages(std::span(&image, 1));
      ADD_FAILURE() << name << " embeds pictures";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnimplemented);
      EXPECT_NE(error.message().find("encodes no pictures"), std::string::npos) << error.message();
    }
  }
}

TEST_F(ModelFolder, NamesAreFoundOnTheSearchPath) {
  const testing::TemporaryFolder models;
  std::filesystem::copy(folder_.path(), models.File("tiny-one"), std::filesystem::copy_options::recursive);
  base::WriteTextFileAtomically(models.File("tiny-one/README.md"), "---\nlicense: apache-2.0\n---\n# Tiny\n");
  ::setenv("FOVEA_MODELS", models.path().c_str(), 1);
  EXPECT_EQ(Model::Load("tiny-one").info().licence, "apache-2.0");
  bool is_listed = false;
  for (const ModelListing& listing : ListModels()) is_listed = is_listed || listing.name == "tiny-one";
  EXPECT_TRUE(is_listed);
  ::unsetenv("FOVEA_MODELS");
}

}  // namespace
}  // namespace fovea
