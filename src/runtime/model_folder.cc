#include "runtime/model_folder.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "fovea/hub.h"
#include "fovea/model.h"
#include "hub/cache.h"
#include "runtime/gguf_model.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOpenClipConfig = "open_clip_config.json";

bool IsModelFolder(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "config.json", ignored) || fs::is_regular_file(folder / kOpenClipConfig, ignored);
}

// The only GGUF file in `folder`; "" when there is none, or more than one.
std::string OnlyGguf(const fs::path& folder) {
  std::string found;
  std::error_code ignored;
  for (fs::directory_iterator it(folder, ignored), end; it != end; it.increment(ignored)) {
    if (it->path().extension() != ".gguf" || !runtime::IsGgufFile(it->path().string())) continue;
    if (!found.empty()) return "";
    found = it->path().string();
  }
  return found;
}

// The model called `name` in `folder`: a folder with a configuration, a folder with one GGUF file, or a GGUF file; ""
// when there is none.
std::string ModelIn(const std::string& folder, const std::string& name) {
  const fs::path path = fs::path(folder) / name;
  if (IsModelFolder(path)) return path.string();
  if (runtime::IsGgufFile(path.string() + ".gguf")) return path.string() + ".gguf";
  std::error_code ignored;
  return fs::is_directory(path, ignored) ? OnlyGguf(path) : "";
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::string DefaultModelName() { return "efficientnet-lite2"; }

const char* Version() { return FOVEA_VERSION; }

std::vector<std::string> ModelSearchPath() {
  std::vector<std::string> folders;
  for (const std::string& folder : base::Split(Environment("FOVEA_MODELS"), ':')) {
    if (!folder.empty()) folders.push_back(folder);
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    // Installed as bin/fovea beside share/; built as build/<kind>/fovea (tests one deeper) inside the source tree.
    for (const char* relative : {"models", "../share/fovea/models", "../../models", "../../../models"}) {
      folders.push_back((program.parent_path() / relative).lexically_normal().string());
    }
  }
  const std::string home = Environment("HOME"), data = Environment("XDG_DATA_HOME");
  if (!data.empty()) {
    folders.push_back(data + "/fovea/models");
  } else if (!home.empty()) {
    folders.push_back(home + "/.local/share/fovea/models");
  }
  folders.emplace_back("/usr/local/share/fovea/models");
  folders.emplace_back("/usr/share/fovea/models");
  return folders;
}

namespace {

// Adds the model in `folder` unless one of that name was found before.
void AddListing(const std::string& name, const std::string& folder, std::vector<ModelListing>& models) {
  const bool is_known =
      std::any_of(models.begin(), models.end(), [&](const ModelListing& m) { return m.name == name; });
  if (is_known) return;
  std::string model_type, licence = runtime::CardLicence(folder);
  try {
    if (runtime::IsGgufFile(folder)) {
      const auto file = formats::GgufFile::Open(folder);
      model_type = runtime::GgufConfig(file).Get<std::string>("model_type", "");
      licence = file.metadata().Get<std::string>("general.license", "");
      models.push_back({name, folder, model_type, licence, static_cast<int64_t>(fs::file_size(folder)), ""});
      return;
    }
    model_type = runtime::ReadModelConfig(folder).Get<std::string>("model_type", "");
  } catch (const Error&) {
    model_type = "unreadable";
  }
  const std::optional<hub::Record> record = hub::ReadRecord(folder);
  if (record && !record->licence.empty()) licence = record->licence;
  models.push_back(
      {name, folder, model_type, licence, runtime::FolderSizeBytes(folder), record ? record->commit : std::string()});
}

}  // namespace

std::vector<ModelListing> ListModels() {
  std::vector<ModelListing> models;
  for (const std::string& folder : ModelSearchPath()) {
    std::error_code ignored;
    for (fs::directory_iterator it(folder, ignored), end; it != end; it.increment(ignored)) {
      const std::string name = it->path().filename().string();
      const std::string model = ModelIn(folder, it->path().extension() == ".gguf" ? it->path().stem().string() : name);
      if (!model.empty()) {
        AddListing(it->path().extension() == ".gguf" ? it->path().stem().string() : name, model, models);
        continue;
      }
      for (fs::directory_iterator at(it->path(), ignored), last; at != last; at.increment(ignored)) {
        const std::string repo = name + "/" + at->path().filename().string();
        const bool is_model =
            hub::IsRepoName(repo) && (IsModelFolder(at->path()) || hub::ReadRecord(at->path().string()));
        if (is_model) AddListing(repo, at->path().string(), models);
      }
    }
  }
  std::sort(models.begin(), models.end(), [](const ModelListing& a, const ModelListing& b) { return a.name < b.name; });
  return models;
}

namespace runtime {

bool IsGgufFile(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  char magic[4] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof(magic));
  return std::string_view(magic, 4) == "GGUF";
}

base::Config ReadModelConfig(const std::string& folder) {
  std::error_code ignored;
  const std::string open_clip = (fs::path(folder) / kOpenClipConfig).string();
  if (fs::is_regular_file(fs::path(folder) / "config.json", ignored) || !fs::is_regular_file(open_clip, ignored))
    return base::Config::FromFile(folder + "/config.json");
  const base::Config config = base::Config::FromFile(open_clip);
  return config.MergedOver(base::Config::Parse(R"({"model_type": "open_clip"})", open_clip));
}

std::string ResolveModelFolder(const std::string& name_or_path) {
  Require(!name_or_path.empty(), "[model] expected a name or a folder, got \"\"");
  std::error_code ignored;
  if (fs::is_directory(name_or_path, ignored)) {
    if (IsModelFolder(name_or_path)) return name_or_path;
    std::string file = OnlyGguf(name_or_path);
    if (!file.empty()) return file;
    Fail(ErrorCode::kNotFound, "[model] folder ", base::PrintableUtf8(name_or_path),
         " has neither a config.json nor exactly one .gguf file");
  }
  if (fs::is_regular_file(name_or_path, ignored)) {
    if (IsGgufFile(name_or_path)) return name_or_path;
    Fail(ErrorCode::kInvalidArgument, "[model] the file ", base::PrintableUtf8(name_or_path),
         " is no GGUF file; hint: other models are folders");
  }
  if (name_or_path.find('/') == std::string::npos && name_or_path[0] != '.') {
    for (const std::string& folder : ModelSearchPath()) {
      std::string found = ModelIn(folder, name_or_path);
      if (!found.empty()) return found;
    }
  }
  if (hub::IsRepoName(name_or_path)) {
    for (const std::string& folder : ModelSearchPath()) {
      std::string found = ModelIn(folder, name_or_path);
      if (!found.empty()) return found;
    }
    const std::string folder = hub::FindInHuggingFaceCache(name_or_path);
    if (!folder.empty()) return folder;
    Fail(ErrorCode::kNotFound, "[model] there is no folder ", name_or_path,
         ", and no model of this name has been pulled; ", "hint: run `fovea pull ", name_or_path, "`, or ",
         hub::ByHand(name_or_path, hub::DefaultEndpoint(), PulledModelsFolder() + "/" + name_or_path, {}));
  }
  Fail(ErrorCode::kNotFound, "[model] no model \"", base::PrintableUtf8(name_or_path),
       "\": neither a folder nor a name in ", base::Join(ModelSearchPath()),
       "; hint: `fovea models` lists what is there");
}

std::string CardLicence(const std::string& folder) {
  std::string card;
  try {
    card = base::ReadTextFile(folder + "/README.md", 1 << 20);
  } catch (const Error&) {
    return "";
  }
  const std::vector<std::string> lines = base::Split(card, '\n');
  if (lines[0] != "---") return "";
  for (size_t i = 1; i < lines.size() && lines[i] != "---"; ++i) {
    for (const std::string_view key : {"license:", "licence:"}) {
      if (!lines[i].starts_with(key)) continue;
      const size_t begin = lines[i].find_first_not_of(" \t", key.size());
      return begin == std::string::npos ? "" : base::PrintableUtf8(lines[i].substr(begin));
    }
  }
  return "";
}

int64_t FolderSizeBytes(const std::string& folder) {
  int64_t total = 0;
  std::error_code ignored;
  for (fs::recursive_directory_iterator it(folder, ignored), end; it != end; it.increment(ignored)) {
    if (it->is_regular_file(ignored)) total += static_cast<int64_t>(it->file_size(ignored));
  }
  return total;
}

}  // namespace runtime
}  // namespace fovea
