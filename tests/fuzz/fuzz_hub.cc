// The list of a repository as a hub's API answers it, and the choice of files: every name that gets through must be a
// path that stays inside its folder.
#include <cstdlib>
#include <string>

#include "base/strings.h"
#include "fuzzing.h"
#include "hub/repository.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fovea::fuzzing::Try([&] {
    const auto listing = fovea::hub::ParseListing({reinterpret_cast<const char*>(data), size}, "input");
    for (const auto& file : listing.files) {
      for (const std::string& part : fovea::base::Split(file.name, '/')) {
        if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string::npos) std::abort();
      }
    }
    for (const bool allow_pickle : {false, true}) {
      fovea::fuzzing::Try([&] { fovea::hub::ChooseFiles(listing, {.allow_pickle = allow_pickle}, "o/n"); });
      fovea::fuzzing::Try(
          [&] { fovea::hub::ChooseFiles(listing, {.include = {"*"}, .allow_pickle = allow_pickle}, "o/n"); });
    }
  });
  return 0;
}
