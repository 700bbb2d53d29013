// A training run that is killed again and again ends with the same bits as one that is left alone.
#include <filesystem>

#include "cli_run.h"
#include "train/training_testing.h"

namespace fovea::e2e {
namespace {

// metrics.jsonl without what depends on the clock.
std::vector<nlohmann::json> Metrics(const std::string& run) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(run + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    nlohmann::json object = nlohmann::json::parse(line);
    object.erase("samples_per_second");
    object.erase("wait_share");
    lines.push_back(object);
  }
  return lines;
}

TEST(CliTrain, KilledRunsContinueBitExactly) {
  const testing::TemporaryFolder folder;
  train::WriteTinyModel(folder.File("base"));
  train::WriteColourPictures(folder.File("pictures"), 12);
  WriteBytes(folder.File("recipe.json"),
             R"({"output": "whole", "model": "base", "seed": 7, "steps": 150, "batch_size": 8, "log_every": 10,
                 "data": {"train": ["pictures"], "validation_share": 0.2, "shuffle_buffer": 9,
                          "augment": {"operations": 2, "saturation": 0.3}},
                 "optimizer": {"learning_rate": 0.003}, "ema_decay": 0.95, "clip_norm": 1.0,
                 "validate_every": 20, "checkpoint_every": 7, "keep_best": 2})");
  const std::vector<std::string> command = {"train", folder.File("recipe.json"), "--threads", "2"};
  const Result whole = RunFovea(command);
  ASSERT_EQ(whole.exit, 0) << whole.err;

  std::vector<std::string> resumed = command;
  resumed.insert(resumed.end(), {"--set", "output=killed", "--resume"});
  int kills = 0;
  const auto checkpoint = folder.File("killed/checkpoint.safetensors");
  std::filesystem::file_time_type last{};
  for (int round = 0; round < 6; ++round) {
    Process process(resumed);
    // Kill it once it has written a checkpoint of its own, after a time that differs from round to round.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    std::error_code error;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto written = std::filesystem::last_write_time(checkpoint, error);
      if (!error && written != last) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5 * round));
    process.Signal(SIGKILL);
    if (process.Wait().signal == SIGKILL) ++kills;
    last = std::filesystem::last_write_time(checkpoint, error);
  }
  EXPECT_GT(kills, 2) << "the run ended before it was killed";
  const Result rest = RunFovea(resumed);
  ASSERT_EQ(rest.exit, 0) << rest.err;
  for (const char* file : {"model.safetensors", "config.json"}) {
    EXPECT_EQ(base::ReadTextFile(folder.File("whole/") + file), base::ReadTextFile(folder.File("killed/") + file))
        << file;
  }
  EXPECT_EQ(Metrics(folder.File("whole")), Metrics(folder.File("killed")));
}

TEST(CliTrain, PrintsJsonLinesAndAModelThatClassifies) {
  const testing::TemporaryFolder folder;
  train::WriteTinyModel(folder.File("base"));
  train::WriteColourPictures(folder.File("pictures"), 8);
  WriteBytes(folder.File("recipe.json"), R"({"output": "run", "model": "base", "steps": 4, "batch_size": 4,
                                             "log_every": 2, "data": {"train": ["pictures"]}})");
  const Result result = RunFovea({"train", folder.File("recipe.json"), "--json", "--quiet", "--set", "seed=2"});
  ASSERT_EQ(result.exit, 0) << result.err;
  const auto lines = result.Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["step"], 2);
  EXPECT_EQ(lines[1]["step"], 4);
  EXPECT_EQ(lines[2]["done"], true);
  const Result labels =
      RunFovea({"classify", folder.File("pictures/red/1.png"), "--model", folder.File("run"), "--json"});
  EXPECT_EQ(labels.exit, 0) << labels.err;
  const Result bad = RunFovea({"train", folder.File("recipe.json"), "--set", "output=other", "--set", "stepz=3"});
  EXPECT_EQ(bad.exit, 1);
  EXPECT_NE(bad.err.find("did you mean \"steps\""), std::string::npos) << bad.err;
}

// A model of two towers learns classes by their names: it classifies with them afterwards, and still compares pictures
// with any words.
TEST(CliTrain, TellsClassesByTheirNames) {
  const testing::TemporaryFolder folder;
  train::WriteColourPictures(folder.File("pictures"), 12);
  // Words that the tokenizer knows.
  for (const auto& [colour, word] : {std::pair{"blue", "dog"}, {"green", "temple"}, {"red", "cup"}})
    std::filesystem::rename(folder.File("pictures/") + colour, folder.File("pictures/") + word);
  const std::string recipe = folder.File("recipe.json");
  WriteBytes(recipe, R"({"output": "run", "seed": 3, "steps": 60, "batch_size": 12, "model": ")" +
                         testing::SourcePath("tests/golden/clip_tiny") +
                         R"(", "data": {"train": ["pictures"], "validation_share": 0.2, "augment": false,
                                        "label_templates": ["a photo of a {}", "{}"]},
                         "optimizer": {"learning_rate": 0.003}})");
  const Result trained = RunFovea({"train", recipe, "--json", "--quiet"});
  ASSERT_EQ(trained.exit, 0) << trained.err;
  const std::string picture = folder.File("pictures/temple/3.png"), model = folder.File("run");
  const Result own = RunFovea({"classify", picture, "--model", model, "--json"});
  ASSERT_EQ(own.exit, 0) << own.err;
  const auto labels = own.Lines().at(0)["labels"];
  EXPECT_EQ(labels.size(), 3u);
  EXPECT_EQ(labels[0]["label"], "temple");
  // The same as when the names are given in the same sentences.
  const Result given = RunFovea({"classify", picture, "--model", model, "--json", "--labels", "cup,dog,temple",
                                 "--template", "a photo of a {}", "--template", "{}"});
  ASSERT_EQ(given.exit, 0) << given.err;
  EXPECT_EQ(given.Lines().at(0)["labels"], labels);
  EXPECT_EQ(RunFovea({"embed", "--text", "a dog", "--model", model, "--json"}).exit, 0);

  train::WriteTinyModel(folder.File("base"));
  const Result refused = RunFovea({"train", recipe, "--set", "output=other", "--set", "model=" + folder.File("base")});
  EXPECT_NE(refused.exit, 0);
  EXPECT_NE(refused.err.find("label_templates"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace fovea::e2e
