// Models from a hub that speaks the Hugging Face layout: fetched once, checked, and then found by their name.
//
//   fovea::PullReport report = fovea::Pull("google/vit-base-patch16-224");
//   fovea::Model model = fovea::Model::Load("google/vit-base-patch16-224");
//
// Pull is the only function of Fovea that makes a connection, and it makes one only when it is called. It needs libcurl
// and OpenSSL's libcrypto, loaded at the first call; without them it throws kUnimplemented and everything else works.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace fovea {

struct PullProgress {
  int64_t bytes_done;   // of the files to fetch, what was there before included
  int64_t bytes_total;  // 0 while the hub has not told a size
  int64_t files_done;
  int64_t files_total;
};

struct PullOptions {
  // Address of the hub, "https://host[:port]". "": the environment variable HF_ENDPOINT, else https://huggingface.co.
  std::string endpoint;
  std::string revision = "main";  // branch, tag or commit
  // Access token for private and gated models. Not set: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the file HF_TOKEN_PATH,
  // $HF_HOME/token or ~/.cache/huggingface/token, in this order; "": none. It goes to the host of `endpoint` alone, and
  // only over https or to this machine; it is never printed.
  std::optional<std::string> token;
  // Shell patterns over whole file names ("*.gguf", "onnx/*"), instead of the usual choice of configuration, tokenizer,
  // preprocessor, card and safetensors. Pickles are passed by, also here, unless `allow_pickle`.
  std::vector<std::string> include;
  bool allow_pickle = false;  // fetch pytorch_model*.bin when there are no safetensors
  // Make no connection; report what is there. Also when FOVEA_OFFLINE or HF_HUB_OFFLINE is 1, on, yes or true.
  bool offline = false;
  std::string cache_dir;                      // models go to cache_dir/OWNER/NAME; "": PulledModelsFolder()
  int64_t max_bytes = 50'000'000'000;         // of all files together; more is refused before anything is fetched
  int64_t parallel = 4;                       // files at once, 1..16
  int64_t stall_timeout_s = 30;               // a connection without a byte for so long is broken
  int64_t retry_delay_ms = 500;               // before the first retry; doubles with each, with jitter, up to 30 s
  const std::atomic<bool>* cancel = nullptr;  // stop when it becomes true: throws kCancelled, keeps what has come
  // About ten times a second, on the calling thread.
  std::function<void(const PullProgress&)> on_progress;
  // What a person may want to know meanwhile ("... is slow; trying again in 2 s"), on the calling thread.
  std::function<void(const std::string&)> on_note;
};

struct PulledFile {
  std::string name;  // path below the model's folder
  int64_t size_bytes;
  std::string sha256;  // of the content, 64 hex digits; "" for files put there by hand
};

struct PullReport {
  std::string repo;      // OWNER/NAME
  std::string folder;    // where the model is
  std::string revision;  // the commit, 40 hex digits; the asked revision when the hub names none; "" when not known
  std::string licence;   // as the hub states it, "" when it states none
  std::vector<PulledFile> files;
  int64_t size_bytes = 0;     // of all files
  int64_t fetched_bytes = 0;  // over the network in this call
  double seconds = 0;
};

// Fetches the model `repo` ("OWNER/NAME") or brings it up to date; what is there already is checked against the hub's
// hashes and not fetched again. The folder changes in one step when everything has come and was checked; until then the
// parts lie in a hidden folder beside it, and the next Pull goes on from there. Two calls at once, also of two
// programs: the second waits and finds the work done. The commit, hashes, sizes, time and licence are written to
// fovea-pull.json in the folder.
//
// Throws kNotFound (no such model or file; offline and not there), kInvalidArgument (name, revision, endpoint, pickles
// only), kIo (no connection, access refused, disk), kCorruptData (wrong hash twice, a listing that cannot be trusted),
// kResourceExhausted (max_bytes, disk space), kUnimplemented (no libcurl, file without any hash), kCancelled.
PullReport Pull(const std::string& repo, const PullOptions& options = {});

struct RemovedModel {
  std::string repo, folder;
  int64_t files = 0, size_bytes = 0;
};

// Removes a pulled model, or what an interrupted Pull has left of it. Touches only cache_dir/OWNER/NAME. Throws
// kNotFound when there is none, kInvalidArgument for a name that is not OWNER/NAME (bundled models), kIo while it is
// being pulled.
RemovedModel RemoveModel(const std::string& repo, const std::string& cache_dir = "");

// $XDG_DATA_HOME/fovea/models, else ~/.local/share/fovea/models. Throws kNotFound when neither variable is set.
std::string PulledModelsFolder();

}  // namespace fovea
