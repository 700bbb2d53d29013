// classify, embed, info, models, convert and doctor on real pictures and the bundled model.
#include <cmath>
#include <cstring>
#include <filesystem>

#include "cli_run.h"

namespace fovea::e2e {
namespace {

TEST(CliClassify, JsonHasOneObjectAnInputInInputOrder) {
  const std::vector<std::string> paths = {Sample("rocket.jpg"), Sample("cat.jpg"), Sample("missing.jpg"),
                                          Sample("coffee.jpg"), Sample("cat.jpg")};
  const Result result =
      RunFovea({"classify", "--json", "--top", "3", paths[0], paths[1], paths[2], paths[3], paths[4]});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("missing.jpg"), std::string::npos) << result.err;
  const auto lines = result.Lines();
  ASSERT_EQ(lines.size(), paths.size());
  for (size_t i = 0; i < paths.size(); ++i) {
    EXPECT_EQ(lines[i]["path"], paths[i]);
    if (i == 2) {
      EXPECT_TRUE(lines[i]["error"].is_string());
      EXPECT_FALSE(lines[i].contains("labels"));
      continue;
    }
    ASSERT_EQ(lines[i]["labels"].size(), 3u);
    double above = 1;
    for (const auto& label : lines[i]["labels"]) {
      EXPECT_FALSE(label["label"].get<std::string>().empty());
      EXPECT_LE(label["score"].get<double>(), above);
      EXPECT_GE(label["score"].get<double>(), 0);
      EXPECT_LT(label["index"].get<int>(), 1000);
      above = label["score"];
    }
    EXPECT_GT(lines[i]["ms"].get<double>(), 0);
  }
  // ImageNet: 281..285 are cats, 504 coffee mug, 967 espresso.
  const int cat = lines[1]["labels"][0]["index"], coffee = lines[3]["labels"][0]["index"];
  EXPECT_TRUE(cat >= 281 && cat <= 285) << cat;
  EXPECT_TRUE(coffee == 504 || coffee == 967) << coffee;
  EXPECT_EQ(lines[1]["labels"], lines[4]["labels"]);
}

TEST(CliClassify, TextIsForPeople) {
  const Result result = RunFovea({"classify", "--top", "2", Sample("cat.jpg")});
  EXPECT_EQ(result.exit, 0);
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 3) << result.out;
  EXPECT_NE(result.out.find(" %  "), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find('\033'), std::string::npos) << "colours in a file";
}

TEST(CliClassify, AFolderIsThePicturesInItSorted) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_directories(folder.File("b/.hidden"));
  for (const char* name : {"z.jpg", "a.JPG", "b/c.jpeg", "b/.hidden/x.jpg", ".y.jpg"}) {
    std::filesystem::copy_file(Sample("cat.jpg"), folder.File(name));
  }
  WriteBytes(folder.File("notes.txt"), "no picture");
  const Result result = RunFovea({"classify", "--json", folder.path()});
  EXPECT_EQ(result.exit, 0) << result.err;
  const auto lines = result.Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["path"], folder.File("a.JPG"));
  EXPECT_EQ(lines[1]["path"], folder.File("b/c.jpeg"));
  EXPECT_EQ(lines[2]["path"], folder.File("z.jpg"));
}

TEST(CliClassify, TheNumberOfThreadsChangesNothingButTime) {
  const std::vector<std::string> pictures = {Sample("cat.jpg"), Sample("coffee.jpg"), Sample("temple.jpg"),
                                             Sample("flower.jpg"), Sample("rocket.jpg")};
  std::vector<std::string> one = {"classify", "--json", "--threads", "1"},
                           two = {"classify", "--json", "--threads", "2"};
  one.insert(one.end(), pictures.begin(), pictures.end());
  two.insert(two.end(), pictures.begin(), pictures.end());
  const auto a = RunFovea(one).Lines(), b = RunFovea(two).Lines();
  ASSERT_EQ(a.size(), pictures.size());
  ASSERT_EQ(b.size(), pictures.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i]["labels"], b[i]["labels"]) << pictures[i];
}

TEST(CliClassify, RefusesLabelsWithoutATextTower) {
  const Result result =
      RunFovea({"classify", Sample("cat.jpg"), "--labels", "cat,dog", "--model", "efficientnet-lite2"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("text tower"), std::string::npos) << result.err;
}

TEST(CliClassify, CtrlCKeepsWhatIsDone) {
  std::vector<std::string> arguments = {"classify", "--json"};
  for (int i = 0; i < 3000; ++i) arguments.push_back(Sample(i % 2 == 0 ? "cat.jpg" : "coffee.jpg"));
  Process process(arguments);
  while (process.OutputSoFar().find('\n') == std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  process.Signal(SIGINT);
  const Result result = process.Wait();
  EXPECT_EQ(result.exit, 130);
  const auto lines = result.Lines();
  ASSERT_GE(lines.size(), 1u);
  ASSERT_LT(lines.size(), 3000u);
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i]["path"], arguments[2 + i]);
}

TEST(CliClassify, AReaderThatGoesAwayIsNoError) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ::close(ends[0]);
  Process process({"classify", "--json", Sample("cat.jpg"), Sample("coffee.jpg")}, {}, ends[1]);
  const Result result = process.Wait();
  ::close(ends[1]);
  EXPECT_EQ(result.exit, 0);
  EXPECT_EQ(result.signal, 0);
  EXPECT_EQ(result.err, "");
}

TEST(CliClassify, AFullDiskIsAnError) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  const Result result = Process({"classify", Sample("cat.jpg")}, {}, full).Wait();
  ::close(full);
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("standard output"), std::string::npos) << result.err;
}

TEST(CliEmbed, TheFileHoldsTheVectorsInInputOrder) {
  const testing::TemporaryFolder folder;
  const std::string file = folder.File("x.npy");
  const Result result =
      RunFovea({"embed", "--json", "--out", file, Sample("cat.jpg"), Sample("missing.jpg"), Sample("coffee.jpg")});
  EXPECT_EQ(result.exit, 1);
  const auto lines = result.Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(lines[1].contains("error"));
  const auto bytes = base::ReadFile(file, 1 << 20);
  const size_t dim = lines[0]["embedding"].size();
  ASSERT_EQ(bytes.size(), 128 + 3 * dim * sizeof(float));
  EXPECT_EQ(std::string(bytes.begin() + 1, bytes.begin() + 6), "NUMPY");
  const std::string header(bytes.begin() + 10, bytes.begin() + 128);
  EXPECT_NE(header.find("'shape': (3, " + std::to_string(dim) + ")"), std::string::npos) << header;
  std::vector<float> values(3 * dim);
  std::memcpy(values.data(), bytes.data() + 128, values.size() * sizeof(float));
  for (const size_t row : {0, 2}) {
    double norm = 0;
    for (size_t i = 0; i < dim; ++i) {
      norm += static_cast<double>(values[row * dim + i]) * values[row * dim + i];
      EXPECT_EQ(values[row * dim + i], lines[row]["embedding"][i].get<float>());
    }
    EXPECT_NEAR(norm, 1, 1e-5);
  }
  EXPECT_TRUE(std::isnan(values[dim]));
  EXPECT_FALSE(std::filesystem::exists(file + ".part"));
}

TEST(CliEmbed, RefusesTextWithoutATextTower) {
  for (const char* option : {"--text", "--text-file"}) {
    const Result result = RunFovea({"embed", option, "a cat"});
    EXPECT_EQ(result.exit, 1);
    EXPECT_NE(result.err.find("text tower"), std::string::npos) << result.err;
  }
}

TEST(CliEmbed, AnOutputThatCannotBeWrittenIsNamed) {
  const Result result = RunFovea({"embed", Sample("cat.jpg"), "--out", "/nonexistent/x.npy"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("/nonexistent/x.npy"), std::string::npos) << result.err;
}

TEST(CliModels, InfoModelsAndDoctorAgree) {
  const auto info = RunFovea({"info", "efficientnet-lite2", "--json"}).Lines();
  ASSERT_EQ(info.size(), 1u);
  EXPECT_EQ(info[0]["model_type"], "efficientnet");
  EXPECT_EQ(info[0]["classes"], 1000);
  EXPECT_EQ(info[0]["parameters"], 6092072);  // torch: sum(p.numel() for p in model.parameters())
  const auto models = RunFovea({"models", "--json"}).Lines();
  const auto is_bundled = [](const nlohmann::json& model) { return model["name"] == "efficientnet-lite2"; };
  EXPECT_TRUE(std::any_of(models.begin(), models.end(), is_bundled));
  const Result doctor = RunFovea({"doctor", "--json"});
  const auto facts = doctor.Lines();
  ASSERT_EQ(facts.size(), 1u);
  EXPECT_EQ(doctor.exit, facts[0]["problems"].empty() ? 0 : 1);
  EXPECT_GE(facts[0]["cores"].get<int>(), 1);
  for (const auto& library : facts[0]["libraries"])
    EXPECT_EQ(library["found"].get<bool>(), library["version"] != "") << library;
  EXPECT_NE(std::find(facts[0]["models"].begin(), facts[0]["models"].end(), "efficientnet-lite2"),
            facts[0]["models"].end());
}

TEST(CliModels, AConvertedModelAnswersAlmostTheSame) {
  const testing::TemporaryFolder folder;
  const std::string copy = folder.File("lite2");
  const Result convert = RunFovea({"convert", "efficientnet-lite2", copy, "--type", "f32", "--json"});
  ASSERT_EQ(convert.exit, 0) << convert.err;
  EXPECT_GT(convert.Lines().at(0)["size_bytes"].get<int64_t>(), 4 * 6000000);
  const auto before = RunFovea({"classify", "--json", Sample("cat.jpg")}).Lines();
  const auto after = RunFovea({"classify", "--json", Sample("cat.jpg"), "--model", copy}).Lines();
  ASSERT_EQ(after.size(), 1u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(after[0]["labels"][i]["index"], before[0]["labels"][i]["index"]);
    // The bundled weights are f16, so f32 holds the same values.
    EXPECT_NEAR(after[0]["labels"][i]["score"].get<double>(), before[0]["labels"][i]["score"].get<double>(), 1e-4);
  }
}

}  // namespace
}  // namespace fovea::e2e
