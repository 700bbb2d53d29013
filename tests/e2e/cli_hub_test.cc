// `fovea pull`, `models`, `rm`, and --model OWNER/NAME, against a hub on this machine that holds the bundled model.
#include <filesystem>

#include "cli_run.h"
#include "hub/hub_testing.h"

namespace fovea::e2e {
namespace {

namespace fs = std::filesystem;

class CliHub : public ::testing::Test {
 protected:
  CliHub() : hub_("owner/lite2") {
    for (const char* name : {"config.json", "preprocessor_config.json", "README.md"})
      hub_.files[name] = {base::ReadTextFile(testing::SourcePath(std::string("models/efficientnet-lite2/") + name))};
    hub_.files["model.safetensors"] = {
        base::ReadTextFile(testing::SourcePath("models/efficientnet-lite2/model.safetensors")), true};
    hub_.files["pytorch_model.bin"] = {"a pickle", true};
  }
  Result Run(const std::vector<std::string>& arguments, const std::vector<std::string>& more = {}) const {
    return RunFovea(arguments, Environment(more));
  }
  std::vector<std::string> Environment(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> environment = {"HF_ENDPOINT=" + hub_.Endpoint(),
                                            "XDG_DATA_HOME=" + home_.path(),
                                            "HF_HOME=" + home_.File("hf"),
                                            "HF_TOKEN=hf_topsecret",
                                            "HF_HUB_OFFLINE=0",
                                            "FOVEA_OFFLINE=0",
                                            "no_proxy=*"};
    environment.insert(environment.end(), more.begin(), more.end());
    return environment;
  }
  std::string Folder() const { return home_.File("fovea/models/owner/lite2"); }

  hub::TestHub hub_;
  testing::TemporaryFolder home_;
};

TEST_F(CliHub, PulledModelClassifiesIsListedAndRemoved) {
  const Result pull = Run({"pull", "owner/lite2", "--json"});
  ASSERT_EQ(pull.exit, 0) << pull.err;
  const nlohmann::json report = pull.Lines().at(0);
  EXPECT_EQ(report["repo"], "owner/lite2");
  EXPECT_EQ(report["path"], Folder());
  EXPECT_EQ(report["licence"], "apache-2.0");
  EXPECT_EQ(report["revision"], hub_.commit);
  EXPECT_EQ(report["files"], 4);
  EXPECT_EQ(report["fetched_bytes"], report["size_bytes"]);
  EXPECT_TRUE(hub_.RequestsFor("pytorch_model.bin").empty());
  EXPECT_EQ((pull.out + pull.err).find("topsecret"), std::string::npos);

  const size_t requests = hub_.Requests().size();
  const Result ours = Run({"classify", "--json", "--model", "owner/lite2", Sample("cat.jpg")});
  const Result bundled = Run({"classify", "--json", Sample("cat.jpg")});
  ASSERT_EQ(ours.exit, 0) << ours.err;
  EXPECT_EQ(ours.Lines()[0]["labels"], bundled.Lines()[0]["labels"]);
  EXPECT_EQ(ours.Lines()[0]["labels"][0]["label"].get<std::string>().find("error"), std::string::npos);
  EXPECT_EQ(Run({"info", "owner/lite2", "--json"}).Lines()[0]["path"], Folder());

  nlohmann::json listed;
  for (const auto& line : Run({"models", "--json"}).Lines()) {
    if (line["name"] == "owner/lite2") listed = line;
  }
  EXPECT_EQ(listed["licence"], "apache-2.0");
  EXPECT_EQ(listed["revision"], hub_.commit);
  EXPECT_GE(listed["size_bytes"], report["size_bytes"]);

  const Result offline = Run({"pull", "owner/lite2", "--offline"});
  EXPECT_EQ(offline.exit, 0) << offline.err;
  EXPECT_NE(offline.out.find("apache-2.0"), std::string::npos);
  const Result removed = Run({"rm", "owner/lite2", "--json"});
  EXPECT_EQ(removed.exit, 0) << removed.err;
  EXPECT_EQ(removed.Lines()[0]["path"], Folder());
  EXPECT_EQ(removed.Lines()[0]["files"], 5);
  EXPECT_FALSE(fs::exists(home_.File("fovea/models/owner")));
  EXPECT_EQ(Run({"rm", "owner/lite2"}).exit, 1);
  EXPECT_EQ(hub_.Requests().size(), requests);  // none of these made a connection
}

TEST_F(CliHub, BundledModelsAreNotRemoved) {
  const Result result = Run({"rm", "efficientnet-lite2"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("OWNER/NAME"), std::string::npos) << result.err;
  EXPECT_TRUE(fs::exists(testing::SourcePath("models/efficientnet-lite2/config.json")));
}

TEST_F(CliHub, AnUnknownNameSaysHowToGetIt) {
  const Result result = Run({"classify", "--model", "owner/lite2", Sample("cat.jpg")});
  EXPECT_EQ(result.exit, 1);
  EXPECT_NE(result.err.find("run `fovea pull owner/lite2`"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("into the folder " + Folder() + ": config.json"), std::string::npos) << result.err;
  EXPECT_TRUE(hub_.Requests().empty());
}

TEST_F(CliHub, FilesPutByHandAreFound) {
  fs::create_directories(fs::path(Folder()).parent_path());
  fs::copy(testing::SourcePath("models/efficientnet-lite2"), Folder());
  EXPECT_EQ(Run({"classify", "--model", "owner/lite2", Sample("cat.jpg")}).exit, 0);
  EXPECT_EQ(Run({"pull", "--offline", "owner/lite2"}).exit, 0);
  EXPECT_TRUE(hub_.Requests().empty());
}

TEST_F(CliHub, TheCacheOfOtherProgramsIsRead) {
  const std::string commit(40, 'd'), cached = home_.File("hf/hub/models--owner--lite2");
  fs::create_directories(cached + "/refs");
  fs::create_directories(cached + "/snapshots");
  WriteBytes(cached + "/refs/main", commit);
  fs::copy(testing::SourcePath("models/efficientnet-lite2"), cached + "/snapshots/" + commit);
  EXPECT_EQ(Run({"info", "owner/lite2", "--json"}).Lines()[0]["path"], cached + "/snapshots/" + commit);
  const Result removed = Run({"rm", "owner/lite2"});
  EXPECT_EQ(removed.exit, 1);
  EXPECT_NE(removed.err.find("belongs to other programs"), std::string::npos) << removed.err;
}

TEST_F(CliHub, OfflineMakesNoConnection) {
  for (const auto& [flag, variable] : std::vector<std::pair<std::string, std::string>>{
           {"--offline", "A=1"}, {"--quiet", "FOVEA_OFFLINE=1"}, {"--quiet", "HF_HUB_OFFLINE=1"}}) {
    const Result result = Run({"pull", "owner/lite2", flag}, {variable});
    EXPECT_EQ(result.exit, 1);
    EXPECT_NE(result.err.find("by hand into the folder " + Folder()), std::string::npos) << result.err;
  }
  EXPECT_TRUE(hub_.Requests().empty());
}

TEST_F(CliHub, CtrlCKeepsWhatHasComeAndTheNextPullGoesOn) {
  hub_.faults["model.safetensors"] = {.stalls = 1, .break_after = 2'000'000};
  Process process({"pull", "owner/lite2"}, Environment());
  const std::string partial = home_.File("fovea/models/owner/.lite2.partial/model.safetensors.partial");
  std::error_code ignored;
  for (int i = 0; i < 10000 && !(fs::exists(partial) && fs::file_size(partial, ignored) == 2'000'000); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  process.Signal(SIGINT);
  const Result result = process.Wait();
  EXPECT_EQ(result.exit, 130) << result.err;
  EXPECT_FALSE(fs::exists(Folder()));
  EXPECT_EQ(Run({"classify", "--model", "owner/lite2", Sample("cat.jpg")}).exit, 1);
  const Result again = Run({"pull", "owner/lite2", "--json"});
  ASSERT_EQ(again.exit, 0) << again.err;
  EXPECT_EQ(again.Lines()[0]["fetched_bytes"],
            static_cast<int64_t>(hub_.files["model.safetensors"].content.size()) - 2'000'000);
  EXPECT_EQ(hub_.RequestsFor("/blob/").back().Header("range"), "bytes=2000000-");
}

TEST_F(CliHub, ProxyOfTheEnvironment) {
  const Result result =
      Run({"pull", "owner/lite2"}, {"HF_ENDPOINT=http://hub.test", "http_proxy=" + hub_.Proxy(), "no_proxy=localhost"});
  EXPECT_EQ(result.exit, 0) << result.err;
  for (const auto& request : hub_.Requests()) EXPECT_EQ(request.at, "proxy") << request.target;
}

TEST_F(CliHub, TwoProgramsAtOnceFetchOnce) {
  hub_.pause_us = 500;
  Process first({"pull", "owner/lite2", "--quiet"}, Environment()),
      second({"pull", "owner/lite2", "--quiet"}, Environment());
  EXPECT_EQ(first.Wait().exit, 0);
  EXPECT_EQ(second.Wait().exit, 0);
  EXPECT_EQ(hub_.RequestsFor("/blob/").size(), 1u);
  EXPECT_EQ(base::ReadTextFile(Folder() + "/model.safetensors"), hub_.files["model.safetensors"].content);
}

TEST_F(CliHub, WrongNamesAreToldApart) {
  EXPECT_EQ(Run({"pull"}).exit, 2);
  EXPECT_EQ(Run({"pull", "a/b", "--max-bytes", "0"}).exit, 2);
  for (const char* name : {"lite2", "../lite2", "a/b/c", "https://h/a/b"}) {
    const Result result = Run({"pull", name});
    EXPECT_EQ(result.exit, 1);
    EXPECT_NE(result.err.find("OWNER/NAME"), std::string::npos) << result.err;
  }
  EXPECT_EQ(Run({"pull", "owner/none"}).exit, 1);
}

}  // namespace
}  // namespace fovea::e2e
