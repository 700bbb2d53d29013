// Folder expansion and the ordered pool of workers. Each worker takes a whole picture from file to result: with one
// thread each they need no synchronisation inside a picture, decoding overlaps with the model, and no result depends on
// its neighbours.
#include "pictures.h"

#include <omp.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <new>
#include <thread>

#include "cli.h"
#include "output.h"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;

bool HasPictureExtension(const fs::path& path) {
  static constexpr const char* kExtensions[] = {".jpg",  ".jpeg", ".jpe",  ".jfif", ".png",  ".webp", ".heic",
                                                ".heif", ".hif",  ".avif", ".tif",  ".tiff", ".gif",  ".bmp"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return c < 0x80 ? std::tolower(c) : c; });
  return std::any_of(std::begin(kExtensions), std::end(kExtensions),
                     [&](const char* known) { return extension == known; });
}

// Walks one folder argument.
class FolderWalk {
 public:
  explicit FolderWalk(std::vector<Input>& found) : found_(found) {}

  void Visit(const std::string& folder) {
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0) return Fail(folder, errno);
    for (const auto& [device, inode] : ancestors_) {
      if (device == status.st_dev && inode == status.st_ino) {
        found_.push_back(
            {folder, Error(ErrorCode::kInvalidArgument, "this link leads back to a folder that contains it")});
        return;
      }
    }
    std::error_code error;
    std::vector<fs::path> entries;
    fs::directory_iterator at(folder, error);
    for (; !error && at != fs::directory_iterator(); at.increment(error)) entries.push_back(at->path());
    if (error) return Fail(folder, error.value());
    std::sort(entries.begin(), entries.end());
    ancestors_.emplace_back(status.st_dev, status.st_ino);
    for (const fs::path& entry : entries) VisitEntry(entry);
    ancestors_.pop_back();
  }

 private:
  void VisitEntry(const fs::path& entry) {
    if (entry.filename().native().starts_with('.')) return;
    std::error_code error;
    if (fs::is_directory(entry, error)) {
      Visit(entry.native());
    } else if (HasPictureExtension(entry)) {
      found_.push_back({entry.native(), std::nullopt});
    } else if (error && error != std::errc::no_such_file_or_directory) {
      Fail(entry.native(), error.value());
    }
  }

  void Fail(const std::string& path, int system_error) {
    found_.push_back(
        {path, Error(ErrorCode::kIo, std::string("cannot read the folder: ") + std::strerror(system_error))});
  }

  std::vector<Input>& found_;
  std::vector<std::pair<dev_t, ino_t>> ancestors_;
};

// Never throws.
Outcome See(const Input& input, const std::function<Analysis(const Image&)>& see) {
  Outcome outcome;
  const auto begin = std::chrono::steady_clock::now();
  try {
    if (input.error) throw *input.error;
    outcome.analysis = see(ReadImage(input.path));
  } catch (const Error& error) {
    outcome.error = error;
  } catch (const std::bad_alloc&) {
    outcome.error = Error(ErrorCode::kResourceExhausted, "out of memory");
  } catch (const std::exception& error) {
    outcome.error = Error(ErrorCode::kInternal, error.what());
  }
  outcome.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  return outcome;
}

}  // namespace

std::vector<Input> ExpandInputs(const std::vector<std::string>& arguments) {
  std::vector<Input> inputs;
  for (const std::string& argument : arguments) {
    std::error_code error;
    if (!fs::is_directory(argument, error)) {
      inputs.push_back({argument, std::nullopt});
      continue;
    }
    const size_t before = inputs.size();
    FolderWalk(inputs).Visit(argument);
    if (inputs.size() == before) inputs.push_back({argument, Error(ErrorCode::kNotFound, "no picture in this folder")});
  }
  return inputs;
}

int64_t ForEachPicture(const std::vector<Input>& inputs, int threads, const std::function<Analysis(const Image&)>& see,
                       const std::function<bool(int64_t index, Outcome outcome)>& consume) {
  const auto count = static_cast<int64_t>(inputs.size());
  const int64_t workers = std::clamp<int64_t>(threads, 1, std::max<int64_t>(count, 1));
  // Finished results that wait for an earlier one. A slot is free again once its result is consumed.
  std::vector<std::optional<Outcome>> window(static_cast<size_t>(4 * workers));
  std::mutex mutex;
  std::condition_variable slot_is_free, result_is_there;
  int64_t next = 0, consumed = 0, in_flight = 0;
  bool is_stopping = false;

  const auto work = [&] {
    omp_set_num_threads(std::max(1, threads / static_cast<int>(workers)));
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      slot_is_free.wait(
          lock, [&] { return is_stopping || next == count || next < consumed + static_cast<int64_t>(window.size()); });
      if (is_stopping || next == count || interrupted) break;
      const int64_t mine = next++;
      ++in_flight;
      lock.unlock();
      Outcome outcome = See(inputs[static_cast<size_t>(mine)], see);
      lock.lock();
      --in_flight;
      window[static_cast<size_t>(mine) % window.size()] = std::move(outcome);
      result_is_there.notify_one();
    }
    result_is_there.notify_one();
  };

  std::vector<std::thread> pool;
  for (int64_t i = 0; i < workers; ++i) pool.emplace_back(work);
  std::unique_lock<std::mutex> lock(mutex);
  while (consumed < count) {
    std::optional<Outcome>& slot = window[static_cast<size_t>(consumed) % window.size()];
    // After Ctrl-C the pictures in flight still come; then nobody fills the slot any more.
    result_is_there.wait(lock, [&] { return slot.has_value() || (interrupted && in_flight == 0); });
    if (!slot) break;
    Outcome outcome = std::move(*slot);
    slot.reset();
    lock.unlock();
    const bool goes_on = consume(consumed, std::move(outcome));
    lock.lock();
    ++consumed;
    slot_is_free.notify_all();
    if (!goes_on) break;
  }
  is_stopping = true;
  slot_is_free.notify_all();
  lock.unlock();
  for (std::thread& thread : pool) thread.join();
  return consumed;
}

}  // namespace fovea::cli
