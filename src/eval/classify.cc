// Classification accuracy over WebDataset shards. Samples are streamed: memory holds one batch, whatever the size of
// the shard.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "formats/webdataset.h"
#include "fovea/eval.h"

namespace fovea {
namespace {

constexpr size_t kBatch = 16;
constexpr int64_t kTop = 5;

// Index of the sample's class, by number or by name.
int64_t TrueClass(const formats::WebDatasetReader::Sample& sample, const Model& model) {
  const auto file = sample.files.find("json");
  Require(file != sample.files.end(), "[eval] ", sample.key, " has no .json");
  const base::Config labels =
      base::Config::Parse({reinterpret_cast<const char*>(file->second.data()), file->second.size()},
                          sample.key + ".json")
          .Object("labels");
  const auto classes = static_cast<int64_t>(model.class_names().size());
  if (labels.Has("class_index")) {
    const auto index = labels.Require<int64_t>("class_index");
    Require(index >= 0 && index < classes, "[eval] ", sample.key, " has class_index ", index, ", the model has ",
            classes, " classes");
    return index;
  }
  const auto name = labels.Require<std::string>("name");
  const auto& names = model.class_names();
  const auto found = std::find(names.begin(), names.end(), name);
  Require(found != names.end(), "[eval] ", sample.key, " is a \"", base::PrintableUtf8(name),
          "\", which is no class of the model");
  return found - names.begin();
}

Image DecodePicture(const formats::WebDatasetReader::Sample& sample) {
  for (const char* extension : {"jpg", "jpeg", "png", "webp", "heic", "avif", "tif", "tiff", "gif", "bmp"}) {
    const auto file = sample.files.find(extension);
    if (file != sample.files.end()) return DecodeImage(file->second, sample.key + "." + extension);
  }
  Fail(ErrorCode::kInvalidArgument, "[eval] ", sample.key, " has no picture");
}

struct Batch {
  std::vector<Image> images;
  std::vector<int64_t> truth;
};

void Judge(const Model& model, Batch& batch, int64_t& top1, int64_t& top5) {
  if (batch.images.empty()) return;
  const auto predictions = model.Classify(batch.images, {.top_k = kTop});
  for (size_t i = 0; i < predictions.size(); ++i) {
    const auto is_true = [&](const Label& label) { return label.index == batch.truth[i]; };
    top1 += is_true(predictions[i][0]) ? 1 : 0;
    top5 += std::any_of(predictions[i].begin(), predictions[i].end(), is_true) ? 1 : 0;
  }
  batch = {};
}

}  // namespace

ClassifyMetrics EvaluateClassify(const Model& model, const std::vector<std::string>& shards,
                                 const EvaluateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  ClassifyMetrics metrics;
  int64_t top1 = 0, top5 = 0;
  Batch batch;
  for (const std::string& shard : shards) {
    formats::WebDatasetReader reader(shard);
    formats::WebDatasetReader::Sample sample;
    while (reader.Next(sample)) {
      try {
        const int64_t truth = TrueClass(sample, model);
        batch.images.push_back(DecodePicture(sample));
        batch.truth.push_back(truth);
        ++metrics.n;
      } catch (const Error& error) {
        ++metrics.failed;
        if (options.on_failure) options.on_failure(sample.key, error.message());
      }
      if (batch.images.size() == kBatch) {
        Judge(model, batch, top1, top5);
        if (options.on_progress) options.on_progress(metrics.n);
      }
    }
  }
  Judge(model, batch, top1, top5);
  const auto n = static_cast<double>(std::max<int64_t>(1, metrics.n));
  metrics.top1 = static_cast<double>(top1) / n;
  metrics.top5 = static_cast<double>(top5) / n;
  metrics.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return metrics;
}

}  // namespace fovea
