// Where pulled models lie, and what is known about them.
//
//   <data>/models/OWNER/NAME/                 a model, complete and checked; fovea-pull.json beside its files
//   <data>/models/OWNER/.NAME.partial/        what has come of a pull that is not finished
//       FILE                                    complete and checked
//       FILE.partial, FILE.partial-etag         the beginning of a file, and the server's name of the version it is of
//   <data>/models/OWNER/.NAME.lock            held by the program that changes them
//
// Names of repositories never open with a dot, so that none can be mistaken for ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hub/repository.h"

namespace fovea::hub {

inline constexpr char kRecordFile[] = "fovea-pull.json";

struct Place {
  std::string folder, partial, lock;
};
// `cache_dir` "": PulledModelsFolder(). Throws kInvalidArgument for a name that is not OWNER/NAME.
Place PlaceOf(const std::string& repo, const std::string& cache_dir);

// What fovea-pull.json says; in the partial folder it is the plan of the pull.
struct Record {
  std::string repo, endpoint, revision, commit, licence, time;
  struct File {
    RemoteFile remote;
    std::string etag;
  };
  std::vector<File> files;

  const File* Find(const std::string& name) const;
};
// nullopt when there is none or it cannot be read.
std::optional<Record> ReadRecord(const std::string& folder);
void WriteRecord(const std::string& folder, const Record& record);

// Held while this object lives; other processes and threads then get false from TryLock.
class FolderLock {
 public:
  FolderLock() = default;
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  // Throws kIo when the lock file cannot be made.
  bool TryLock(const std::string& path);

 private:
  std::string path_;
  int fd_ = -1;
};

// The newest snapshot of `repo` in the cache of Hugging Face's own programs, "" when it holds none with weights.
std::string FindInHuggingFaceCache(const std::string& repo);

std::string EnvironmentValue(const char* name);  // "" when it is not set
std::string DefaultEndpoint();                   // HF_ENDPOINT, else the public hub

// For an error message: which files of which page go into which folder. `files` empty: those a model usually has.
std::string ByHand(const std::string& repo, const std::string& endpoint, const std::string& folder,
                   const std::vector<std::string>& files);

}  // namespace fovea::hub
