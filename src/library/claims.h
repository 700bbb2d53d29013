// Who computes what: so that the same content is computed once, even when copies of it are in the pipeline at the same
// time.
//
// The first worker to ask for a hash computes it. Others that come before it is done hand their file over and go on;
// the owner finishes it for them. A claim is kept until the result is committed, when the library itself can answer.
#pragma once

#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "library/index_writer.h"
#include "library/store.h"

namespace fovea::library {

class Claims {
 public:
  enum class Answer {
    kCompute,  // the caller owns the hash: Finish must follow
    kKnown,    // in the library, or on its way into it
    kWait,     // `candidate` was taken and will be handed to the owner
  };

  Claims(Store& reader, int64_t model_id) : reader_(reader), model_id_(model_id) {}

  Answer Ask(const std::string& hash, FoundFile& file) {
    const std::lock_guard lock(mutex_);
    const auto found = claims_.find(hash);
    if (found != claims_.end()) {
      if (found->second.is_queued) return Answer::kKnown;
      found->second.waiting.push_back(std::move(file));
      return Answer::kWait;
    }
    if (reader_.FindContent(hash, model_id_) != 0) return Answer::kKnown;
    claims_[hash];
    return Answer::kCompute;
  }

  // Called by the owner after its outcome was queued for the writer; returns the files that wait for the hash. After
  // success the claim stays until Release; a failed one is free for another try.
  std::vector<FoundFile> Finish(const std::string& hash, bool succeeded) {
    const std::lock_guard lock(mutex_);
    const auto found = claims_.find(hash);
    std::vector<FoundFile> waiting = std::move(found->second.waiting);
    found->second.is_queued = true;
    if (!succeeded || found->second.is_committed) claims_.erase(found);
    return waiting;
  }

  // Called by the writer after the commit; it may be faster than the owner's Finish.
  void Release(const std::string& hash) {
    const std::lock_guard lock(mutex_);
    const auto found = claims_.find(hash);
    if (found == claims_.end()) return;
    found->second.is_committed = true;
    if (found->second.is_queued) claims_.erase(found);
  }

 private:
  struct Claim {
    bool is_queued = false;     // its outcome is on its way to the writer
    bool is_committed = false;  // and has arrived
    std::vector<FoundFile> waiting;
  };

  std::mutex mutex_;
  Store& reader_;
  const int64_t model_id_;
  std::unordered_map<std::string, Claim> claims_;
};

}  // namespace fovea::library
