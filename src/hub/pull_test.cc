// Pull against a hub of our own that breaks connections, lies, stalls and refuses (hub_testing.h). What is asked of it
// is counted, what comes to the disk is compared byte by byte with what the hub holds.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "fovea/hub.h"
#include "hub/cache.h"
#include "hub/hub_testing.h"
#include "testing/testing.h"

namespace fovea::hub {
namespace {

namespace fs = std::filesystem;

std::string Noise(size_t size, uint32_t seed) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>((seed = seed * 1664525u + 1013904223u) >> 24);
  return text;
}

class HubPull : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("no_proxy", "*", 1);
    for (const char* name : {"FOVEA_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) ::unsetenv(name);
    hub_.files = {{"config.json", {"{\"model_type\":\"vit\"}"}},
                  {"README.md", {"---\nlicense: mit\n---\n"}},
                  {"model.safetensors", {Noise(3'000'000, 1), true}},
                  {"pytorch_model.bin", {Noise(1000, 2), true}}};
  }
  void TearDown() override { ::unsetenv("no_proxy"); }

  PullOptions Options() const {
    return {.endpoint = hub_.Endpoint(), .token = "", .cache_dir = cache_.path(), .retry_delay_ms = 1};
  }
  PullReport PullIt(const PullOptions& options) { return Pull("owner/model", options); }
  PullReport PullIt() { return PullIt(Options()); }

  std::string Folder() const { return cache_.File("owner/model"); }
  std::string Partial() const { return cache_.File("owner/.model.partial"); }
  void ExpectFiles(const std::vector<std::string>& names) {
    std::vector<std::string> found, expected = names;
    for (const auto& entry : fs::recursive_directory_iterator(Folder())) {
      const std::string name = entry.path().lexically_relative(Folder()).string();
      if (!entry.is_regular_file() || name == kRecordFile) continue;
      found.push_back(name);
      EXPECT_EQ(base::ReadTextFile(entry.path()), hub_.files[name].content) << name << " differs";
    }
    std::sort(found.begin(), found.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(found, expected);
    EXPECT_FALSE(fs::exists(Partial()));
    EXPECT_FALSE(fs::exists(cache_.File("owner/.model.lock")));
  }
  void ExpectWhole() { ExpectFiles({"README.md", "config.json", "model.safetensors"}); }

  std::string MessageOf(const PullOptions& options, ErrorCode code) {
    try {
      PullIt(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.message();
      EXPECT_FALSE(fs::exists(Folder())) << "a model that did not come whole is visible";
      return error.message();
    }
    ADD_FAILURE() << "nothing was thrown";
    return "";
  }

  testing::TemporaryFolder cache_;
  TestHub hub_;
};

void ExpectHas(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST_F(HubPull, FetchesWhatAModelNeedsAndRecordsWhereFrom) {
  const PullReport report = PullIt();
  ExpectWhole();
  EXPECT_EQ(report.folder, Folder());
  EXPECT_EQ(report.licence, "apache-2.0");
  EXPECT_EQ(report.revision, hub_.commit);
  EXPECT_EQ(report.files.size(), 3u);
  EXPECT_EQ(report.fetched_bytes, report.size_bytes);
  EXPECT_TRUE(hub_.RequestsFor("pytorch_model.bin").empty());
  const nlohmann::json record = nlohmann::json::parse(base::ReadTextFile(Folder() + "/fovea-pull.json"));
  EXPECT_EQ(record["repo"], "owner/model");
  EXPECT_EQ(record["commit"], hub_.commit);
  EXPECT_EQ(record["licence"], "apache-2.0");
  EXPECT_EQ(record["time"].get<std::string>().size(), 20u);
  ASSERT_EQ(record["files"].size(), 3u);
  for (const auto& file : record["files"]) {
    EXPECT_EQ(file["sha256"], Digest(Digest::Kind::kSha256).Add(hub_.files[file["name"]].content).Hex());
    EXPECT_EQ(file["size_bytes"], hub_.files[file["name"]].content.size());
    EXPECT_NE(file["etag"], "");
  }
}

TEST_F(HubPull, ASecondPullFetchesNothingAndMendsWhatIsDamaged) {
  PullIt();
  const size_t before = hub_.Requests().size();
  EXPECT_EQ(PullIt().fetched_bytes, 0);
  EXPECT_EQ(hub_.Requests().size(), before + 1);  // the list
  std::string damaged = hub_.files["model.safetensors"].content;
  damaged[1000] ^= 1;
  base::WriteTextFileAtomically(Folder() + "/model.safetensors", damaged);
  EXPECT_EQ(PullIt().fetched_bytes, 3'000'000);
  ExpectWhole();
}

TEST_F(HubPull, ABrokenConnectionAsksOnlyForTheRest) {
  hub_.faults["model.safetensors"] = {.breaks = 3, .break_after = 700'000};
  const PullReport report = PullIt();
  ExpectWhole();
  const auto requests = hub_.RequestsFor("/blob/model.safetensors");
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(requests[0].Header("range"), "");
  EXPECT_EQ(requests[1].Header("range"), "bytes=700000-");
  EXPECT_EQ(requests[2].Header("range"), "bytes=1400000-");
  EXPECT_EQ(requests[3].Header("range"), "bytes=2100000-");
  EXPECT_EQ(requests[1].Header("if-range").substr(0, 5), "\"cdn-");
  EXPECT_EQ(report.fetched_bytes, report.size_bytes);
}

TEST_F(HubPull, AnInterruptedPullGoesOnWhereItStopped) {
  hub_.faults["model.safetensors"] = {.stalls = 100, .break_after = 1'200'000};
  std::atomic<bool> cancel{false};
  PullOptions options = Options();
  options.cancel = &cancel;
  options.on_progress = [&](const PullProgress& progress) {
    cancel = progress.files_done == 2 && progress.bytes_done > 1'200'000;
  };
  MessageOf(options, ErrorCode::kCancelled);
  EXPECT_EQ(fs::file_size(Partial() + "/model.safetensors.partial"), 1'200'000u);
  hub_.Change([&] { hub_.faults.clear(); });
  const size_t before = hub_.Requests().size();
  EXPECT_EQ(PullIt().fetched_bytes, 1'800'000);
  ExpectWhole();
  const auto requests = hub_.Requests();
  ASSERT_EQ(requests.size(), before + 3);  // list, hub, CDN: the small files have come before
  EXPECT_EQ(requests.back().Header("range"), "bytes=1200000-");
}

TEST_F(HubPull, AFileThatChangedMeanwhileStartsOver) {
  hub_.faults["model.safetensors"] = {.stalls = 1, .break_after = 1'200'000};
  std::atomic<bool> cancel{false};
  PullOptions options = Options();
  options.cancel = &cancel;
  options.on_progress = [&](const PullProgress& progress) { cancel = progress.bytes_done > 1'200'000; };
  MessageOf(options, ErrorCode::kCancelled);
  hub_.Change([&] {
    hub_.files["model.safetensors"].content = Noise(2'500'000, 9);
    hub_.commit = std::string(40, 'f');
  });
  PullIt();
  ExpectWhole();
  EXPECT_NE(hub_.RequestsFor("/blob/").back().Header("if-range"), "");
}

TEST_F(HubPull, AServerWithoutRangesOrEtags) {
  hub_.knows_ranges = hub_.states_etags = false;
  hub_.faults["model.safetensors"] = {.breaks = 2, .break_after = 700'000};
  PullIt();
  ExpectWhole();
}

TEST_F(HubPull, HashesComeFromTheAnswersWhenTheListHasNone) {
  hub_.states_hashes = false;
  PullIt();
  ExpectWhole();
  fs::remove_all(Folder());
  hub_.Change([&] { hub_.faults["model.safetensors"] = hub_.faults["config.json"] = {.corruptions = 2}; });
  MessageOf(Options(), ErrorCode::kCorruptData);
  hub_.Change([&] { hub_.states_etags = false; });
  ExpectHas(MessageOf(Options(), ErrorCode::kUnimplemented), "no hash");
}

TEST_F(HubPull, WrongBytesAreFetchedAnewOnceAndThenRefused) {
  for (const char* name : {"model.safetensors", "config.json"}) {
    hub_.Change([&] { hub_.faults = {{name, {.corruptions = 1}}}; });
    PullIt();
    ExpectWhole();
    fs::remove_all(Folder());
    hub_.Change([&] { hub_.faults = {{name, {.corruptions = 5}}}; });
    ExpectHas(MessageOf(Options(), ErrorCode::kCorruptData), name);
    EXPECT_EQ(hub_.faults[name].corruptions, 3);  // two tries
    EXPECT_FALSE(fs::exists(Partial() + "/" + name));
    EXPECT_FALSE(fs::exists(Partial() + "/" + name + ".partial"));
    fs::remove_all(Partial());
  }
}

TEST_F(HubPull, LengthsThatCannotBe) {
  hub_.faults["model.safetensors"].announced_length = "999999999999999";
  ExpectHas(MessageOf(Options(), ErrorCode::kCorruptData), "announces 999999999999999");
  EXPECT_LT(fs::exists(Partial() + "/model.safetensors.partial")
                ? fs::file_size(Partial() + "/model.safetensors.partial")
                : 0,
            1000u);
  hub_.Change([&] { hub_.faults.clear(); });
  PullOptions options = Options();
  options.max_bytes = 2'000'000;
  ExpectHas(MessageOf(options, ErrorCode::kResourceExhausted), "2000000");
  hub_.Change([&] { hub_.states_hashes = false; });  // no sizes in the list either
  MessageOf(options, ErrorCode::kResourceExhausted);
  // A list that promises more than any disk has is refused before anything is fetched.
  hub_.Change([&] {
    hub_.api_answer = "{\"siblings\":[{\"rfilename\":\"model.safetensors\",\"lfs\":{\"sha256\":\"" +
                      std::string(64, '0') + "\",\"size\":4000000000000000000}}]}";
  });
  const size_t before = hub_.Requests().size();
  options.max_bytes = INT64_MAX;
  ExpectHas(MessageOf(options, ErrorCode::kResourceExhausted), "free");
  EXPECT_EQ(hub_.Requests().size(), before + 1);
}

TEST_F(HubPull, BusyServersAreAskedAgain) {
  hub_.faults["api"].statuses = {"503", "429\r\nRetry-After: 0"};
  hub_.faults["model.safetensors"].statuses = {"500", "502", "429\r\nRetry-After: 0",
                                               "403"};  // 403: a signature ran out
  hub_.faults["config.json"].statuses = {"504"};
  std::vector<std::string> notes;
  PullOptions options = Options();
  options.on_note = [&](const std::string& note) { notes.push_back(note); };
  PullIt(options);
  ExpectWhole();
  EXPECT_EQ(notes.size(), 7u);
  EXPECT_EQ(hub_.RequestsFor("/resolve/" + hub_.commit + "/model.safetensors").size(), 5u);
}

TEST_F(HubPull, RetryAfterIsWaitedForAndGivenUpWhenItIsLong) {
  hub_.faults["config.json"].statuses = {"429\r\nRetry-After: 1"};
  const auto begin = std::chrono::steady_clock::now();
  PullIt();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(990));
  fs::remove_all(Folder());
  hub_.Change([&] { hub_.faults["config.json"].statuses = {"429\r\nRetry-After: 86400"}; });
  ExpectHas(MessageOf(Options(), ErrorCode::kIo), "86400 s");
}

TEST_F(HubPull, AServerThatOnlyFailsIsGivenUpWithTheFilesToPutByHand) {
  hub_.faults["model.safetensors"].statuses = std::vector<std::string>(50, "500");
  const std::string message = MessageOf(Options(), ErrorCode::kIo);
  ExpectHas(message, "answers 500");
  ExpectHas(message, hub_.Endpoint() + "/owner/model/tree/main by hand into the folder " + Folder() +
                         ": README.md, config.json, model.safetensors");
  EXPECT_EQ(message.find("s3cret"), std::string::npos);
}

TEST_F(HubPull, AStalledStreamIsBrokenOffAndResumed) {
  hub_.faults["model.safetensors"] = {.stalls = 1, .break_after = 1'000'000};
  PullOptions options = Options();
  options.stall_timeout_s = 1;
  PullIt(options);
  ExpectWhole();
  EXPECT_EQ(hub_.RequestsFor("/blob/").back().Header("range"), "bytes=1000000-");
}

TEST_F(HubPull, TheTokenGoesToTheHubAlone) {
  hub_.wanted_token = "hf_topsecret";
  PullOptions options = Options();
  options.token = "hf_topsecret";
  PullIt(options);
  ExpectWhole();
  for (const TestHub::Request& request : hub_.Requests())
    EXPECT_EQ(request.Header("authorization"), request.at == "hub" ? "Bearer hf_topsecret" : "") << request.target;
  EXPECT_EQ(hub_.RequestsFor("/blob/").size(), 1u);
}

TEST_F(HubPull, TokensFromTheEnvironment) {
  hub_.wanted_token = "hf_topsecret";
  PullOptions options = Options();
  options.token.reset();
  const testing::TemporaryFolder home;
  base::WriteTextFileAtomically(home.File("token"), "hf_topsecret\n");
  for (const auto& [name, value] : std::map<std::string, std::string>{{"HF_TOKEN", "hf_topsecret"},
                                                                      {"HUGGING_FACE_HUB_TOKEN", " hf_topsecret\n"},
                                                                      {"HF_HOME", home.path()},
                                                                      {"HF_TOKEN_PATH", home.File("token")}}) {
    ::setenv(name.c_str(), value.c_str(), 1);
    PullIt(options);
    ::unsetenv(name.c_str());
    ExpectWhole();
    fs::remove_all(Folder());
  }
  options.token = "two\nlines";
  const std::string message = MessageOf(options, ErrorCode::kInvalidArgument);
  EXPECT_EQ(message.find("lines"), std::string::npos) << message;
}

TEST_F(HubPull, RefusalsSayWhatToDo) {
  hub_.wanted_token = "hf_right";
  std::string message = MessageOf(Options(), ErrorCode::kIo);
  ExpectHas(message, "set HF_TOKEN");
  PullOptions options = Options();
  options.token = "hf_wrong";
  message = MessageOf(options, ErrorCode::kIo);
  ExpectHas(message, "not accepted");
  EXPECT_EQ(message.find("hf_wrong"), std::string::npos) << message;
  hub_.Change([&] { hub_.error_code = "GatedRepo"; });
  ExpectHas(MessageOf(Options(), ErrorCode::kIo), "accept its licence on " + hub_.Endpoint() + "/owner/model");
  try {
    hub_.Change([&] { hub_.wanted_token.clear(); });
    Pull("owner/other", Options());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    ExpectHas(error.message(), "owner/other");
  }
}

TEST_F(HubPull, ListsThatCannotBeTrusted) {
  hub_.api_answer = R"({"siblings":[{"rfilename":"config.json"},{"rfilename":"../../evil.safetensors"}]})";
  ExpectHas(MessageOf(Options(), ErrorCode::kCorruptData), "evil");
  hub_.Change([&] { hub_.api_answer = "<html>captive portal</html>"; });
  MessageOf(Options(), ErrorCode::kCorruptData);
  hub_.Change([&] { hub_.api_answer = std::string(20 << 20, ' '); });
  MessageOf(Options(), ErrorCode::kResourceExhausted);
  for (const auto& entry : fs::recursive_directory_iterator(cache_.path()))
    EXPECT_FALSE(entry.is_regular_file()) << entry.path();
}

TEST_F(HubPull, RedirectsAreLimited) {
  hub_.redirect_to = hub_.Endpoint() + "/owner/model/resolve/" + hub_.commit + "/model.safetensors";
  ExpectHas(MessageOf(Options(), ErrorCode::kIo), "redirects more than 5 times");
  for (const char* target : {"file:///etc/passwd", "ftp://127.0.0.1/x"}) {
    hub_.Change([&] { hub_.redirect_to = target; });
    ExpectHas(MessageOf(Options(), ErrorCode::kIo), "neither https nor http");
  }
}

TEST_F(HubPull, PicklesAreFetchedOnlyWhenAskedFor) {
  hub_.files.erase("model.safetensors");
  ExpectHas(MessageOf(Options(), ErrorCode::kInvalidArgument), "pickles only");
  PullOptions options = Options();
  options.allow_pickle = true;
  PullIt(options);
  ExpectFiles({"README.md", "config.json", "pytorch_model.bin"});
}

TEST_F(HubPull, OfflineMakesNoConnection) {
  PullOptions offline = Options();
  offline.offline = true;
  ExpectHas(MessageOf(offline, ErrorCode::kNotFound), "into the folder " + Folder() + ": config.json");
  for (const char* name : {"FOVEA_OFFLINE", "HF_HUB_OFFLINE"}) {
    ::setenv(name, "1", 1);
    MessageOf(Options(), ErrorCode::kNotFound);
    ::unsetenv(name);
  }
  EXPECT_TRUE(hub_.Requests().empty());
  // After a pull that came half way it knows which files are missing.
  hub_.faults["model.safetensors"].statuses = std::vector<std::string>(50, "500");
  MessageOf(Options(), ErrorCode::kIo);
  const size_t before = hub_.Requests().size();
  ExpectHas(MessageOf(offline, ErrorCode::kNotFound), "2 of 3 files have come (missing: model.safetensors)");
  hub_.Change([&] { hub_.faults.clear(); });
  EXPECT_EQ(hub_.Requests().size(), before);
  PullIt();
  const size_t after = hub_.Requests().size();
  const PullReport report = PullIt(offline);
  EXPECT_EQ(report.files.size(), 3u);
  EXPECT_EQ(report.licence, "apache-2.0");
  EXPECT_EQ(hub_.Requests().size(), after);
}

TEST_F(HubPull, WithoutANetworkTheErrorNamesFilesAndFolder) {
  PullOptions options = Options();
  options.endpoint = "http://127.0.0.1:1";
  const std::string message = MessageOf(options, ErrorCode::kIo);
  ExpectHas(message, "cannot reach http://127.0.0.1:1");
  ExpectHas(message, "put these files of http://127.0.0.1:1/owner/model/tree/main by hand into the folder " + Folder() +
                         ": config.json, preprocessor_config.json, model.safetensors");
}

TEST_F(HubPull, AnUpdateFetchesOnlyWhatChangedAndKeepsForeignFiles) {
  PullIt();
  base::WriteTextFileAtomically(Folder() + "/mine.txt", "by hand");
  hub_.Change([&] {
    hub_.commit = std::string(40, 'c');
    hub_.files["config.json"].content = "{\"model_type\":\"vit\",\"x\":1}";
    hub_.files["mine.txt"].content = "by hand";  // for ExpectFiles; the choice passes it by
    hub_.files.erase("README.md");
  });
  const PullReport report = PullIt();
  EXPECT_EQ(report.fetched_bytes, static_cast<int64_t>(hub_.files["config.json"].content.size()));
  EXPECT_EQ(report.revision, hub_.commit);
  ExpectFiles({"config.json", "model.safetensors", "mine.txt"});
}

TEST_F(HubPull, IncludeAddsFilesToAModelThatIsThere) {
  hub_.files["onnx/model.onnx"] = {Noise(500, 3), true};
  PullIt();
  PullOptions options = Options();
  options.include = {"onnx/*"};
  EXPECT_EQ(PullIt(options).files.size(), 4u);
  ExpectFiles({"README.md", "config.json", "model.safetensors", "onnx/model.onnx"});
  EXPECT_EQ(PullIt().fetched_bytes, 0);
}

TEST_F(HubPull, FourFilesAtOnceAndTheRevisionIsAskedFor) {
  hub_.files.erase("model.safetensors");
  hub_.files["model.safetensors.index.json"] = {"{}"};
  for (const char* shard : {"1", "2", "3", "4", "5", "6", "7", "8"})
    hub_.files[std::string("model-0000") + shard + "-of-00008.safetensors"] = {Noise(1'000'000, 5), true};
  hub_.pause_us = 3000;
  PullOptions options = Options();
  options.revision = "refs/pr/1";
  EXPECT_EQ(PullIt(options).files.size(), 11u);
  EXPECT_GE(hub_.most_at_once(), 2);
  EXPECT_LE(hub_.most_at_once(), 4);
  EXPECT_EQ(hub_.Requests().front().target, "/api/models/owner/model/revision/refs%2Fpr%2F1?blobs=true");
}

TEST_F(HubPull, TwoPullsAtOnceFetchOnce) {
  hub_.pause_us = 2000;
  std::thread other([&] { PullIt(); });
  PullIt();
  other.join();
  ExpectWhole();
  EXPECT_EQ(hub_.RequestsFor("/blob/model.safetensors").size(), 1u);
}

TEST_F(HubPull, ThroughAProxy) {
  ::unsetenv("no_proxy");
  ::setenv("http_proxy", hub_.Proxy().c_str(), 1);
  PullOptions options = Options();
  options.endpoint = "http://hub.test";  // a name that only the proxy knows
  PullIt(options);
  ::unsetenv("http_proxy");
  ExpectWhole();
  for (const TestHub::Request& request : hub_.Requests()) EXPECT_EQ(request.at, "proxy") << request.target;
  EXPECT_EQ(hub_.RequestsFor("http://cdn.test/blob/model.safetensors").size(), 1u);
}

TEST_F(HubPull, ATokenIsNotSentInTheClear) {
  ::unsetenv("no_proxy");
  ::setenv("http_proxy", hub_.Proxy().c_str(), 1);
  hub_.wanted_token = "hf_topsecret";
  PullOptions options = Options();
  options.endpoint = "http://hub.test";
  options.token = "hf_topsecret";
  ExpectHas(MessageOf(options, ErrorCode::kIo), "not https");
  ::unsetenv("http_proxy");
  for (const TestHub::Request& request : hub_.Requests()) EXPECT_EQ(request.Header("authorization"), "");
}

TEST_F(HubPull, ProgressReachesTheTotal) {
  std::vector<PullProgress> seen;
  PullOptions options = Options();
  options.on_progress = [&](const PullProgress& progress) { seen.push_back(progress); };
  const PullReport report = PullIt(options);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().bytes_done, report.size_bytes);
  EXPECT_EQ(seen.back().bytes_total, report.size_bytes);
  EXPECT_EQ(seen.back().files_done, 3);
  for (size_t i = 1; i < seen.size(); ++i) EXPECT_GE(seen[i].bytes_done, seen[i - 1].bytes_done);
}

}  // namespace
}  // namespace fovea::hub
