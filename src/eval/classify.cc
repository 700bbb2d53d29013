// Classification accuracy over WebDataset shards: a model's own classes, classes given as words, and what can be learnt
// from its embeddings (nearest neighbours, a linear probe). Samples are streamed: memory holds one batch of pictures,
// and of the embeddings everything.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>

#include "base/error.h"
#include "eval/bootstrap.h"
#include "eval/samples.h"
#include "fovea/eval.h"

namespace fovea {
namespace {

constexpr int64_t kTop = 5;
const std::string kIndexField = "class_index", kNameField = "name";

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// How the text in a sample's label becomes the position of a class.
class Classes {
 public:
  // `has_order`: positions that samples state ("class_index") are those of `names`, else they are names like others.
  Classes(const std::vector<std::string>& names, std::string field, bool has_order = true)
      : names_(names), field_(std::move(field)), has_order_(has_order) {
    for (size_t i = 0; i < names.size(); ++i)
      by_name_.emplace(names[i], static_cast<int64_t>(i));  // the first of equals
  }

  int64_t size() const { return static_cast<int64_t>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }

  // Throws when the sample has no label, or one that is no class.
  int64_t Of(const eval::Sample& sample) const {
    std::string field = field_;
    if (field.empty()) field = eval::LabelOf(sample, kIndexField).empty() ? kNameField : kIndexField;
    const std::string label = eval::LabelOf(sample, field);
    Require(!label.empty(), "[eval] ", base::PrintableUtf8(sample.key), " has no label \"", base::PrintableUtf8(field),
            "\"");
    if (field != kIndexField || !has_order_) {
      const auto found = by_name_.find(label);
      Require(found != by_name_.end(), "[eval] ", base::PrintableUtf8(sample.key), " is a \"",
              base::PrintableUtf8(label), "\", which is none of the ", size(), " classes");
      return found->second;
    }
    int64_t index = -1;
    const auto [end, error] = std::from_chars(label.data(), label.data() + label.size(), index);
    Require(error == std::errc() && end == label.data() + label.size() && index >= 0 && index < size(), "[eval] ",
            base::PrintableUtf8(sample.key), " has class_index ", base::PrintableUtf8(label), ", expected one below ",
            size(), ", the number of classes");
    return index;
  }

 private:
  std::vector<std::string> names_;
  std::string field_;
  bool has_order_;
  std::map<std::string, int64_t> by_name_;
};

// What was predicted for one picture: its class, and the place of it among the predictions (above 5: somewhere).
struct Judgement {
  int64_t truth, rank;
};

ClassifyMetrics Summary(const std::vector<Judgement>& judgements, const std::vector<std::string>& names,
                        const EvaluateOptions& options) {
  ClassifyMetrics metrics{.n = static_cast<int64_t>(judgements.size()), .classes = static_cast<int64_t>(names.size())};
  for (const std::string& name : names) metrics.by_class.push_back({.name = name});
  std::vector<double> hits;  // [n,2]
  for (const Judgement& judged : judgements) {
    hits.insert(hits.end(), {judged.rank <= 1 ? 1.0 : 0.0, judged.rank <= kTop ? 1.0 : 0.0});
    ClassifyMetrics::Class& own = metrics.by_class[static_cast<size_t>(judged.truth)];
    ++own.n;
    own.found += judged.rank <= 1 ? 1 : 0;
  }
  const auto n = static_cast<double>(std::max<int64_t>(1, metrics.n));
  for (size_t i = 0; i < hits.size(); i += 2) {
    metrics.top1 += hits[i];
    metrics.top5 += hits[i + 1];
  }
  metrics.top1 /= n;
  metrics.top5 /= n;
  int64_t seen = 0;
  for (const ClassifyMetrics::Class& one : metrics.by_class) {
    metrics.majority = std::max(metrics.majority, static_cast<double>(one.n) / n);
    if (one.n == 0) continue;
    ++seen;
    metrics.class_mean += static_cast<double>(one.found) / static_cast<double>(one.n);
  }
  if (seen > 0) metrics.class_mean /= static_cast<double>(seen);
  const std::vector<double> ones(judgements.size(), 1.0);
  const std::vector<Interval> intervals = eval::BootstrapMeans(hits, ones, 2, options);
  metrics.top1_interval = intervals[0];
  metrics.top5_interval = intervals[1];
  return metrics;
}

std::vector<Image> ImagesOf(std::span<eval::Sample> batch) {
  std::vector<Image> images;
  for (eval::Sample& sample : batch) images.push_back(std::move(sample.image));
  return images;
}

ClassifyMetrics Evaluate(const Classes& classes, const std::vector<std::string>& shards, const EvaluateOptions& options,
                         const std::function<std::vector<std::vector<Label>>(std::span<const Image>)>& classify) {
  const auto start = Clock::now();
  std::vector<Judgement> judgements;
  const auto accept = [&](eval::Sample& sample) {
    sample.label = classes.Of(sample);
    return true;
  };
  const eval::WalkReport walk = eval::WalkShards(shards, options, true, accept, [&](std::span<eval::Sample> batch) {
    const std::vector<std::vector<Label>> predictions = classify(ImagesOf(batch));
    for (size_t i = 0; i < batch.size(); ++i) {
      const std::vector<Label>& best = predictions[i];
      const auto own = std::ranges::find(best, batch[i].label, &Label::index);
      judgements.push_back({batch[i].label, own - best.begin() + 1 + (own == best.end() ? kTop : 0)});
    }
  });
  ClassifyMetrics metrics = Summary(judgements, classes.names(), options);
  metrics.failed = walk.failed;
  metrics.seconds = SecondsSince(start);
  return metrics;
}

// The embeddings of shards with their labels.
struct Vectors {
  std::vector<float> values;  // [N,D]
  std::vector<int64_t> labels;
  int64_t failed = 0;
  operator LabelledVectors() const { return {values, labels}; }
};

Vectors EmbedShards(const Model& model, const Classes& classes, const std::vector<std::string>& shards,
                    const EvaluateOptions& options, const char* part) {
  Vectors vectors;
  const auto accept = [&](eval::Sample& sample) {
    sample.label = classes.Of(sample);
    return true;
  };
  vectors.failed = eval::WalkShards(shards, options, true, accept, [&](std::span<eval::Sample> batch) {
                     for (const std::vector<float>& row : model.EmbedImages(ImagesOf(batch)))
                       vectors.values.insert(vectors.values.end(), row.begin(), row.end());
                     for (const eval::Sample& sample : batch) vectors.labels.push_back(sample.label);
                   }).failed;
  Require(!vectors.labels.empty(), "[eval] no picture of the ", part, " shards has a label of a class and can be read");
  return vectors;
}

ClassifyMetrics Learn(
    const Model& model, const std::vector<std::string>& train, const std::vector<std::string>& test,
    const std::string& field, const EvaluateOptions& options,
    const std::function<ClassificationReport(const Vectors& known, const Vectors& asked, int64_t classes)>& learn) {
  const auto start = Clock::now();
  if (model.info().embedding_dim == 0)
    Fail(ErrorCode::kUnimplemented, "[eval] the model ", base::PrintableUtf8(model.info().name), " gives no embedding");
  const std::string named = field.empty() ? kNameField : field;
  const Classes classes(eval::CollectLabels(train, named), named, false);
  Require(classes.size() >= 2, "[eval] expected at least two values of \"", base::PrintableUtf8(named),
          "\" in the training shards, got ", classes.size());
  const Vectors known = EmbedShards(model, classes, train, options, "training");
  const Vectors asked = EmbedShards(model, classes, test, options, "test");
  const ClassificationReport report = learn(known, asked, classes.size());
  std::vector<Judgement> judgements;
  for (size_t i = 0; i < asked.labels.size(); ++i) judgements.push_back({asked.labels[i], report.ranks[i]});
  ClassifyMetrics metrics = Summary(judgements, classes.names(), options);
  metrics.failed = known.failed + asked.failed;
  metrics.train_n = static_cast<int64_t>(known.labels.size());
  metrics.seconds = SecondsSince(start);
  return metrics;
}

// The penalty that does best on every fifth training vector, learnt from the others.
double ChoosePenalty(const Vectors& vectors, LinearProbeOptions options) {
  Vectors kept, held;
  for (size_t i = 0; i < vectors.labels.size(); ++i) {
    Vectors& part = i % 5 == 4 ? held : kept;
    const auto row = vectors.values.begin() + static_cast<int64_t>(i) * options.dim;
    part.values.insert(part.values.end(), row, row + options.dim);
    part.labels.push_back(vectors.labels[i]);
  }
  Require(!held.labels.empty(), "[eval] expected at least 5 training pictures to choose a penalty, got ",
          vectors.labels.size());
  double chosen = 0, best = -1;
  for (const double penalty : {1e2, 1e1, 1.0, 1e-1, 1e-2, 1e-3, 1e-4}) {  // the stronger one wins a tie
    options.penalty = penalty;
    const double top1 = MeasureLinearProbe(kept, held, options).top1;
    if (top1 <= best) continue;
    best = top1;
    chosen = penalty;
  }
  return chosen;
}

}  // namespace

ClassifyMetrics EvaluateClassify(const Model& model, const std::vector<std::string>& shards,
                                 const EvaluateOptions& options, const std::string& field) {
  return Evaluate(Classes(model.class_names(), field), shards, options,
                  [&](std::span<const Image> images) { return model.Classify(images, {.top_k = kTop}); });
}

ClassifyMetrics EvaluateClassify(const Model& model, const LabelSet& labels, const std::vector<std::string>& shards,
                                 const EvaluateOptions& options, const std::string& field) {
  return Evaluate(Classes(labels.names(), field.empty() ? kNameField : field), shards, options,
                  [&](std::span<const Image> images) { return model.Classify(images, labels, {.top_k = kTop}); });
}

std::vector<std::string> LabelsInShards(const std::vector<std::string>& shards, const std::string& field) {
  return eval::CollectLabels(shards, field);
}

ClassifyMetrics EvaluateKnn(const Model& model, const std::vector<std::string>& train,
                            const std::vector<std::string>& test, const std::string& field, const KnnOptions& knn,
                            const EvaluateOptions& options) {
  return Learn(model, train, test, field, options, [&](const Vectors& known, const Vectors& asked, int64_t classes) {
    KnnOptions filled = knn;
    filled.dim = model.info().embedding_dim;
    filled.classes = classes;
    return MeasureKnn(known, asked, filled);
  });
}

ClassifyMetrics EvaluateLinearProbe(const Model& model, const std::vector<std::string>& train,
                                    const std::vector<std::string>& test, const std::string& field,
                                    const LinearProbeOptions& probe, const EvaluateOptions& options,
                                    double* used_penalty) {
  return Learn(model, train, test, field, options, [&](const Vectors& known, const Vectors& asked, int64_t classes) {
    LinearProbeOptions filled = probe;
    filled.dim = model.info().embedding_dim;
    filled.classes = classes;
    if (filled.penalty < 0) filled.penalty = ChoosePenalty(known, filled);
    if (used_penalty != nullptr) *used_penalty = filled.penalty;
    return MeasureLinearProbe(known, asked, filled);
  });
}

}  // namespace fovea
