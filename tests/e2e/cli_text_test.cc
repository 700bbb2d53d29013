// Models that read text, on a tiny CLIP (tests/golden/clip_tiny, made by tools/dump_tiny_clip.py): zero-shot classes,
// prompt ensembles, text vectors and the parity certificate, against what transformers computes from the same folder.
#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "cli_run.h"

namespace fovea::e2e {
namespace {

using nlohmann::json;

class TinyClip : public ::testing::Test {
 protected:
  TinyClip()
      : folder_(testing::SourcePath("tests/golden/clip_tiny")),
        expected_(base::ParseJson(base::ReadTextFile(folder_ + "/expected.json"), "expected.json")) {}

  std::vector<std::string> Pictures() const {
    std::vector<std::string> paths;
    for (const auto& name : expected_["pictures"])
      paths.push_back(testing::SourcePath("samples/" + name.get<std::string>()));
    return paths;
  }
  std::string Labels() const {
    std::string labels;
    for (const auto& label : expected_["labels"]) labels += (labels.empty() ? "" : ", ") + label.get<std::string>();
    return labels;
  }
  Result Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--model", folder_, "--json"});
    return RunFovea(arguments, {"XDG_CACHE_HOME=" + cache_.path()});
  }
  // `lines` hold every label with the probability of the reference, best first.
  void ExpectScores(const std::vector<json>& lines, const json& reference) const {
    ASSERT_EQ(lines.size(), reference.size());
    for (size_t i = 0; i < lines.size(); ++i) {
      ASSERT_EQ(lines[i]["labels"].size(), reference[i].size());
      double last = 2;
      for (const auto& label : lines[i]["labels"]) {
        const size_t index = label["index"];
        EXPECT_EQ(label["label"], expected_["labels"][index]);
        EXPECT_NEAR(label["score"].get<double>(), reference[i][index].get<double>(), 1e-4);
        EXPECT_LE(label["score"].get<double>(), last);
        last = label["score"];
      }
    }
  }

  std::string folder_;
  json expected_;
  testing::TemporaryFolder cache_;
};

TEST_F(TinyClip, ZeroShotScoresAreThoseOfTheReference) {
  std::vector<std::string> arguments = {"classify", "--labels", Labels()};
  for (const std::string& path : Pictures()) arguments.push_back(path);
  const Result result = Run(arguments);
  EXPECT_EQ(result.exit, 0) << result.err;
  ExpectScores(result.Lines(), expected_["one"]);
}

TEST_F(TinyClip, TemplatesAreAveragedAndTheirFeaturesAreKept) {
  std::vector<std::string> arguments = {"classify", "--labels", Labels()};
  for (const auto& text : expected_["templates"])
    arguments.insert(arguments.end(), {"--template", text.get<std::string>()});
  for (const std::string& path : Pictures()) arguments.push_back(path);
  const Result first = Run(arguments);
  EXPECT_EQ(first.exit, 0) << first.err;
  ExpectScores(first.Lines(), expected_["ensemble"]);
  // The features are written when they are computed: a run that reads them leaves the file alone, a damaged file is
  // made anew.
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(cache_.File("fovea/labels")))
    files.push_back(file.path());
  ASSERT_EQ(files.size(), 1u);
  const std::string stored = base::ReadTextFile(files[0]);
  const auto long_ago = std::filesystem::last_write_time(files[0]) - std::chrono::hours(1);
  std::filesystem::last_write_time(files[0], long_ago);
  ExpectScores(Run(arguments).Lines(), expected_["ensemble"]);
  EXPECT_EQ(std::filesystem::last_write_time(files[0]), long_ago);
  std::ofstream(files[0]) << "no tensors";
  ExpectScores(Run(arguments).Lines(), expected_["ensemble"]);
  EXPECT_EQ(base::ReadTextFile(files[0]), stored);
}

TEST_F(TinyClip, LabelsComeFromAFileToo) {
  const std::string path = cache_.File("labels.txt");
  std::ofstream file(path);
  for (const auto& label : expected_["labels"]) file << label.get<std::string>() << "\r\n";
  file.close();
  std::vector<std::string> arguments = {"classify", "--labels-file", path};
  for (const std::string& picture : Pictures()) arguments.push_back(picture);
  ExpectScores(Run(arguments).Lines(), expected_["one"]);
}

TEST_F(TinyClip, BadLabelsAndTemplatesAreRefused) {
  const std::string picture = Pictures()[0];
  EXPECT_EQ(Run({"classify", picture, "--labels", "a", "--template", "no place"}).exit, 1);
  EXPECT_NE(Run({"classify", picture, "--labels", "a", "--template", "no place"}).err.find("{}"), std::string::npos);
  EXPECT_EQ(Run({"classify", picture, "--labels", " , "}).exit, 1);
  EXPECT_NE(Run({"classify", picture}).err.find("--labels"), std::string::npos);
}

TEST_F(TinyClip, VectorsOfTextsAndPicturesAreThoseOfTheReference) {
  const auto expect = [](const std::vector<json>& lines, const json& reference) {
    ASSERT_EQ(lines.size(), reference.size());
    for (size_t i = 0; i < lines.size(); ++i) {
      ASSERT_EQ(lines[i]["embedding"].size(), reference[i].size());
      for (size_t d = 0; d < reference[i].size(); ++d)
        EXPECT_NEAR(lines[i]["embedding"][d].get<double>(), reference[i][d].get<double>(), 1e-4);
    }
  };
  std::vector<std::string> texts = {"embed", "--text"}, pictures = {"embed"};
  for (const auto& text : expected_["texts"]) texts.push_back(text.get<std::string>());
  for (const std::string& picture : Pictures()) pictures.push_back(picture);
  const Result of_texts = Run(texts);
  EXPECT_EQ(of_texts.exit, 0) << of_texts.err;
  EXPECT_EQ(of_texts.Lines()[0]["text"], expected_["texts"][0]);
  expect(of_texts.Lines(), expected_["text_embeddings"]);
  expect(Run(pictures).Lines(), expected_["image_embeddings"]);
}

TEST_F(TinyClip, TheCertificateSaysWhichStageDiffers) {
  const Result good = RunFovea({"verify", folder_, "--json"});
  EXPECT_EQ(good.exit, 0) << good.err;
  std::vector<std::string> stages;
  for (const json& line : good.Lines()) {
    stages.push_back(line["stage"]);
    EXPECT_TRUE(line["ok"]) << line;
  }
  for (const char* stage : {"pixels", "tokens", "vision.layers.1", "text.layers.1", "logits_per_image"})
    EXPECT_NE(std::find(stages.begin(), stages.end(), stage), stages.end()) << stage;

  // Other pixels and other ids than the reference's: the two lines say so, the stages behind them do not.
  const testing::TemporaryFolder copy;
  std::filesystem::copy(folder_, copy.path(), std::filesystem::copy_options::recursive);
  std::string text = base::ReadTextFile(copy.File("preprocessor_config.json"));
  const size_t at = text.find("\"resample\": 3");
  ASSERT_NE(at, std::string::npos);
  base::WriteTextFileAtomically(copy.File("preprocessor_config.json"), text.replace(at, 13, "\"resample\": 0"));
  text = base::ReadTextFile(copy.File("tokenizer.json"));
  const size_t word = text.find("\"cat\": ");
  ASSERT_NE(word, std::string::npos);
  base::WriteTextFileAtomically(copy.File("tokenizer.json"), text.replace(word, 6, "\"bat\":"));
  const Result bad = RunFovea({"verify", copy.path(), "--json"});
  EXPECT_EQ(bad.exit, 1) << bad.err;
  for (const json& line : bad.Lines())
    EXPECT_EQ(line["ok"], line["stage"] != "pixels" && line["stage"] != "tokens") << line;
}

TEST_F(TinyClip, WithoutAReferenceVerifySaysHowToMakeOne) {
  const Result result = RunFovea({"verify", "efficientnet-lite2"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("make_golden.py"), std::string::npos) << result.err;
}

// SigLIP 2 NaFlex (tests/golden/naflex_tiny, made by tools/dump_tiny_naflex.py): pictures keep their proportions.
TEST(TinyNaflex, VectorsOfPicturesAreThoseOfTheReference) {
  const std::string folder = testing::SourcePath("tests/golden/naflex_tiny");
  const json expected = base::ParseJson(base::ReadTextFile(folder + "/expected.json"), "expected.json");
  std::vector<std::string> arguments = {"embed", "--json", "--model", folder};
  for (const auto& name : expected["pictures"])
    arguments.push_back(testing::SourcePath("samples/" + name.get<std::string>()));
  const Result result = RunFovea(arguments);
  EXPECT_EQ(result.exit, 0) << result.err;
  const std::vector<json> lines = result.Lines();
  ASSERT_EQ(lines.size(), expected["image_embeddings"].size());
  for (size_t i = 0; i < lines.size(); ++i) {
    const json& reference = expected["image_embeddings"][i];
    ASSERT_EQ(lines[i]["embedding"].size(), reference.size());
    for (size_t d = 0; d < reference.size(); ++d)
      EXPECT_NEAR(lines[i]["embedding"][d].get<double>(), reference[d].get<double>(), 1e-4);
  }
}

// A saved text model still reads text.
TEST_F(TinyClip, ConvertKeepsTheTokenizer) {
  const testing::TemporaryFolder copy;
  EXPECT_EQ(RunFovea({"convert", folder_, copy.path(), "--type", "f32"}).exit, 0);
  const Result before = RunFovea({"embed", "--json", "--text", "two dogs", "--model", folder_});
  const Result after = RunFovea({"embed", "--json", "--text", "two dogs", "--model", copy.path()});
  EXPECT_EQ(after.exit, 0) << after.err;
  EXPECT_EQ(after.out, before.out);
}

}  // namespace
}  // namespace fovea::e2e
