#include "formats/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/bytes.h"
#include "formats/pth.h"
#include "formats/safetensors.h"

namespace fovea::formats {
namespace {

constexpr std::string_view kIndexSuffix = ".index.json";
constexpr const char* kUsualNames[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                       "pytorch_model.bin.index.json", "open_clip_model.safetensors"};
constexpr std::string_view kExtensions[] = {".safetensors", ".pth", ".pt", ".bin"};

// A zip archive or a pickle is a PyTorch checkpoint. A safetensors file starts with the length of its header, so its
// eighth byte is zero and its ninth is '{', neither of which those two share.
std::vector<NamedTensor> ReadFile(const std::string& path) {
  const auto mapped = base::MappedFile::Open(path);
  const std::span<const uint8_t> bytes = mapped->bytes();
  const std::string source = base::PrintableUtf8(path);
  const bool is_safetensors = bytes.size() >= 9 && bytes[8] == '{' && bytes[7] == 0;
  const bool is_pth =
      !is_safetensors && bytes.size() >= 2 && (bytes[0] == 0x80 || (bytes[0] == 'P' && bytes[1] == 'K'));
  return is_pth ? ParsePth(bytes, source, mapped) : SafetensorsFile::Parse(bytes, source, mapped).GetAll();
}

// The index is {"metadata": {...}, "weight_map": {tensor: shard}}.
std::vector<NamedTensor> ReadShards(const std::string& index_path) {
  const std::string source = base::PrintableUtf8(index_path);
  const base::Config map = base::Config::FromFile(index_path).Object("weight_map");
  std::map<std::string, std::vector<std::string>> names_by_shard;
  for (const auto& [name, shard] : map.json().items()) {
    const std::string file = shard.is_string() ? shard.get<std::string>() : "";
    const bool is_plain = !file.empty() && file != "." && file != ".." &&
                          file.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
    RequireData(is_plain, "[checkpoint] expected ", source, " to name files beside it, got \"",
                base::PrintableUtf8(file.substr(0, 200)), "\"");
    names_by_shard[file].push_back(name);
  }
  std::vector<NamedTensor> all;
  std::unordered_set<std::string> seen;
  for (const auto& [file, names] : names_by_shard) {
    const std::string shard_path = (std::filesystem::path(index_path).parent_path() / file).string();
    std::error_code ignored;
    if (!std::filesystem::exists(shard_path, ignored)) {
      Fail(ErrorCode::kNotFound, "[checkpoint] ", source, " names ", base::PrintableUtf8(file),
           ", which is not there; hint: ", names_by_shard.size(), " files belong to it, get them all");
    }
    std::unordered_set<std::string> in_shard;
    for (NamedTensor& named : ReadFile(shard_path)) {
      RequireData(seen.insert(named.name).second, "[checkpoint] two shards of ", source, " hold \"",
                  base::PrintableUtf8(named.name), "\"");
      in_shard.insert(named.name);
      all.push_back(std::move(named));
    }
    for (const std::string& name : names) {
      RequireData(in_shard.contains(name), "[checkpoint] expected \"", base::PrintableUtf8(name), "\" in ",
                  base::PrintableUtf8(shard_path), " as ", source, " says, got no such tensor");
    }
  }
  return all;
}

std::string FindInFolder(const std::string& folder) {
  for (const char* name : kUsualNames) {
    const std::string path = (std::filesystem::path(folder) / name).string();
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path;
  }
  std::set<std::string> candidates;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string extension = it->path().extension().string();
    if (std::find(std::begin(kExtensions), std::end(kExtensions), extension) != std::end(kExtensions))
      candidates.insert(it->path().string());
  }
  if (error) Fail(ErrorCode::kIo, "[checkpoint] cannot list ", base::PrintableUtf8(folder), ": ", error.message());
  if (candidates.empty()) {
    Fail(ErrorCode::kNotFound, "[checkpoint] no weights in ", base::PrintableUtf8(folder), "; hint: expected ",
         base::Join(kUsualNames));
  }
  Require(candidates.size() == 1, "[checkpoint] several weight files in ", base::PrintableUtf8(folder), ": ",
          base::PrintableUtf8(base::Join(candidates)), "; hint: name one of them");
  return *candidates.begin();
}

}  // namespace

std::vector<NamedTensor> ReadCheckpoint(const std::string& path) {
  std::error_code ignored;
  const std::string file = std::filesystem::is_directory(path, ignored) ? FindInFolder(path) : path;
  return file.ends_with(kIndexSuffix) ? ReadShards(file) : ReadFile(file);
}

}  // namespace fovea::formats
