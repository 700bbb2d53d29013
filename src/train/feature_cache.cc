#include "train/feature_cache.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBatch = 32;
constexpr const char* kFormat = "fovea-features-1";

std::string CaptionKey(const std::string& caption) { return base::ContentHasher().Add(caption).Hex(); }

// A safetensors file of one matrix whose rows come one batch after another; complete or not there at all.
class RowWriter {
 public:
  RowWriter(std::string path, std::string fingerprint, int64_t rows)
      : path_(std::move(path)), fingerprint_(std::move(fingerprint)), rows_(rows) {}

  // Row `rows[i]` becomes row i of `features` [B,D].
  void Write(std::span<const int64_t> rows, const Tensor& features) {
    const Tensor dense = features.Contiguous();
    if (!file_.is_open()) Begin(dense.dim(1));
    Require(dense.dim(1) == dim_, "[cache] expected ", dim_, " features, got ", dense.dim(1));
    const auto bytes = dim_ * static_cast<int64_t>(sizeof(float));
    for (size_t i = 0; i < rows.size(); ++i) {
      file_.seekp(begin_ + rows[i] * bytes);
      file_.write(reinterpret_cast<const char*>(dense.data<float>() + static_cast<int64_t>(i) * dim_), bytes);
    }
  }
  void Finish() {
    Require(file_.is_open(), "[cache] the training data holds nothing to compute features of");
    file_.close();
    std::error_code error;
    if (file_.good()) fs::resize_file(Partial(), static_cast<uintmax_t>(begin_ + rows_ * dim_ * 4), error);
    if (file_.good() && !error) fs::rename(Partial(), path_, error);
    if (!file_.good() || error) Fail(ErrorCode::kIo, "[cache] cannot write ", base::PrintableUtf8(path_));
  }

 private:
  std::string Partial() const { return path_ + ".partial"; }
  void Begin(int64_t dim) {
    dim_ = dim;
    const nlohmann::json header = {
        {"__metadata__", {{"format", kFormat}, {"fingerprint", fingerprint_}}},
        {"features", {{"dtype", "F32"}, {"shape", {rows_, dim_}}, {"data_offsets", {0, rows_ * dim_ * 4}}}}};
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const uint64_t length = text.size();
    file_.open(Partial(), std::ios::binary | std::ios::trunc);
    file_.write(reinterpret_cast<const char*>(&length), sizeof length);
    file_.write(text.data(), static_cast<std::streamsize>(text.size()));
    begin_ = static_cast<int64_t>(sizeof length + text.size());
  }

  std::string path_, fingerprint_;
  int64_t rows_, dim_ = 0, begin_ = 0;
  std::ofstream file_;
};

}  // namespace

FeatureCache::FeatureCache(Options options) : options_(std::move(options)) {
  base::ContentHasher hasher;
  for (const std::string& path : options_.loader.filter.paths) {
    const auto set = OpenSamples(path);
    first_row_.push_back(samples_);
    samples_ += set->size();
    hasher.Add(path).Add("\n").Add(set->Fingerprint()).Add("\n");
  }
  data_fingerprint_ = hasher.Hex();
  std::error_code error;
  fs::create_directories(options_.folder, error);
  if (error)
    Fail(ErrorCode::kIo, "[cache] cannot create ", base::PrintableUtf8(options_.folder), ": ", error.message());
}

bool FeatureCache::IsMade(const std::string& name, const std::string& fingerprint, int64_t rows) const {
  std::error_code ignored;
  if (!fs::exists(File(name), ignored)) return false;
  try {
    const auto file = formats::SafetensorsFile::Open(File(name));
    const auto found = file.metadata().find("fingerprint");
    if (found == file.metadata().end() || found->second != fingerprint || !file.Has("features")) return false;
    const Tensor features = file.Get("features");
    return features.rank() == 2 && features.dim(0) == rows && features.dtype() == DType::kF32;
  } catch (const Error&) {
    return false;  // damaged: made anew
  }
}

void FeatureCache::Open(const std::string& name, const std::string& fingerprint, int64_t rows) {
  options_.barrier();
  RequireData(IsMade(name, fingerprint, rows), "[cache] ", base::PrintableUtf8(File(name)),
              " is not what this run needs; hint: every process must see the same output folder");
  files_[name] = formats::SafetensorsFile::Open(File(name)).Get("features");
}

void FeatureCache::AddPictures(const std::string& name, const std::string& fingerprint,
                               const std::function<Tensor(const Tensor& pixels)>& encode) {
  const std::string whole = base::ContentHasher().Add(fingerprint).Add(data_fingerprint_).Hex();
  if (options_.is_writer && !IsMade(name, whole, samples_)) {
    options_.on_note(base::StrCat("computing the features of ", samples_, " pictures once: ", File(name)));
    LoaderOptions in_order = options_.loader;
    in_order.augment.is_on = false;
    in_order.shuffle_buffer = 0;
    in_order.is_endless = false;
    RowWriter writer(File(name), whole, samples_);
    Loader loader(std::move(in_order), {});
    Batch batch;
    while (loader.Next(kBatch, batch)) {
      std::vector<int64_t> rows;
      for (const SamplePlace& place : batch.places) rows.push_back(RowOf(place));
      writer.Write(rows, encode(batch.pixels));
    }
    writer.Finish();
  }
  Open(name, whole, samples_);
}

void FeatureCache::IndexCaptions() {
  if (!caption_rows_.empty()) return;
  for (size_t path = 0; path < first_row_.size(); ++path) {
    SampleRef ref{.set = OpenSamples(options_.loader.filter.paths[path]), .path = static_cast<int64_t>(path)};
    for (ref.index = 0; ref.index < ref.set->size(); ++ref.index) {
      if (!Accepts(options_.loader.filter, ref)) continue;
      const std::vector<std::string> captions = ref.set->Captions(ref.index);
      for (size_t i = 0; i < captions.size(); ++i) {
        const auto row = static_cast<int64_t>(caption_rows_.size());
        if (!caption_rows_.emplace(CaptionKey(captions[i]), row).second) continue;
        caption_places_.push_back({.path = ref.path, .index = ref.index});
        caption_numbers_.push_back(static_cast<int64_t>(i));
      }
    }
  }
}

void FeatureCache::AddTexts(const std::string& name, const std::string& fingerprint,
                            const std::function<Tensor(std::span<const std::string>)>& encode) {
  IndexCaptions();
  const std::string whole = base::ContentHasher().Add(fingerprint).Add(data_fingerprint_).Hex();
  const auto count = static_cast<int64_t>(caption_places_.size());
  if (options_.is_writer && !IsMade(name, whole, count)) {
    options_.on_note(base::StrCat("computing the features of ", count, " captions once: ", File(name)));
    RowWriter writer(File(name), whole, count);
    std::shared_ptr<const SampleSet> set;
    int64_t open_path = -1;
    for (int64_t begin = 0; begin < count; begin += kBatch) {
      std::vector<std::string> captions;
      std::vector<int64_t> rows;
      for (int64_t row = begin; row < std::min(count, begin + kBatch); ++row) {
        const SamplePlace& place = caption_places_[static_cast<size_t>(row)];
        if (place.path != open_path) set = OpenSamples(options_.loader.filter.paths[static_cast<size_t>(place.path)]);
        open_path = place.path;
        captions.push_back(set->Captions(place.index)[static_cast<size_t>(caption_numbers_[static_cast<size_t>(row)])]);
        rows.push_back(row);
      }
      writer.Write(rows, encode(captions));
    }
    writer.Finish();
  }
  Open(name, whole, count);
}

Tensor FeatureCache::Gathered(const std::string& name, std::span<const int64_t> rows) const {
  const Tensor& stored = files_.at(name);
  const int64_t D = stored.dim(1);
  Tensor features = Tensor::Empty({static_cast<int64_t>(rows.size()), D});
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(features.mutable_data<float>() + static_cast<int64_t>(i) * D, stored.data<float>() + rows[i] * D,
                static_cast<size_t>(D) * sizeof(float));
  }
  return features;
}

Tensor FeatureCache::Pictures(const std::string& name, std::span<const SamplePlace> places) const {
  std::vector<int64_t> rows;
  for (const SamplePlace& place : places) rows.push_back(RowOf(place));
  return Gathered(name, rows);
}

Tensor FeatureCache::Texts(const std::string& name, std::span<const std::string> captions) const {
  std::vector<int64_t> rows;
  for (const std::string& caption : captions) {
    const auto found = caption_rows_.find(CaptionKey(caption));
    RequireData(found != caption_rows_.end(), "[cache] ", base::PrintableUtf8(File(name)),
                " has no features of the caption \"", base::PrintableUtf8(caption), "\"; hint: the data changed since");
    rows.push_back(found->second);
  }
  return Gathered(name, rows);
}

}  // namespace fovea::train
