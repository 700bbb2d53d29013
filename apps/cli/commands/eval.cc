// `fovea eval`: how good a model is, one task a function.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/common.h"
#include "commands/eval_tasks.h"
#include "fovea/eval.h"

namespace fovea::cli {
namespace {

Json Head(const Job& job, const Model& model) {
  return {{"task", job.arguments.task}, {"model", Printable(model.info().name)}};
}

// ---- classes

void PrintClasses(const ClassifyMetrics& metrics, Json object, const Job& job) {
  job.console.EndProgress();
  if (job.arguments.json) {
    object.update({{"n", metrics.n}, {"failed", metrics.failed}, {"classes", metrics.classes}});
    if (metrics.train_n > 0) object["train_n"] = metrics.train_n;
    object.update({{"top1", metrics.top1},
                   {"top5", metrics.top5},
                   {"class_mean", metrics.class_mean},
                   {"majority", metrics.majority}});
    if (!std::isnan(metrics.calibration_error))
      object.update({{"ece", metrics.calibration_error}, {"confidence", metrics.confidence}});
    AddInterval(object["ci95"] = Json::object(), "top1", metrics.top1_interval);
    AddInterval(object["ci95"], "top5", metrics.top5_interval);
    if (job.arguments.eval.by_class) {
      object["by_class"] = Json::array();
      for (const ClassifyMetrics::Class& one : metrics.by_class)
        if (one.n > 0) object["by_class"].push_back({{"label", one.name}, {"n", one.n}, {"found", one.found}});
    }
    object["seconds"] = Rounded(metrics.seconds);
    return job.console.Json(object);
  }
  job.console.Line("top-1 " + WithInterval(metrics.top1, metrics.top1_interval, job.console) + ", top-5 " +
                   WithInterval(metrics.top5, metrics.top5_interval, job.console) + " of " + Count(metrics.n) +
                   " pictures, " + Count(metrics.classes) + " classes, in " + Duration(metrics.seconds));
  job.console.Line(job.console.Dim("mean of the classes " + Percent(metrics.class_mean) +
                                   "; always the most frequent one " + Percent(metrics.majority)));
  if (!std::isnan(metrics.calibration_error))
    job.console.Line(job.console.Dim("mean confidence " + Percent(metrics.confidence) + ", calibration error " +
                                     Percent(metrics.calibration_error)));
  if (!job.arguments.eval.by_class) return;
  for (const ClassifyMetrics::Class& one : metrics.by_class) {
    if (one.n == 0) continue;
    job.console.Line("  " + Percent(static_cast<double>(one.found) / static_cast<double>(one.n)) + " of " +
                     Count(one.n) + "  " + Printable(one.name));
  }
}

// The classes to choose among when they are words: those of --labels-file, else, for a model without classes of its
// own, the values in the shards.
LabelSet ReadLabels(const Job& job, const Model& model, const std::string& field) {
  LabelOptions options;
  if (!job.arguments.templates.empty()) options.templates = job.arguments.templates;
  std::vector<std::string> names;
  if (!job.arguments.labels_file.empty()) {
    names = LinesOf(job.arguments.labels_file, false);
  } else {
    const std::string named = field.empty() ? "name" : field;
    names = LabelsInShards(job.arguments.shards, named);
    if (names.empty()) {
      throw Error(ErrorCode::kInvalidArgument, "the shards have no label \"" + Printable(named) +
                                                   "\"; hint: give the classes with --labels-file, or name another "
                                                   "label with --label-field");
    }
  }
  return model.PrepareLabels(names, options);
}

int64_t EvalClassify(const Job& job) {
  const Model model = LoadModel(job.arguments);
  const std::string& field = job.arguments.eval.label_field;
  const bool has_words = !job.arguments.labels_file.empty() || (model.info().classes == 0 && Can(model, "match"));
  const ClassifyMetrics metrics =
      has_words ? EvaluateClassify(model, ReadLabels(job, model, field), job.arguments.shards, job.options, field)
                : EvaluateClassify(model, job.arguments.shards, job.options, field);
  PrintClasses(metrics, Head(job, model), job);
  return metrics.failed;
}

int64_t EvalKnn(const Job& job) {
  const Model model = LoadModel(job.arguments);
  const EvalArguments& eval = job.arguments.eval;
  const ClassifyMetrics metrics =
      EvaluateKnn(model, eval.train, job.arguments.shards, eval.label_field, {.k = eval.neighbours}, job.options);
  Json head = Head(job, model);
  head["k"] = eval.neighbours;
  PrintClasses(metrics, head, job);
  return metrics.failed;
}

int64_t EvalLinearProbe(const Job& job) {
  const Model model = LoadModel(job.arguments);
  const EvalArguments& eval = job.arguments.eval;
  double penalty = 0;
  const ClassifyMetrics metrics = EvaluateLinearProbe(model, eval.train, job.arguments.shards, eval.label_field,
                                                      {.penalty = eval.penalty}, job.options, &penalty);
  Json head = Head(job, model);
  head["penalty"] = penalty;
  PrintClasses(metrics, head, job);
  return metrics.failed;
}

// ---- retrieval

Json DirectionObject(const RetrievalDirection& direction, const RetrievalMetrics::Intervals& intervals) {
  Json object = {{"r1", direction.recall_at_1},
                 {"r5", direction.recall_at_5},
                 {"r10", direction.recall_at_10},
                 {"median_rank", direction.median_rank}};
  Json ci = Json::object();
  AddInterval(ci, "r1", intervals.recall_at_1);
  AddInterval(ci, "r5", intervals.recall_at_5);
  AddInterval(ci, "r10", intervals.recall_at_10);
  AddInterval(ci, "median_rank", intervals.median_rank);
  object["ci95"] = ci;
  return object;
}

int64_t EvalRetrieval(const Job& job) {
  const Model model = LoadModel(job.arguments);
  const RetrievalMetrics metrics = EvaluateRetrieval(model, job.arguments.shards, job.options);
  const RetrievalReport& report = metrics.report;
  job.console.EndProgress();
  if (job.arguments.json) {
    Json object = Head(job, model);
    object.update({{"n", report.images},
                   {"texts", report.texts},
                   {"failed", metrics.failed},
                   {"without_caption", metrics.without},
                   {"image_to_text", DirectionObject(report.image_to_text, metrics.image_to_text)},
                   {"text_to_image", DirectionObject(report.text_to_image, metrics.text_to_image)},
                   {"seconds", Rounded(metrics.seconds)}});
    job.console.Json(object);
    return metrics.failed;
  }
  const auto print = [&](const char* name, const RetrievalDirection& direction,
                         const RetrievalMetrics::Intervals& intervals) {
    char median[32];
    std::snprintf(median, sizeof median, "%.4g", direction.median_rank);
    job.console.Line(
        std::string(name) + "  R@1 " + WithInterval(direction.recall_at_1, intervals.recall_at_1, job.console) +
        "  R@5 " + WithInterval(direction.recall_at_5, intervals.recall_at_5, job.console) + "  R@10 " +
        WithInterval(direction.recall_at_10, intervals.recall_at_10, job.console) + "  median rank " + median);
  };
  print("picture to text", report.image_to_text, metrics.image_to_text);
  print("text to picture", report.text_to_image, metrics.text_to_image);
  job.console.Line(job.console.Dim(Count(report.images) + " pictures, " + Count(report.texts) + " texts, in " +
                                   Duration(metrics.seconds)));
  return metrics.failed;
}

// ---- search

int64_t EvalSearch(const Job& job) {
  const Model model = LoadModel(job.arguments);
  const std::optional<Model> labeler = LoadLabeler(model, job.console);
  std::optional<LibraryCaptioner> captioner;
  if (!job.arguments.caption.captioner.empty()) captioner = CaptionerOf(job.arguments.caption.captioner);
  SearchEvaluationOptions search{.labeler = labeler ? &*labeler : nullptr,
                                 .captioner = captioner ? &*captioner : nullptr};
  search.foreign = job.arguments.eval.foreign;
  if (!job.arguments.eval.queries.empty()) search.queries = LinesOf(job.arguments.eval.queries, false);
  const SearchMetrics metrics = EvaluateSearch(model, job.arguments.shards, search, job.options);
  job.console.EndProgress();
  Json object = Head(job, model);
  object.update({{"n", metrics.pictures}, {"failed", metrics.failed}});
  for (const auto& [name, kind] : {std::pair{"words", &metrics.words}, std::pair{"captions", &metrics.captions},
                                   std::pair{"foreign", &metrics.foreign}}) {
    if (job.arguments.json) {
      object[name] = {{"present", kind->present}, {"returned", kind->returned}, {"precision", kind->precision},
                      {"removed", kind->removed}, {"empty", kind->empty},       {"area", kind->area}};
      continue;
    }
    std::string line = PadRight(name, 8);
    if (kind->present > 0) {
      char area[32];
      std::snprintf(area, sizeof area, "%.3f", kind->area);
      line += "  found " + job.console.Bold(Percent(kind->returned)) + " of " + Count(kind->present) +
              " that are there (right: " + Percent(kind->precision) + " of an answer; area " + area + ");";
    }
    if (kind->removed > 0) {
      line += "  no answer to " + job.console.Bold(Percent(kind->empty)) + " of " + Count(kind->removed) +
              (kind->present > 0 ? " whose pictures were removed" : " that nothing fits");
    }
    if (kind->present + kind->removed > 0) job.console.Line(line);
  }
  object["seconds"] = Rounded(metrics.seconds);
  if (job.arguments.json) job.console.Json(object);
  return metrics.failed;
}

struct Task {
  const char* name;
  int64_t (*run)(const Job& job);  // returns how many samples failed
};
constexpr Task kTasks[] = {
    {"caption", EvalCaption}, {"classify", EvalClassify},   {"knn", EvalKnn},       {"linear-probe", EvalLinearProbe},
    {"pope", EvalPope},       {"retrieval", EvalRetrieval}, {"search", EvalSearch}, {"vqa", EvalVqa}};

}  // namespace

double Rounded(double seconds) { return std::round(seconds * 1000) / 1000; }

void AddInterval(Json& object, const std::string& name, const Interval& interval) {
  if (!std::isnan(interval.low)) object[name] = {interval.low, interval.high};
}

std::string WithInterval(double share, const Interval& interval, const Console& console) {
  char numbers[64];
  std::snprintf(numbers, sizeof numbers, "%.1f %%", 100 * share);
  std::string text = console.Bold(numbers);
  if (std::isnan(interval.low)) return text;
  std::snprintf(numbers, sizeof numbers, " (%.1f-%.1f)", 100 * interval.low, 100 * interval.high);
  return text + console.Dim(numbers);
}

std::vector<std::string> EvalTasks() {
  std::vector<std::string> names;
  for (const Task& task : kTasks) names.push_back(task.name);
  return names;
}

Exit Eval(const Arguments& arguments, Console& console) {
  UseThreads(arguments);
  int64_t failed = 0;
  console.BeginProgress(0);
  const EvaluateOptions options{
      .on_progress =
          [&](int64_t done) {
            console.Progress(done, 0, failed);
            if (interrupted) throw Error(ErrorCode::kCancelled, "interrupted");
          },
      .on_failure =
          [&](const std::string& key, const std::string& reason) {
            ++failed;
            console.Failure(key, reason);
          },
      .max_samples = arguments.eval.max_samples,
      .held_back = arguments.eval.held_back,
      .resamples = arguments.eval.resamples,
      .seed = static_cast<uint64_t>(arguments.eval.seed),
  };
  const auto task =
      std::ranges::find_if(kTasks, [&](const Task& candidate) { return candidate.name == arguments.task; });
  return ExitFor(task->run({arguments, console, options}), console);
}

}  // namespace fovea::cli
