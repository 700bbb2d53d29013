// Hostile config.json files for every architecture: thousands of changes to the configurations of the golden files, one
// and two keys at a time. Building the network either succeeds or throws fovea::Error, and takes bounded memory
// whatever sizes are asked for: a network without values is a list of shapes, and its length must have a limit too.
//
// A new model needs no new test: its golden files are found by name. tests/fuzz/fuzz_model_config.cc goes further.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "formats/safetensors.h"
#include "nn/entry.h"
#include "tensor/allocator.h"
#include "testing/testing.h"

namespace fovea {
namespace {

constexpr int64_t kMostBytes = int64_t{512} << 20;       // beyond what the test program itself holds
constexpr int64_t kMostParameters = 300'000;             // of one network
constexpr int64_t kMostTensorBytes = int64_t{64} << 20;  // tables that a network computes when it is built

// While it lives, the program cannot grow by more than kMostBytes: what tries gets std::bad_alloc, which no code
// expects.
class MemoryLimit {
 public:
  MemoryLimit() {
    int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    ::getrlimit(RLIMIT_AS, &before_);
    struct rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE) + kMostBytes);
    ::setrlimit(RLIMIT_AS, &limit);
  }
  ~MemoryLimit() { ::setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  struct rlimit before_ {};
};

std::map<std::string, nlohmann::json> Configurations() {
  std::map<std::string, nlohmann::json> configs;
  for (const auto& file : std::filesystem::directory_iterator(testing::SourcePath("tests/golden/models"))) {
    if (file.path().extension() != ".safetensors") continue;
    const formats::Metadata metadata = formats::SafetensorsFile::Open(file.path().string()).metadata();
    if (metadata.contains("config"))
      configs[file.path().stem().string()] = nlohmann::json::parse(metadata.at("config"));
  }
  return configs;
}

const std::vector<nlohmann::json>& HostileValues() {
  static const std::vector<nlohmann::json> values = {nullptr,
                                                     true,
                                                     false,
                                                     "",
                                                     "nonsense",
                                                     -1,
                                                     0,
                                                     1,
                                                     2,
                                                     3,
                                                     7,
                                                     1000,
                                                     100'000,
                                                     16'777'216,
                                                     2147483647,
                                                     4294967296,
                                                     INT64_MAX,
                                                     INT64_MIN,
                                                     UINT64_MAX,
                                                     0.5,
                                                     -0.5,
                                                     1e-300,
                                                     1e300,
                                                     nlohmann::json::array(),
                                                     nlohmann::json::object(),
                                                     nlohmann::json::array({0}),
                                                     nlohmann::json::array({1}),
                                                     nlohmann::json::array({-1, 5}),
                                                     nlohmann::json::array({"a", 1}),
                                                     nlohmann::json(std::vector<int64_t>(64, 1)),
                                                     nlohmann::json(std::vector<int64_t>(64, 100)),
                                                     nlohmann::json(std::vector<int64_t>(5000, 1)),
                                                     nlohmann::json(std::vector<int64_t>(4, 65536)),
                                                     nlohmann::json({{"0", "a"}, {"0 ", 1}})};
  return values;
}

// Places of all keys, nested ones too; of long lists of names only the first few.
void Collect(const nlohmann::json& value, const nlohmann::json::json_pointer& at,
             std::vector<nlohmann::json::json_pointer>& places) {
  int count = 0;
  for (const auto& [key, item] : value.items()) {
    if (++count > 60) break;
    places.push_back(at / key);
    if (item.is_object()) Collect(item, at / key, places);
  }
}

// Builds the network and reads its list of parameters. Every outcome but a clean one fails the test.
void Try(const nlohmann::json& json) {
  const int64_t bytes_before = GetAllocatorStats().in_use_bytes;
  try {
    const base::Config config = base::Config::Parse(json.dump(), "config.json");
    const auto model_type = config.Get<std::string>("model_type", "");
    for (const models::Entry* entry : models::AllEntries()) {
      if (entry->model_type != model_type) continue;
      int64_t parameters = 0;
      const MemoryLimit limit;
      const auto model = entry->create(config);
      nn::ForEachParameter(*model, [&](const std::string&, nn::Parameter&) { ++parameters; });
      EXPECT_LE(parameters, kMostParameters) << json;
      EXPECT_LE(GetAllocatorStats().in_use_bytes - bytes_before, kMostTensorBytes) << json;
      if (entry->input_spec != nullptr) entry->input_spec(config);
    }
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::kInternal) << error.message() << "\n" << json;
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what() << " for " << json;
  }
}

TEST(ModelConfig, EveryArchitectureHasOneToTry) {
  std::set<std::string> tried;
  for (const auto& [name, json] : Configurations()) tried.insert(json.at("model_type"));
  for (const models::Entry* entry : models::AllEntries())
    EXPECT_TRUE(tried.contains(std::string(entry->model_type))) << entry->model_type << " has no golden file";
}

TEST(ModelConfig, OneHostileValue) {
  for (const auto& [name, json] : Configurations()) {
    SCOPED_TRACE(name);
    std::vector<nlohmann::json::json_pointer> places;
    Collect(json, nlohmann::json::json_pointer(), places);
    for (const auto& place : places) {
      if (place.to_string() == "/model_type") continue;
      for (const nlohmann::json& value : HostileValues()) {
        nlohmann::json changed = json;
        changed[place] = value;
        Try(changed);
      }
      nlohmann::json changed = json;
      changed[place.parent_pointer()].erase(place.back());
      Try(changed);
      if (HasFailure()) return;
    }
  }
}

TEST(ModelConfig, SeveralHostileValues) {
  std::mt19937 random(7);
  for (const auto& [name, json] : Configurations()) {
    SCOPED_TRACE(name);
    std::vector<nlohmann::json::json_pointer> places;
    Collect(json, nlohmann::json::json_pointer(), places);
    for (int round = 0; round < 500 && !HasFailure(); ++round) {
      nlohmann::json changed = json;
      for (unsigned i = 0; i < 2 + random() % 3; ++i) {
        const auto& place = places[random() % places.size()];
        if (place.to_string() == "/model_type" || !changed.contains(place)) continue;
        changed[place] = HostileValues()[random() % HostileValues().size()];
      }
      Try(changed);
    }
  }
}

}  // namespace
}  // namespace fovea
