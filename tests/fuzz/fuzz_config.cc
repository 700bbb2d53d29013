// Configuration JSON: parsing, and every typed read of every key, nested objects included.
#include <string>
#include <vector>

#include "base/json.h"
#include "fuzzing.h"

namespace {

template <typename T>
void Read(const fovea::base::Config& config, const std::string& key) {
  fovea::fuzzing::Try([&] { config.Require<T>(key); });
  fovea::fuzzing::Try([&] { config.Get<T>(key, T{}); });
}

void ReadAll(const fovea::base::Config& config, int depth) {
  for (const std::string& key : config.Keys()) {
    config.Has(key);
    Read<bool>(config, key);
    Read<int64_t>(config, key);
    Read<double>(config, key);
    Read<std::string>(config, key);
    Read<std::vector<int64_t>>(config, key);
    Read<std::vector<double>>(config, key);
    Read<std::vector<std::string>>(config, key);
    fovea::fuzzing::Try([&] {
      const auto nested = config.Object(key);
      if (depth < 3) ReadAll(nested, depth + 1);
    });
  }
  Read<int64_t>(config, "absent");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fovea::fuzzing::Try([&] {
    ReadAll(fovea::base::Config::Parse({reinterpret_cast<const char*>(data), size}, "input"), 0);
  });
  return 0;
}
