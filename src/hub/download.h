// Files over HTTP onto the disk: several at once, each resumed where it broke off, checked against its hash, and only
// then under its name. Servers that break, stall, or ask to wait are tried again with growing pauses; a wrong hash is
// tried once more from the beginning.
#pragma once

#include <string>
#include <vector>

#include "fovea/error.h"
#include "fovea/hub.h"
#include "hub/http.h"
#include "hub/repository.h"

namespace fovea::hub {

// What the requests of one pull share.
struct Hub {
  std::string endpoint, token, repo;
  const PullOptions& options;
  HttpSession session;
  int64_t fetched_bytes = 0;  // so far, over the network

  Hub(std::string endpoint_in, std::string token_in, std::string repo_in, const PullOptions& options_in);
  void CheckCancel() const;  // throws kCancelled
};

// The hub cannot be reached, or broke off too often. What to do then is added by the caller, who knows the files.
class Unreachable : public Error {
 public:
  explicit Unreachable(std::string message) : Error(ErrorCode::kIo, std::move(message)) {}
};

// A short text of the hub, at most `limit_bytes`. Throws Unreachable, and kNotFound, kIo, kResourceExhausted.
std::string FetchText(Hub& hub, const std::string& url, int64_t limit_bytes);

struct Download {
  RemoteFile remote;  // hash and size are filled in from the answer when the listing stated none; sha256 always
  std::string url;
  std::string path;      // where it goes; the folder is there
  std::string etag;      // out: of the version that was fetched
  bool is_done = false;  // in: nothing to fetch
};

// Bytes of `path`.partial that a download can go on from.
int64_t PartialBytes(const Download& download);

// Fetches all that are not done. Throws what FetchText throws and kCorruptData; what has come by then is kept.
void FetchFiles(Hub& hub, std::vector<Download>& downloads);

// Whether the file at `path` has the size and hash of `remote`; false when no hash is known. Fills in remote.sha256.
bool HasContent(const std::string& path, RemoteFile& remote);

}  // namespace fovea::hub
