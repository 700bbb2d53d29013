// What a repository on a hub is: its name, the list of its files as the hub's API tells it, and which of them are
// fetched.
//
// Everything here comes from another machine and is checked before anything is done with it: names of files become
// paths on this disk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::hub {

// "OWNER/NAME": letters, digits, '.', '_' and '-', each part at most 96 long and not opening with '.' or '-'.
bool IsRepoName(std::string_view name);
// Throws kInvalidArgument unless IsRepoName.
void CheckRepoName(const std::string& name);

// A branch, a tag or a commit. Throws kInvalidArgument when it can be none.
void CheckRevision(const std::string& revision);

bool IsHex(std::string_view text, size_t digits);

// One file of a repository. A hash that the hub does not state is "".
struct RemoteFile {
  std::string name;         // path in the repository, with '/'
  int64_t size_bytes = -1;  // -1: not stated
  std::string sha256;       // of the content, 64 lower-case hex digits
  std::string git_sha1;     // git's id of the content, 40
};

struct Listing {
  std::string commit;   // 40 hex digits, "" when the hub states none
  std::string licence;  // "apache-2.0", "other (gemma, https://...)", "" when none is stated
  std::vector<RemoteFile> files;
};

// Reads the answer of /api/models/OWNER/NAME?blobs=true. Throws kCorruptData for an answer of another form, for a file
// name that leads out of the folder or hides what it is, and kResourceExhausted for more files than a model has.
Listing ParseListing(std::string_view json, const std::string& source);

struct Choice {
  std::vector<std::string> include;  // shell patterns over whole names; empty: what a model needs
  bool allow_pickle = false;
};

// The files to fetch, weights last. Throws kInvalidArgument when a pickle would be needed and is not allowed, kNotFound
// when there is nothing to fetch.
std::vector<RemoteFile> ChooseFiles(const Listing& listing, const Choice& choice, const std::string& repo);

// Whether files of this name are Python pickles (or archives of them), which can run code when Python reads them.
bool IsPickleName(std::string_view name);

// The files a model needs when the hub cannot be asked, for people: "config.json, model.safetensors (or ...), ...".
std::string UsualFiles();

}  // namespace fovea::hub
