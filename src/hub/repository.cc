#include "hub/repository.h"

#include <fnmatch.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/json.h"

namespace fovea::hub {
namespace {

constexpr size_t kMostFilesListed = 100'000;
constexpr size_t kMostFilesFetched = 2'000;
constexpr size_t kMostNameBytes = 1'000, kMostComponentBytes = 200;  // leaves room for our own endings
constexpr size_t kMostLicenceBytes = 300;

// Configuration, vocabulary and card: small files that say how to use the weights. One pattern component for each
// folder.
constexpr const char* kSmallFiles[] = {
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.*",
    "README.md",
    "LICENSE*",
    "modules.json",
    "[0-9]_*/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "open_clip_config.json",
};

bool Matches(const std::string& pattern, const std::string& name) {
  return ::fnmatch(pattern.c_str(), name.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0;
}

// Why a name may not become a path, "" when it may.
const char* FaultOfName(const std::string& name) {
  if (name.empty() || name.size() > kMostNameBytes) return "it is empty or too long";
  if (name.find('\\') != std::string::npos) return "it holds a backslash";
  if (base::PrintableUtf8(name) != name) return "it holds a control character";
  for (const std::string& part : base::Split(name, '/')) {
    if (part.empty()) return "it is absolute or has an empty folder";
    if (part == "." || part == "..") return "it leads out of its folder";
    if (part.size() > kMostComponentBytes) return "a part of it is too long";
  }
  return "";
}

// Names that we give files ourselves, and hidden ones (.gitattributes), are never fetched.
bool IsReserved(const std::string& name) {
  if (name.ends_with(".partial") || name.ends_with(".partial-etag") || name == "fovea-pull.json") return true;
  const std::vector<std::string> parts = base::Split(name, '/');
  return std::any_of(parts.begin(), parts.end(), [](const std::string& part) { return part[0] == '.'; });
}

std::string StringOf(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

int64_t SizeOf(const nlohmann::json& object) {
  const auto found = object.find("size");
  if (found == object.end() || !found->is_number_integer()) return -1;
  if (found->is_number_unsigned() && found->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return INT64_MAX;
  return std::max<int64_t>(found->get<int64_t>(), -1);
}

std::string LicenceOf(const nlohmann::json& root) {
  std::string licence, name, link;
  if (const auto card = root.find("cardData"); card != root.end() && card->is_object()) {
    licence = StringOf(*card, "license");
    if (const auto list = card->find("license"); list != card->end() && list->is_array()) {
      for (const auto& item : *list) {
        if (item.is_string()) licence += (licence.empty() ? "" : ", ") + item.get<std::string>();
      }
    }
    name = StringOf(*card, "license_name");
    link = StringOf(*card, "license_link");
  }
  if (const auto tags = root.find("tags"); licence.empty() && tags != root.end() && tags->is_array()) {
    for (const auto& tag : *tags) {
      const std::string text = tag.is_string() ? tag.get<std::string>() : "";
      if (text.starts_with("license:")) licence = text.substr(8);
    }
  }
  if (licence == "other" && !(name + link).empty())
    licence += " (" + name + (name.empty() || link.empty() ? "" : ", ") + link + ")";
  if (licence.size() > kMostLicenceBytes) licence.resize(kMostLicenceBytes);
  return base::PrintableUtf8(licence);
}

RemoteFile FileOf(const nlohmann::json& sibling, const std::string& source) {
  RemoteFile file{.name = sibling.is_object() ? StringOf(sibling, "rfilename") : ""};
  const char* fault = FaultOfName(file.name);
  RequireData(*fault == '\0', "[hub] ", source, " names a file ", base::PrintableUtf8(file.name.substr(0, 200)),
              " that cannot be trusted: ", fault);
  file.size_bytes = SizeOf(sibling);
  if (const std::string id = base::AsciiLower(StringOf(sibling, "blobId")); IsHex(id, 40)) file.git_sha1 = id;
  if (const auto lfs = sibling.find("lfs"); lfs != sibling.end() && lfs->is_object()) {
    file.git_sha1.clear();  // of the pointer, not of the content
    for (const char* key : {"sha256", "oid"}) {
      std::string hash = base::AsciiLower(StringOf(*lfs, key));
      if (hash.starts_with("sha256:")) hash = hash.substr(7);
      if (file.sha256.empty() && IsHex(hash, 64)) file.sha256 = hash;
    }
    if (SizeOf(*lfs) >= 0) file.size_bytes = SizeOf(*lfs);
  }
  return file;
}

// The first of the ways to hold weights that the repository has; empty when it has none.
std::vector<std::string> WeightPatterns(const std::vector<std::string>& names, bool allow_pickle) {
  const auto has = [&](const char* pattern) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return Matches(pattern, name); });
  };
  std::vector<std::string> patterns;
  if (has("model.safetensors")) {
    patterns = {"model.safetensors"};
  } else if (has("model.safetensors.index.json")) {
    patterns = {"model.safetensors.index.json", "model-*.safetensors"};
  } else if (has("open_clip_model.safetensors")) {
    patterns = {"open_clip_model.safetensors"};
  } else if (has("*.safetensors")) {
    patterns = {"*.safetensors", "*.safetensors.index.json"};
  } else if (allow_pickle && has("pytorch_model*.bin")) {
    return {"pytorch_model*.bin", "pytorch_model.bin.index.json"};
  }
  if (!patterns.empty()) patterns.emplace_back("[0-9]_*/model.safetensors");  // heads of sentence-transformers
  return patterns;
}

bool MatchesAny(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return Matches(p, name); });
}

bool IsWeights(const std::string& name) { return name.ends_with(".safetensors") || IsPickleName(name); }

[[noreturn]] void FailWithoutWeights(const Listing& listing, const std::string& repo, bool allow_pickle) {
  std::vector<std::string> pickles;
  for (const RemoteFile& file : listing.files) {
    if (IsPickleName(file.name) && pickles.size() < 5) pickles.push_back(file.name);
  }
  if (!pickles.empty() && !allow_pickle) {
    Fail(ErrorCode::kInvalidArgument, "[hub] ", repo, " has its weights as Python pickles only (", base::Join(pickles),
         "), which can carry code; Fovea fetches none unasked; hint: --allow-pickle fetches pytorch_model*.bin, which "
         "Fovea reads ",
         "without executing anything");
  }
  Fail(ErrorCode::kNotFound, "[hub] ", repo, " has no weights that Fovea reads: expected model.safetensors, got ",
       listing.files.size(), " other files; hint: --include PATTERN fetches others");
}

}  // namespace

bool IsHex(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool IsRepoName(std::string_view name) {
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos) return false;
  for (const std::string_view part : {name.substr(0, slash), name.substr(slash + 1)}) {
    if (part.empty() || part.size() > 96 || part[0] == '.' || part[0] == '-') return false;
    const auto is_allowed = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
             c == '-';
    };
    if (!std::all_of(part.begin(), part.end(), is_allowed)) return false;
  }
  return true;
}

void CheckRepoName(const std::string& name) {
  Require(IsRepoName(name), "[hub] expected a model as OWNER/NAME, got \"", base::PrintableUtf8(name), "\"");
}

void CheckRevision(const std::string& revision) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-/+").find(c) != std::string_view::npos;
  };
  Require(!revision.empty() && revision.size() <= 250 && std::all_of(revision.begin(), revision.end(), is_allowed) &&
              revision[0] != '/' && revision.find("..") == std::string::npos,
          "[hub] expected a revision (branch, tag or commit), got \"", base::PrintableUtf8(revision), "\"");
}

bool IsPickleName(std::string_view name) {
  const std::string lower = base::AsciiLower(name);
  const auto ends = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".mar", ".npy", ".npz", ".dill"};
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return lower.ends_with(end); });
}

Listing ParseListing(std::string_view json, const std::string& source) {
  const nlohmann::json root = base::ParseJson(json, source);
  RequireData(root.is_object(), "[hub] expected ", source, " to answer with a JSON object, got ", root.type_name());
  const auto siblings = root.find("siblings");
  RequireData(siblings != root.end() && siblings->is_array(), "[hub] ", source, " lists no files (\"siblings\")");
  if (siblings->size() > kMostFilesListed) {
    Fail(ErrorCode::kResourceExhausted, "[hub] ", source, " lists ", siblings->size(), " files, the limit is ",
         kMostFilesListed);
  }
  Listing listing{.licence = LicenceOf(root)};
  if (const std::string commit = base::AsciiLower(StringOf(root, "sha")); IsHex(commit, 40)) listing.commit = commit;
  std::set<std::string> seen;
  for (const auto& sibling : *siblings) {
    RemoteFile file = FileOf(sibling, source);
    RequireData(seen.insert(file.name).second, "[hub] ", source, " lists ", file.name, " twice");
    if (!IsReserved(file.name)) listing.files.push_back(std::move(file));
  }
  return listing;
}

std::vector<RemoteFile> ChooseFiles(const Listing& listing, const Choice& choice, const std::string& repo) {
  std::vector<std::string> names, patterns = choice.include;
  for (const RemoteFile& file : listing.files) names.push_back(file.name);
  if (patterns.empty()) {
    patterns = WeightPatterns(names, choice.allow_pickle);
    if (patterns.empty()) FailWithoutWeights(listing, repo, choice.allow_pickle);
    patterns.insert(patterns.end(), std::begin(kSmallFiles), std::end(kSmallFiles));
  }
  std::vector<RemoteFile> chosen;
  std::string refused;
  for (const RemoteFile& file : listing.files) {
    if (!MatchesAny(patterns, file.name)) continue;
    if (!IsPickleName(file.name) || choice.allow_pickle) {
      chosen.push_back(file);
    } else if (std::find(patterns.begin(), patterns.end(), file.name) != patterns.end()) {
      refused = file.name;  // asked for by name; a wildcard passes pickles by
    }
  }
  Require(refused.empty(), "[hub] ", repo, ": ", refused,
          " is a Python pickle; hint: --allow-pickle fetches it all the same");
  if (chosen.empty())
    Fail(ErrorCode::kNotFound, "[hub] no file of ", repo, " matches ", base::Join(choice.include),
         "; hint: a pattern covers the whole name");
  if (chosen.size() > kMostFilesFetched) {
    Fail(ErrorCode::kResourceExhausted, "[hub] ", repo, " would be ", chosen.size(), " files, the limit is ",
         kMostFilesFetched);
  }
  std::stable_partition(chosen.begin(), chosen.end(), [](const RemoteFile& file) { return !IsWeights(file.name); });
  return chosen;
}

std::string UsualFiles() {
  return "config.json, preprocessor_config.json, model.safetensors (or model.safetensors.index.json and every file it "
         "names), "
         "README.md, and for a model that reads text tokenizer.json and tokenizer_config.json (or vocab.json and "
         "merges.txt, or "
         "vocab.txt)";
}

}  // namespace fovea::hub
