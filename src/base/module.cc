#include "base/module.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

namespace fovea::base {

void* FindModuleEntry(const std::string& file, const char* entry, const std::string& path, bool shares_symbols) {
  std::vector<std::string> places = {path};
  if (path.empty()) {
    std::error_code ignored;
    const std::string beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().string();
    const char* folder = std::getenv("FOVEA_MODULES");
    places = {folder != nullptr ? std::string(folder) : "", beside, beside + "/../lib/fovea", "/usr/local/lib/fovea",
              "/usr/lib/fovea"};
    std::erase(places, "");
    for (std::string& place : places) place += "/" + file;
  }
  for (const std::string& place : places) {
    void* handle = ::dlopen(place.c_str(), RTLD_NOW | (shares_symbols ? RTLD_GLOBAL : RTLD_LOCAL));
    if (handle == nullptr) continue;
    if (void* function = ::dlsym(handle, entry)) return function;
    ::dlclose(handle);
  }
  return nullptr;
}

}  // namespace fovea::base
