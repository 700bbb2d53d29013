#include "eval/samples.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/key_share.h"
#include "base/parallel.h"
#include "formats/webdataset.h"

namespace fovea::eval {
namespace {

constexpr size_t kBatch = 32;
constexpr std::array kPictureExtensions = {"jpg", "jpeg", "png", "webp", "heic", "avif", "tif", "tiff", "gif", "bmp"};

using Files = std::map<std::string, std::vector<uint8_t>>;

std::string_view TextOf(const Files& files, const std::string& extension) {
  const auto file = files.find(extension);
  if (file == files.end()) return {};
  return {reinterpret_cast<const char*>(file->second.data()), file->second.size()};
}

std::string Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

// The encoded picture of a sample, and what to call it.
struct Picture {
  std::string name;
  std::vector<uint8_t> bytes;
};

Picture PictureOf(const std::string& key, Files& files) {
  for (const char* extension : kPictureExtensions) {
    if (const auto file = files.find(extension); file != files.end())
      return {key + "." + extension, std::move(file->second)};
  }
  Fail(ErrorCode::kInvalidArgument, "[eval] ", base::PrintableUtf8(key), " has no picture");
}

Sample Described(const std::string& key, const Files& files) {
  Sample sample{.key = key, .notes = nlohmann::json::object(), .text = std::string(TextOf(files, "txt"))};
  if (files.contains("json")) {
    const std::string name = key + ".json";
    sample.notes = base::ParseJson(TextOf(files, "json"), name);
    RequireData(sample.notes.is_object(), "[eval] expected an object in ", base::PrintableUtf8(name));
  }
  return sample;
}

// Collects samples until a batch is full, decodes its pictures and hands it on.
class Batcher {
 public:
  Batcher(const EvaluateOptions& options, const std::function<void(std::span<Sample>)>& use, WalkReport& report)
      : options_(options), use_(use), report_(report) {}

  void Add(Sample sample, Picture picture) {
    samples_.push_back(std::move(sample));
    pictures_.push_back(std::move(picture));
  }
  size_t size() const { return samples_.size(); }

  void Flush() {
    std::vector<std::optional<Error>> errors(samples_.size());
    base::ParallelFor(static_cast<int64_t>(samples_.size()), 1, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        if (pictures_[i].name.empty()) continue;
        try {
          samples_[i].image = DecodeImage(pictures_[i].bytes, pictures_[i].name);
        } catch (const Error& error) {
          errors[i] = error;
        }
      }
    });
    std::vector<Sample> good;
    for (size_t i = 0; i < samples_.size(); ++i) {
      if (errors[i]) {
        Tell(samples_[i].key, *errors[i]);
      } else {
        good.push_back(std::move(samples_[i]));
      }
    }
    samples_.clear();
    pictures_.clear();
    if (good.empty()) return;
    report_.used += static_cast<int64_t>(good.size());
    use_(good);
    if (options_.on_progress) options_.on_progress(report_.used);
  }

  void Tell(const std::string& key, const Error& error) {
    ++report_.failed;
    if (options_.on_failure) options_.on_failure(key, error.message());
  }

 private:
  const EvaluateOptions& options_;
  const std::function<void(std::span<Sample>)>& use_;
  WalkReport& report_;
  std::vector<Sample> samples_;
  std::vector<Picture> pictures_;
};

}  // namespace

WalkReport WalkShards(const std::vector<std::string>& shards, const EvaluateOptions& options, bool needs_pictures,
                      const std::function<bool(Sample& sample)>& accept,
                      const std::function<void(std::span<Sample> batch)>& use) {
  Require(options.max_samples >= 0, "[eval] expected max_samples of 0 or more, got ", options.max_samples);
  WalkReport report;
  Batcher batcher(options, use, report);
  const auto is_full = [&] {
    return options.max_samples > 0 && report.used + static_cast<int64_t>(batcher.size()) >= options.max_samples;
  };
  for (const std::string& shard : shards) {
    formats::WebDatasetReader reader(shard);
    formats::WebDatasetReader::Sample stored;
    while (true) {
      // A picture that fails to decode leaves room for another one.
      if (is_full()) batcher.Flush();
      if (is_full() || !reader.Next(stored)) break;
      if (options.held_back > 0 && !base::IsHeldBack(stored.key, options.held_back)) {
        ++report.passed_over;
        continue;
      }
      try {
        Sample sample = Described(stored.key, stored.files);
        if (!accept(sample)) {
          ++report.passed_over;
          continue;
        }
        batcher.Add(std::move(sample), needs_pictures ? PictureOf(stored.key, stored.files) : Picture());
      } catch (const Error& error) {
        batcher.Tell(stored.key, error);
      }
      if (batcher.size() >= kBatch) batcher.Flush();
    }
  }
  batcher.Flush();
  return report;
}

std::vector<std::string> CaptionsOf(const Sample& sample) {
  std::vector<std::string> captions;
  const auto add = [&](std::string_view text) {
    if (std::string caption = Trimmed(text); !caption.empty()) captions.push_back(std::move(caption));
  };
  for (const char* key : {"captions", "caption"}) {
    const auto found = sample.notes.find(key);
    if (found == sample.notes.end()) continue;
    if (found->is_string()) add(found->get_ref<const std::string&>());
    if (!found->is_array()) continue;
    for (const auto& caption : *found) {
      if (caption.is_string()) add(caption.get_ref<const std::string&>());
    }
  }
  if (captions.empty()) {
    for (const std::string& line : base::Split(sample.text, '\n')) add(line);
  }
  return captions;
}

std::string LabelOf(const Sample& sample, const std::string& field) {
  const auto labels = sample.notes.find("labels");
  for (const nlohmann::json* place : {labels != sample.notes.end() ? &*labels : nullptr, &sample.notes}) {
    if (place == nullptr || !place->is_object()) continue;
    const auto found = place->find(field);
    if (found == place->end() || found->is_null() || found->is_structured()) continue;
    return Trimmed(found->is_string() ? found->get_ref<const std::string&>() : found->dump());
  }
  return "";
}

std::vector<std::string> CollectLabels(const std::vector<std::string>& shards, const std::string& field) {
  std::set<std::string> found;
  const auto accept = [&](Sample& sample) {
    if (std::string label = LabelOf(sample, field); !label.empty()) found.insert(std::move(label));
    return false;
  };
  WalkShards(shards, {}, false, accept, [](std::span<Sample>) {});
  return {found.begin(), found.end()};
}

}  // namespace fovea::eval
