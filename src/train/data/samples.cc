#include "train/data/samples.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/key_share.h"
#include "formats/webdataset.h"
#include "train/data/random.h"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPictureExtensions[] = {"jpg",  "jpeg", "png",  "webp", "heic",
                                              "avif", "tif",  "tiff", "gif",  "bmp"};

bool IsPictureExtension(std::string_view extension) {
  return std::ranges::any_of(kPictureExtensions, [&](const char* known) { return extension == known; });
}

std::string Text(const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::string Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  for (const std::string& line : base::Split(text, '\n')) {
    if (std::string trimmed = Trimmed(line); !trimmed.empty()) lines.push_back(std::move(trimmed));
  }
  return lines;
}

std::vector<std::string> StoredCaptions(const nlohmann::json& json) {
  std::vector<std::string> captions;
  if (const auto found = json.find("captions"); found != json.end() && found->is_array()) {
    for (const auto& caption : *found) {
      if (caption.is_string() && !Trimmed(caption.get<std::string>()).empty())
        captions.push_back(Trimmed(caption.get<std::string>()));
    }
  } else if (const auto single = json.find("caption"); single != json.end() && single->is_string()) {
    captions.push_back(Trimmed(single->get<std::string>()));
  }
  return captions;
}

std::vector<Question> StoredQuestions(const nlohmann::json& json) {
  std::vector<Question> questions;
  const auto found = json.find("qa");
  if (found == json.end() || !found->is_array()) return questions;
  for (const auto& stored : *found) {
    if (!stored.is_object() || !stored.contains("answers") || !stored["answers"].is_array()) continue;
    Question question{.text = Trimmed(stored.value("question", "")), .answers = {}};
    for (const auto& answer : stored["answers"]) {
      std::string text = answer.is_string() ? Trimmed(answer.get<std::string>()) : "";
      std::ranges::replace(text, '_', ' ');
      if (!text.empty()) question.answers.push_back(std::move(text));
    }
    if (!question.text.empty() && !question.answers.empty()) questions.push_back(std::move(question));
  }
  return questions;
}

// A field below "labels", or beside it; "" when there is none.
std::string FieldOf(const nlohmann::json& json, const std::string& field) {
  for (const nlohmann::json* place : {json.contains("labels") ? &json["labels"] : nullptr, &json}) {
    if (place == nullptr || !place->is_object()) continue;
    const auto found = place->find(field);
    if (found != place->end() && !found->is_null() && !found->is_structured()) return Trimmed(Text(*found));
  }
  return "";
}

// Size and time of a file; "" when it is gone.
std::string FileState(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  const auto time = fs::last_write_time(path, error);
  return error ? "" : base::StrCat(size, "@", time.time_since_epoch().count());
}

class Shard final : public SampleSet {
 public:
  explicit Shard(const std::string& path) : path_(path), index_(formats::WebDatasetIndex::Open(path)) {}

  int64_t size() const override { return static_cast<int64_t>(index_.samples().size()); }
  std::string Key(int64_t index) const override { return Sample(index).key; }

  Image Picture(int64_t index) const override {
    for (const auto& file : Sample(index).files) {
      if (IsPictureExtension(file.extension))
        return DecodeImage(index_.Bytes(file), Sample(index).key + "." + file.extension);
    }
    Fail(ErrorCode::kInvalidArgument, "[data] ", Name(index), " has no picture");
  }

  std::string Label(int64_t index, const std::string& field) const override {
    if (field == "cls") return Trimmed(TextOf(index, "cls"));
    return FieldOf(Json(index), field);
  }

  std::vector<std::string> Captions(int64_t index) const override {
    std::vector<std::string> captions = StoredCaptions(Json(index));
    return captions.empty() ? Lines(TextOf(index, "txt")) : captions;
  }

  std::vector<Question> Questions(int64_t index) const override { return StoredQuestions(Json(index)); }

  std::string Fingerprint() const override { return FileState(path_); }

 private:
  const formats::WebDatasetIndex::Sample& Sample(int64_t index) const {
    return index_.samples()[static_cast<size_t>(index)];
  }
  std::string Name(int64_t index) const {
    return base::PrintableUtf8(path_) + ": " + base::PrintableUtf8(Sample(index).key);
  }
  std::string_view TextOf(int64_t index, std::string_view extension) const {
    const auto* file = Sample(index).Find(extension);
    if (file == nullptr) return "";
    const auto bytes = index_.Bytes(*file);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  nlohmann::json Json(int64_t index) const {
    const std::string_view text = TextOf(index, "json");
    return text.empty() ? nlohmann::json::object() : base::ParseJson(text, Name(index) + ".json");
  }

  std::string path_;
  formats::WebDatasetIndex index_;
};

// Texts of one file, a line each. The file is mapped.
class TextLines final : public SampleSet {
 public:
  explicit TextLines(const std::string& path)
      : file_(base::MappedFile::Open(path)), has_objects_(path.ends_with(".jsonl")) {
    const auto bytes = file_->bytes();
    for (size_t begin = 0; begin < bytes.size();) {
      const auto* end = static_cast<const uint8_t*>(std::memchr(bytes.data() + begin, '\n', bytes.size() - begin));
      const size_t length = (end == nullptr ? bytes.data() + bytes.size() : end) - (bytes.data() + begin);
      if (!Trimmed({reinterpret_cast<const char*>(bytes.data()) + begin, length}).empty())
        lines_.push_back({begin, length});
      begin += length + 1;
    }
  }

  int64_t size() const override { return static_cast<int64_t>(lines_.size()); }
  std::string Key(int64_t index) const override {
    return base::StrCat(fs::path(file_->path()).filename().string(), ":", index + 1);
  }
  Image Picture(int64_t index) const override {
    Fail(ErrorCode::kInvalidArgument, "[data] ", Key(index), " is a text without a picture");
  }
  std::string Label(int64_t index, const std::string& field) const override {
    return has_objects_ ? FieldOf(Json(index), field) : "";
  }
  std::vector<std::string> Captions(int64_t index) const override {
    return has_objects_ ? StoredCaptions(Json(index)) : std::vector<std::string>{Trimmed(Line(index))};
  }
  std::string Fingerprint() const override { return FileState(file_->path()); }

 private:
  std::string_view Line(int64_t index) const {
    const auto& [begin, length] = lines_[static_cast<size_t>(index)];
    return {reinterpret_cast<const char*>(file_->bytes().data()) + begin, length};
  }
  nlohmann::json Json(int64_t index) const {
    nlohmann::json json = base::ParseJson(Line(index), Key(index));
    RequireData(json.is_object(), "[data] ", Key(index), ": expected a JSON object");
    return json;
  }

  std::shared_ptr<const base::MappedFile> file_;
  bool has_objects_;
  std::vector<std::pair<size_t, size_t>> lines_;  // begin, length
};

// Pictures of a folder and below it, in the order of their paths. Hidden files and folders are left out.
class Folder final : public SampleSet {
 public:
  explicit Folder(const std::string& path) : root_(path) {
    std::error_code error;
    fs::recursive_directory_iterator it(root_, error), end;
    if (error) Fail(ErrorCode::kIo, "[data] cannot read ", base::PrintableUtf8(path), ": ", error.message());
    for (; it != end; it.increment(error)) {
      if (error) Fail(ErrorCode::kIo, "[data] cannot read ", base::PrintableUtf8(path), ": ", error.message());
      const std::string name = it->path().filename().string();
      if (name.starts_with('.')) {
        if (it->is_directory(error)) it.disable_recursion_pending();
        continue;
      }
      std::string extension = base::AsciiLower(it->path().extension().string());
      if (!extension.empty() && IsPictureExtension(extension.substr(1)) && it->is_regular_file(error))
        files_.push_back(it->path().lexically_relative(root_).string());
    }
    std::sort(files_.begin(), files_.end());
  }

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  std::string Key(int64_t index) const override { return files_[static_cast<size_t>(index)]; }
  Image Picture(int64_t index) const override { return ReadImage((root_ / Key(index)).string()); }
  std::string Label(int64_t index, const std::string& /*field*/) const override {
    const std::string key = Key(index);
    const size_t slash = key.find('/');
    return slash == std::string::npos ? "" : key.substr(0, slash);
  }
  std::vector<std::string> Captions(int64_t index) const override {
    const std::string path = (root_ / Key(index)).replace_extension(".txt").string();
    std::error_code ignored;
    return fs::is_regular_file(path, ignored) ? Lines(base::ReadTextFile(path, 1 << 20)) : std::vector<std::string>();
  }
  std::string Fingerprint() const override {
    base::ContentHasher hasher;
    for (const std::string& file : files_) {
      hasher.Add(base::StrCat(file, "\n", FileState(root_ / file), "\n",
                              FileState((root_ / file).replace_extension(".txt")), "\n"));
    }
    return hasher.Hex();
  }

 private:
  fs::path root_;
  std::vector<std::string> files_;
};

bool IsInPart(const SampleFilter& filter, double share, const std::string& key) {
  return base::IsHeldBack(key, share) == filter.takes_validation;
}

template <typename Function>
void ForEachSample(const SampleFilter& filter, Function&& function) {
  for (const std::string& path : filter.paths) {
    SampleRef ref{.set = OpenSamples(path)};
    for (ref.index = 0; ref.index < ref.set->size(); ++ref.index) function(ref);
  }
}

}  // namespace

std::shared_ptr<const SampleSet> OpenSamples(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return std::make_shared<Folder>(path);
  if (path.ends_with(".txt") || path.ends_with(".jsonl")) return std::make_shared<TextLines>(path);
  return std::make_shared<Shard>(path);
}

std::vector<std::string> CaptionsOf(const SampleFilter& filter, const SampleSet& set, int64_t index) {
  if (filter.target_field.empty()) return set.Captions(index);
  std::string target = set.Label(index, filter.target_field);
  return target.empty() ? std::vector<std::string>() : std::vector<std::string>{std::move(target)};
}

std::vector<Question> QuestionsOf(const SampleFilter& filter, const SampleSet& set, int64_t index) {
  if (!filter.takes_questions || !IsInPart(filter, filter.question_validation_share, set.Key(index))) return {};
  return set.Questions(index);
}

bool Accepts(const SampleFilter& filter, SampleRef& ref) {
  if (!IsInPart(filter, filter.validation_share, ref.set->Key(ref.index))) return false;
  if (filter.needs_caption && CaptionsOf(filter, *ref.set, ref.index).empty()) return false;
  if (!filter.needs_label) return true;
  const auto found = filter.classes.find(ref.set->Label(ref.index, filter.label_field));
  if (found == filter.classes.end()) return false;
  ref.label = found->second;
  return true;
}

std::map<std::string, int64_t> CountLabels(const SampleFilter& filter) {
  std::map<std::string, int64_t> counts;
  ForEachSample(filter, [&](SampleRef& ref) {
    if (!IsInPart(filter, filter.validation_share, ref.set->Key(ref.index))) return;
    const std::string label = filter.needs_label ? ref.set->Label(ref.index, filter.label_field) : "";
    if (!label.empty() || !filter.needs_label) ++counts[label];
  });
  return counts;
}

int64_t CountSamples(const SampleFilter& filter) {
  int64_t count = 0;
  ForEachSample(filter, [&](SampleRef& ref) { count += Accepts(filter, ref) ? 1 : 0; });
  return count;
}

SampleStream::SampleStream(const SampleFilter& filter, int64_t buffer, uint64_t seed, int64_t epoch)
    : filter_(filter), buffer_size_(static_cast<size_t>(buffer)), state_(MixSeeds(seed, static_cast<uint64_t>(epoch))) {
  for (const std::string& path : filter.paths) paths_.emplace_back(path, static_cast<int64_t>(paths_.size()));
  if (buffer_size_ == 0) return;
  for (size_t i = paths_.size(); i > 1; --i) {
    state_ = Random(state_).Next();
    std::swap(paths_[i - 1], paths_[state_ % i]);
  }
}

bool SampleStream::NextInOrder(SampleRef& ref) {
  for (;;) {
    if (set_ == nullptr || next_index_ == set_->size()) {
      if (next_path_ == paths_.size()) return false;
      set_ = OpenSamples(paths_[next_path_++].first);
      next_index_ = 0;
      continue;
    }
    ref = {.set = set_, .index = next_index_++, .label = -1, .path = paths_[next_path_ - 1].second};
    if (Accepts(filter_, ref)) return true;
  }
}

bool SampleStream::Next(SampleRef& ref) {
  if (buffer_size_ == 0) return NextInOrder(ref);
  SampleRef next;
  while (buffer_.size() < buffer_size_ && NextInOrder(next)) buffer_.push_back(next);
  if (buffer_.empty()) return false;
  state_ = Random(state_).Next();
  std::swap(buffer_[state_ % buffer_.size()], buffer_.back());
  ref = std::move(buffer_.back());
  buffer_.pop_back();
  return true;
}

}  // namespace fovea::train
