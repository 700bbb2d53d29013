// config.json of every architecture: builds the network, without values, and walks its list of parameters.
//
// The architecture is the one whose "model_type" the input names; an input that names none is tried with one chosen by
// its length. The limit on memory (run.sh) is part of the test: sizes that a file asks for must be checked before
// anything grows with them.
#include <nlohmann/json.hpp>

#include "fuzzing.h"
#include "nn/entry.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  fuzzing::Try([&] {
    const base::Config config = base::Config::Parse({reinterpret_cast<const char*>(data), size}, "input");
    const auto entries = models::AllEntries();
    const models::Entry* chosen = entries[size % entries.size()];
    for (const models::Entry* entry : entries) {
      const auto named = config.json().find("model_type");
      if (named != config.json().end() && *named == entry->model_type) chosen = entry;
    }
    const auto model = chosen->create(config);
    int64_t parameters = 0;
    nn::ForEachParameter(*model, [&](const std::string&, nn::Parameter&) { ++parameters; });
    if (parameters > 300'000) __builtin_trap();
    if (chosen->input_spec != nullptr) chosen->input_spec(config);
  });
  return 0;
}
