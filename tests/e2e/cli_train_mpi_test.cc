// Several processes that mpirun starts on one machine train as one process does: the same weights after steps of plain
// gradient descent, whatever takes part (batch norms, gathered features, adapters, parts of a batch); and a run that is
// stopped goes on.
#include <cmath>
#include <filesystem>

#include "cli_run.h"
#include "formats/safetensors.h"
#include "train/training_testing.h"

namespace fovea::e2e {
namespace {

class Mpi : public ::testing::Test {
 protected:
  Mpi() : launcher_(testing::MpiLauncher()) {
    if (launcher_.empty()) return;
    train::WriteTinyModel(folder_.File("base"));
    train::WriteColourPictures(folder_.File("pictures"), 8);
    train::WriteColourCaptions(folder_.File("pictures"));
    WriteBytes(folder_.File("classify.json"), Recipe("base", "classify"));
    WriteBytes(folder_.File("pairs.json"), Recipe(testing::SourcePath("tests/golden/clip_tiny"), "contrastive"));
  }
  static std::string Recipe(const std::string& model, const std::string& task) {
    const nlohmann::json recipe = {{"output", "run"},
                                   {"model", model},
                                   {"task", task},
                                   {"seed", 5},
                                   {"steps", 2},
                                   {"batch_size", 8},
                                   {"log_every", 1},
                                   {"data", {{"train", {"pictures"}}, {"threads", 1}, {"augment", {{"flip", 0.5}}}}},
                                   {"optimizer", {{"type", "sgd"}, {"learning_rate", 0.05}, {"momentum", 0.9}}}};
    return recipe.dump();
  }
  std::vector<std::string> Command(const std::string& recipe, const std::string& output, int processes,
                                   const std::vector<std::string>& settings, bool resume) const {
    std::vector<std::string> command;
    if (processes > 0) {
      command = {launcher_, "-n", std::to_string(processes), "--oversubscribe"};
      if (::geteuid() == 0) command.emplace_back("--allow-run-as-root");
    }
    command.insert(command.end(), {testing::FoveaBinary(), "train", folder_.File(recipe), "--threads", "1", "--set",
                                   "output=" + output});
    for (const std::string& setting : settings) command.insert(command.end(), {"--set", setting});
    if (resume) command.emplace_back("--resume");
    return command;
  }
  // 0 processes: without a launcher.
  Result Train(const std::string& recipe, const std::string& output, int processes,
               const std::vector<std::string>& settings = {}, bool resume = false) const {
    return RunProgram(Command(recipe, output, processes, settings, resume));
  }
  std::map<std::string, Tensor> Weights(const std::string& run) const {
    std::map<std::string, Tensor> weights;
    for (const auto& tensor : formats::SafetensorsFile::Open(folder_.File(run) + "/model.safetensors").GetAll())
      weights[tensor.name] = tensor.tensor;
    return weights;
  }
  // The runs differ by rounding at most, measured by how far one run moved each tensor.
  void ExpectSameSteps(const std::string& one, const std::string& many) const {
    const auto a = Weights(one), b = Weights(many);
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, value] : a) {
      if (value.dtype() != DType::kF32) continue;
      float largest = 0;
      for (const float x : value.values<float>()) largest = std::max(largest, std::fabs(x));
      testing::ExpectClose(b.at(name), value, 2e-4f * (0.05f + largest), many + " " + name);
    }
  }
  static std::vector<double> Losses(const std::string& run) {
    std::vector<double> losses;
    std::ifstream file(run + "/metrics.jsonl");
    for (std::string line; std::getline(file, line);) losses.push_back(nlohmann::json::parse(line).at("loss"));
    return losses;
  }

  std::string launcher_;
  testing::TemporaryFolder folder_;
};

TEST_F(Mpi, ProcessesAddUpToOne) {
  if (launcher_.empty()) GTEST_SKIP() << "this build has no MPI (libopenmpi-dev openmpi-bin)";
  struct Case {
    std::string name, recipe;
    std::vector<std::string> settings;
  };
  const std::vector<Case> cases = {
      {"norms", "classify.json", {"clip_norm=1.0"}},
      {"pairs", "pairs.json", {}},
      {"sigmoid_parts", "pairs.json", {"loss.type=sigmoid", "micro_batch_size=1", "gradient_checkpointing=true"}},
      {"adapters", "pairs.json", {R"(lora={"rank": 2, "alpha": 4})"}}};
  for (const Case& c : cases) {
    std::vector<std::string> settings = c.settings;
    if (c.name == "norms") {  // masks are drawn for each process, so there must be none
      std::string config = base::ReadTextFile(folder_.File("base/config.json"));
      const size_t at = config.find("\"dropout_rate\": 0.2");
      if (at != std::string::npos) config.replace(at, 19, "\"dropout_rate\": 0.0");
      base::WriteTextFileAtomically(folder_.File("base/config.json"), config);
    }
    const Result one = Train(c.recipe, c.name + "-1", 0, settings);
    ASSERT_EQ(one.exit, 0) << one.err;
    for (const int processes : {2, 4}) {
      if (processes == 4 && c.name == "adapters") continue;  // processes that wait for each other cost time
      const std::string output = c.name + "-" + std::to_string(processes);
      const Result many = Train(c.recipe, output, processes, settings);
      ASSERT_EQ(many.exit, 0) << many.out << many.err;
      ExpectSameSteps(c.name + "-1", output);
      const auto expected = Losses(folder_.File(c.name + "-1")), losses = Losses(folder_.File(output));
      ASSERT_EQ(losses.size(), expected.size()) << "one process writes the log";
      for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i], expected[i], 1e-4) << output << " " << i;
    }
  }
}

TEST_F(Mpi, GoesOnFromACheckpointWithAsManyProcesses) {
  if (launcher_.empty()) GTEST_SKIP() << "this build has no MPI (libopenmpi-dev openmpi-bin)";
  const std::vector<std::string> settings = {"steps=24", "checkpoint_every=3"};
  const Result whole = Train("pairs.json", "whole", 2, settings);
  ASSERT_EQ(whole.exit, 0) << whole.err;
  {
    const auto command = Command("pairs.json", "stopped", 2, settings, false);
    Process process({command.begin() + 1, command.end()}, {}, -1, command[0]);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!std::filesystem::exists(folder_.File("stopped/checkpoint.safetensors")) &&
           std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    process.Signal(SIGTERM);
    EXPECT_NE(process.Wait().exit, 0) << "the run ended before it was stopped";
  }
  const Result rest = Train("pairs.json", "stopped", 2, settings, true);
  ASSERT_EQ(rest.exit, 0) << rest.err;
  EXPECT_EQ(base::ReadTextFile(folder_.File("whole/model.safetensors")),
            base::ReadTextFile(folder_.File("stopped/model.safetensors")));
  const Result other = Train("pairs.json", "whole", 4, settings, true);
  EXPECT_NE(other.exit, 0);
  EXPECT_NE(other.err.find("made by 2 processes, now there are 4"), std::string::npos) << other.err;
  const Result uneven = Train("pairs.json", "uneven", 2, {"batch_size=7"});
  EXPECT_NE(uneven.exit, 0);
  EXPECT_NE(uneven.err.find("share evenly"), std::string::npos) << uneven.err;
}

TEST_F(Mpi, WithoutTheModuleItSaysSo) {
  if (launcher_.empty()) train::WriteTinyModel(folder_.File("base"));
  WriteBytes(folder_.File("alone.json"), Recipe("base", "classify"));
  const std::string elsewhere = folder_.File("elsewhere");
  std::filesystem::create_directories(elsewhere);
  std::filesystem::copy_file(testing::FoveaBinary(), elsewhere + "/fovea");
  const Result result = RunProgram({elsewhere + "/fovea", "train", folder_.File("alone.json")},
                                   {"OMPI_COMM_WORLD_SIZE=3", "FOVEA_MODULES="});
  EXPECT_NE(result.exit, 0);
  EXPECT_NE(result.err.find("3 processes"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("no MPI"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace fovea::e2e
