// The commands: each reads its arguments, calls include/fovea, and prints. What goes wrong with one input is told on
// stderr and counted; what goes wrong with the whole command is thrown and told by main.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "cli.h"
#include "fovea/doctor.h"
#include "fovea/error.h"
#include "fovea/eval.h"
#include "fovea/hub.h"
#include "fovea/image.h"
#include "fovea/library.h"
#include "fovea/model.h"
#include "output.h"
#include "pictures.h"

namespace fovea::cli {
namespace {

using Json = nlohmann::ordered_json;

// Takes `arguments.threads` as the limit of this process and returns it.
int UseThreads(const Arguments& arguments) {
  if (arguments.threads > 0) omp_set_num_threads(static_cast<int>(arguments.threads));
  return omp_get_max_threads();
}

Model LoadModel(const Arguments& arguments) {
  return Model::Load(arguments.model.empty() ? DefaultModelName() : arguments.model);
}

Exit ExitFor(int64_t failed, const Console& console) {
  if (interrupted) return kInterrupted;
  return failed > 0 || console.has_write_error() ? kSomeFailed : kDone;
}

Json FailureObject(const std::string& path, const Error& error) {
  Json object = PathObject(path);
  object["error"] = error.message();
  object["code"] = ErrorCodeName(error.code());
  return object;
}

// Runs `see` over all inputs and gives each success to `print`; failures are told, counted and, with --json, printed in
// their place.
Exit RunPictures(const Arguments& arguments, Console& console, const std::function<Analysis(const Image&)>& see,
                 const std::vector<Input>& inputs, const std::function<void(const Input&, const Outcome&)>& print) {
  const auto total = static_cast<int64_t>(inputs.size());
  int64_t failed = 0;
  console.BeginProgress(total);
  ForEachPicture(inputs, UseThreads(arguments), see, [&](int64_t index, const Outcome& outcome) {
    const Input& input = inputs[static_cast<size_t>(index)];
    if (outcome.error) {
      ++failed;
      console.Failure(input.path, outcome.error->message());
      if (arguments.json) console.Json(FailureObject(input.path, *outcome.error));
    }
    print(input, outcome);
    console.Progress(index + 1, total, failed);
    return !console.is_closed() && !console.has_write_error();
  });
  console.EndProgress();
  return ExitFor(failed, console);
}

// The non-empty lines of a file, without the line ends.
std::vector<std::string> LinesOf(const std::string& path, bool keeps_empty) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorCode::kNotFound, "cannot read " + Printable(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (keeps_empty || !line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

// a,b,c without the spaces around them.
std::vector<std::string> SplitLabels(const std::string& text) {
  std::vector<std::string> labels;
  std::istringstream stream(text);
  for (std::string label; std::getline(stream, label, ',');) {
    const size_t begin = label.find_first_not_of(" \t"), end = label.find_last_not_of(" \t");
    if (begin != std::string::npos) labels.push_back(label.substr(begin, end - begin + 1));
  }
  return labels;
}

bool Can(const Model& model, const char* capability) {
  const auto& all = model.info().capabilities;
  return std::find(all.begin(), all.end(), capability) != all.end();
}

void PrintLabels(const Input& input, const std::vector<Label>& labels, Console& console) {
  std::string block = console.Bold(Printable(input.path));
  int width = 0;
  for (const Label& label : labels) width = std::max(width, std::min<int>(36, static_cast<int>(label.name.size())));
  for (size_t i = 0; i < labels.size(); ++i) {
    const double score = labels[i].score;
    const std::string bar = console.Bar(score, 24);
    std::string line = PadRight(Printable(labels[i].name), bar.empty() ? 0 : width);
    if (i == 0) line = console.Bold(line);
    block += "\n  " + Percent(score) + "  " + line;
    if (!bar.empty()) block += "  " + (i == 0 ? console.Green(bar) : console.Dim(bar));
  }
  console.Line(block);
}

}  // namespace

Exit Classify(const Arguments& arguments, Console& console) {
  const Model model = LoadModel(arguments);
  std::optional<LabelSet> labels;
  if (!arguments.labels.empty() || !arguments.labels_file.empty()) {
    if (!Can(model, "match")) {
      throw Error(ErrorCode::kUnimplemented,
                  "the model " + Printable(model.info().name) +
                      " has no text tower, so it cannot compare pictures with labels of yours; hint: leave out "
                      "--labels to use the model's own classes");
    }
    LabelOptions options;
    if (!arguments.templates.empty()) options.templates = arguments.templates;
    labels = model.PrepareLabels(
        arguments.labels.empty() ? LinesOf(arguments.labels_file, false) : SplitLabels(arguments.labels), options);
  } else if (!Can(model, "classify")) {
    throw Error(ErrorCode::kUnimplemented, "the model " + Printable(model.info().name) + " has no classes" +
                                               (Can(model, "match") ? "; hint: give it some with --labels a,b,c" : ""));
  }
  const auto see = [&](const Image& image) {
    const ClassifyOptions options{.top_k = arguments.top};
    auto best = labels ? model.Classify({&image, 1}, *labels, options) : model.Classify({&image, 1}, options);
    return Analysis{.labels = std::move(best.at(0))};
  };
  return RunPictures(arguments, console, see, ExpandInputs(arguments.inputs),
                     [&](const Input& input, const Outcome& outcome) {
                       if (outcome.error) return;
                       if (!arguments.json) return PrintLabels(input, outcome.analysis.labels, console);
                       Json object = PathObject(input.path);
                       object["labels"] = Json::array();
                       for (const Label& label : outcome.analysis.labels) {
                         object["labels"].push_back(
                             {{"label", label.name}, {"score", ShortestDouble(label.score)}, {"index", label.index}});
                       }
                       object["ms"] = std::round(outcome.ms * 100) / 100;
                       console.Json(object);
                     });
}

namespace {

void PrintEmbedding(Json object, const std::string& shown, const std::vector<float>& embedding, bool json,
                    Console& console) {
  if (json) {
    Json& values = object["embedding"] = Json::array();
    for (const float value : embedding) values.push_back(ShortestDouble(value));
    return console.Json(object);
  }
  std::string line = console.Bold(Printable(shown)) + "  [" + std::to_string(embedding.size()) + "] ";
  for (size_t i = 0; i < std::min<size_t>(embedding.size(), 6); ++i)
    line += Json(ShortestDouble(embedding[i])).dump() + " ";
  console.Line(line + "...");
}

Exit EmbedTexts(const Model& model, const Arguments& arguments, Console& console) {
  if (!Can(model, "embed_text")) {
    throw Error(ErrorCode::kUnimplemented, "the model " + Printable(model.info().name) +
                                               " has no text tower, so it cannot embed text; hint: it embeds pictures: "
                                               "fovea embed IMAGE...");
  }
  constexpr size_t kAtOnce = 256;
  UseThreads(arguments);
  const std::vector<std::string> texts = arguments.texts.empty() ? LinesOf(arguments.text_file, true) : arguments.texts;
  const auto total = static_cast<int64_t>(texts.size());
  std::optional<NpyWriter> file;
  if (!arguments.output.empty()) file.emplace(arguments.output, total, model.info().embedding_dim);
  console.BeginProgress(total);
  for (size_t begin = 0; begin < texts.size() && !interrupted && !console.is_closed(); begin += kAtOnce) {
    const auto part = std::span(texts).subspan(begin, std::min(kAtOnce, texts.size() - begin));
    const auto embeddings = model.EmbedTexts(part);
    for (size_t i = 0; i < part.size(); ++i) {
      if (file) file->Append(embeddings[i]);
      if (!file || arguments.json)
        PrintEmbedding({{"text", Printable(part[i])}}, part[i], embeddings[i], arguments.json, console);
    }
    console.Progress(static_cast<int64_t>(begin + part.size()), total, 0);
  }
  console.EndProgress();
  if (file) file->Finish();
  return ExitFor(0, console);
}

}  // namespace

Exit Embed(const Arguments& arguments, Console& console) {
  const Model model = LoadModel(arguments);
  if (!arguments.texts.empty() || !arguments.text_file.empty()) return EmbedTexts(model, arguments, console);
  const int64_t dim = model.info().embedding_dim;
  if (dim == 0 || !Can(model, "embed_image"))
    throw Error(ErrorCode::kUnimplemented, "the model " + Printable(model.info().name) + " gives no embedding");
  const std::vector<Input> inputs = ExpandInputs(arguments.inputs);
  std::optional<NpyWriter> file;
  if (!arguments.output.empty()) file.emplace(arguments.output, static_cast<int64_t>(inputs.size()), dim);
  const auto see = [&](const Image& image) {
    return Analysis{.embedding = std::move(model.EmbedImages({&image, 1}).at(0))};
  };
  int64_t missing = 0;
  const Exit exit = RunPictures(arguments, console, see, inputs, [&](const Input& input, const Outcome& outcome) {
    const std::vector<float>& embedding = outcome.analysis.embedding;
    if (file) file->Append(embedding);
    if (outcome.error) {
      ++missing;
    } else if (!file || arguments.json) {
      PrintEmbedding(PathObject(input.path), input.path, embedding, arguments.json, console);
    }
  });
  if (file) {
    file->Finish();
    console.Note(
        Printable(arguments.output) + ": float32 [" + std::to_string(inputs.size()) + ", " + std::to_string(dim) + "]" +
        (missing > 0 ? ", NaN in " + std::to_string(missing) + (missing == 1 ? " row" : " rows") + " for what failed"
                     : ""));
  }
  return exit;
}

namespace {

std::string DatabaseFile(const Arguments& arguments) {
  return arguments.database.empty() ? Library::DefaultFile() : arguments.database;
}

// The library keeps absolute paths; people see those below the current folder relative to it.
std::string FromHere(const std::string& path) {
  std::error_code error;
  const std::string here = std::filesystem::current_path(error).native() + "/";
  return !error && path.starts_with(here) ? path.substr(here.size()) : path;
}

void PrintReport(const IndexReport& report, const std::string& file, int64_t size, bool json, Console& console) {
  if (json) {
    return console.Json({{"added", report.added},
                         {"updated", report.updated},
                         {"moved", report.moved},
                         {"unchanged", report.unchanged},
                         {"removed", report.removed},
                         {"failed", report.failed},
                         {"seconds", std::round(report.seconds * 1000) / 1000}});
  }
  const std::pair<const char*, int64_t> parts[] = {{"added", report.added},     {"updated", report.updated},
                                                   {"moved", report.moved},     {"unchanged", report.unchanged},
                                                   {"removed", report.removed}, {"failed", report.failed}};
  std::string line;
  for (const auto& [name, count] : parts) {
    if (count > 0) line += (line.empty() ? "" : ", ") + Count(count) + " " + name;
  }
  const int64_t computed = report.added + report.updated;
  line = (line.empty() ? "nothing to do" : line) + " in " + Duration(report.seconds);
  if (computed > 0 && report.seconds > 0)
    line += " (" + Count(std::llround(static_cast<double>(computed) / report.seconds)) + " pictures/s)";
  console.Line(line);
  console.Line(Count(size) + (size == 1 ? " picture in " : " pictures in ") + Printable(FromHere(file)));
}

// Both rankings in one: reciprocal ranks summed (Cormack et al. 2009), scaled so that first in both is 1.
std::vector<SearchHit> Fused(const std::vector<SearchHit>& by_image, const std::vector<SearchHit>& by_words,
                             int64_t limit) {
  constexpr double kDamping = 60;
  std::map<std::string, SearchHit> by_path;
  for (const auto* hits : {&by_image, &by_words}) {
    for (size_t rank = 0; rank < hits->size(); ++rank) {
      SearchHit& hit = by_path[(*hits)[rank].path];
      hit.path = (*hits)[rank].path;
      hit.score += 0.5 * (kDamping + 1) / (kDamping + 1 + static_cast<double>(rank));
      hit.why += (hit.why.empty() ? "" : "; ") + (*hits)[rank].why;
    }
  }
  std::vector<SearchHit> fused;
  for (auto& [path, hit] : by_path) fused.push_back(std::move(hit));
  std::stable_sort(fused.begin(), fused.end(),
                   [](const SearchHit& a, const SearchHit& b) { return a.score > b.score; });
  if (static_cast<int64_t>(fused.size()) > limit) fused.resize(static_cast<size_t>(limit));
  return fused;
}

std::vector<SearchHit> FindHits(const Arguments& arguments, const Library& library, const std::string& words) {
  const SearchOptions options{.limit = arguments.limit, .all = arguments.all};
  if (arguments.image.empty()) return library.SearchByWords(words, options);
  const Image image = ReadImage(arguments.image);
  const std::vector<SearchHit> by_image = library.SearchByImage(image, LoadModel(arguments), options);
  return words.empty() ? by_image : Fused(by_image, library.SearchByWords(words, options), arguments.limit);
}

}  // namespace

Exit Index(const Arguments& arguments, Console& console) {
  UseThreads(arguments);
  const std::string file = DatabaseFile(arguments);
  const Model model = LoadModel(arguments);
  Library library = Library::Open(file, {});
  console.BeginProgress(0);
  const IndexOptions options{
      .on_progress =
          [&](const IndexProgress& progress) { console.Progress(progress.done, progress.total, progress.failed); },
      .on_failure = [&](const IndexFailure& failure) { console.Failure(failure.path, failure.reason); },
      .cancel = &interrupted,
  };
  const IndexReport report = library.Index(arguments.inputs, model, options);
  console.EndProgress();
  PrintReport(report, file, library.size(), arguments.json, console);
  return ExitFor(report.failed, console);
}

Exit Search(const Arguments& arguments, Console& console) {
  UseThreads(arguments);
  const std::string file = DatabaseFile(arguments);
  if (!std::filesystem::exists(file)) {
    throw Error(ErrorCode::kNotFound, "there is no library " + Printable(file) +
                                          "; hint: make one with fovea index DIR" +
                                          (arguments.database.empty() ? "" : " --db FILE"));
  }
  std::string words;
  for (const std::string& word : arguments.words) words += (words.empty() ? "" : " ") + word;
  const Library library = Library::Open(file, {.read_only = true});
  const std::vector<SearchHit> hits = FindHits(arguments, library, words);
  std::vector<std::string> shown;
  int width = 0;
  for (const SearchHit& hit : hits) {
    shown.push_back(Printable(FromHere(hit.path)));
    width = std::max(width, std::min<int>(60, static_cast<int>(shown.back().size())));
  }
  for (size_t i = 0; i < hits.size() && !console.is_closed(); ++i) {
    if (arguments.json) {
      Json object = PathObject(hits[i].path);
      object["score"] = std::round(hits[i].score * 1e6) / 1e6;
      object["why"] = hits[i].why;
      console.Json(object);
    } else {
      console.Line(Percent(hits[i].score) + "  " + console.Bold(PadRight(shown[i], width)) + "  " +
                   console.Dim(Printable(hits[i].why)));
    }
  }
  if (hits.empty()) console.Note("nothing found among " + Count(library.size()) + " pictures");
  return ExitFor(0, console);
}

Exit Eval(const Arguments& arguments, Console& console) {
  UseThreads(arguments);
  const Model model = LoadModel(arguments);
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
  };
  const ClassifyMetrics metrics = EvaluateClassify(model, arguments.shards, options);
  console.EndProgress();
  if (arguments.json) {
    console.Json({{"task", arguments.task},
                  {"model", model.info().name},
                  {"n", metrics.n},
                  {"failed", metrics.failed},
                  {"top1", metrics.top1},
                  {"top5", metrics.top5},
                  {"seconds", std::round(metrics.seconds * 1000) / 1000}});
  } else {
    console.Line("top-1 " + console.Bold(Percent(metrics.top1)) + ", top-5 " + console.Bold(Percent(metrics.top5)) +
                 " of " + Count(metrics.n) + " pictures in " + Duration(metrics.seconds));
  }
  return ExitFor(metrics.failed, console);
}

namespace {

// "name   value" lines with aligned values; empty values are left out.
void PrintFacts(const std::vector<std::pair<std::string, std::string>>& facts, Console& console) {
  int width = 0;
  for (const auto& [name, value] : facts) width = std::max(width, static_cast<int>(name.size()));
  for (const auto& [name, value] : facts) {
    if (!value.empty()) console.Line(console.Dim(PadRight(name, width)) + "  " + Printable(value));
  }
}

std::string Joined(const std::vector<std::string>& items, const char* separator) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : separator) + item;
  return text;
}

}  // namespace

Exit Verify(const Arguments& arguments, Console& console) {
  UseThreads(arguments);
  const std::vector<StageReport> reports = fovea::Verify(arguments.model, arguments.golden);
  int64_t failed = 0;
  int width = 0;
  for (const StageReport& report : reports) width = std::max(width, static_cast<int>(report.stage.size()));
  const StageReport* worst = &reports.front();
  for (const StageReport& report : reports) {
    failed += !report.ok;
    if (report.max_rel > worst->max_rel) worst = &report;
    if (arguments.json) {
      console.Json({{"stage", report.stage},
                    {"max_abs", report.max_abs},
                    {"max_rel", report.max_rel},
                    {"tolerance", report.tolerance},
                    {"ok", report.ok}});
      continue;
    }
    char numbers[80];
    std::snprintf(numbers, sizeof numbers, "%10.3g %10.3g  ", report.max_abs, report.max_rel);
    console.Line(PadRight(Printable(report.stage), width) + numbers +
                 (report.ok ? console.Green("ok") : console.Yellow("differs")));
  }
  if (!arguments.json) {
    char share[32];
    std::snprintf(share, sizeof share, "%.3g", worst->max_rel);
    console.Line(failed == 0 ? console.Green("all " + Count(static_cast<int64_t>(reports.size())) + " stages agree") +
                                   "; largest error " + share + " of the scale, in " + Printable(worst->stage)
                             : console.Yellow(Count(failed) + " of " + Count(static_cast<int64_t>(reports.size())) +
                                              " stages differ"));
  }
  return ExitFor(failed, console);
}

namespace {

Exit ListArchitectures(const Arguments& arguments, Console& console) {
  int width = 0;
  for (const ArchitectureInfo& a : Architectures()) width = std::max(width, static_cast<int>(a.model_type.size()));
  for (const ArchitectureInfo& a : Architectures()) {
    if (arguments.json) {
      console.Json({{"model_type", a.model_type},
                    {"title", a.title},
                    {"tasks", a.tasks},
                    {"paper", a.paper},
                    {"reference", a.reference},
                    {"checkpoints", a.checkpoints}});
    } else {
      console.Line(console.Bold(PadRight(a.model_type, width)) + "  " + a.tasks + "  " + console.Dim(a.paper));
    }
  }
  return ExitFor(0, console);
}

}  // namespace

Exit Info(const Arguments& arguments, Console& console) {
  const Model model = LoadModel(arguments);
  const ModelInfo& info = model.info();
  if (arguments.json) {
    console.Json({{"name", info.name},
                  {"path", info.path},
                  {"model_type", info.model_type},
                  {"fingerprint", info.fingerprint},
                  {"licence", info.licence},
                  {"input", info.input},
                  {"parameters", info.parameters},
                  {"memory_bytes", info.memory_bytes},
                  {"classes", info.classes},
                  {"embedding_dim", info.embedding_dim},
                  {"max_text_tokens", info.max_text_tokens},
                  {"capabilities", info.capabilities}});
    return ExitFor(0, console);
  }
  console.Line(console.Bold(Printable(info.name)));
  PrintFacts({{"  architecture", info.model_type},
              {"  parameters", Count(info.parameters)},
              {"  memory", Bytes(info.memory_bytes)},
              {"  input", info.input},
              {"  classes", info.classes > 0 ? Count(info.classes) : ""},
              {"  embedding", info.embedding_dim > 0 ? Count(info.embedding_dim) + " numbers" : ""},
              {"  text", info.max_text_tokens > 0 ? "up to " + Count(info.max_text_tokens) + " tokens" : ""},
              {"  can", Joined(info.capabilities, ", ")},
              {"  licence", info.licence},
              {"  folder", info.path},
              {"  fingerprint", info.fingerprint}},
             console);
  return ExitFor(0, console);
}

Exit Models(const Arguments& arguments, Console& console) {
  if (arguments.architectures) return ListArchitectures(arguments, console);
  const std::vector<ModelListing> models = ListModels();
  int name_width = 0, type_width = 0;
  for (const ModelListing& model : models) {
    name_width = std::max(name_width, static_cast<int>(model.name.size()));
    type_width = std::max(type_width, static_cast<int>(model.model_type.size()));
  }
  for (const ModelListing& model : models) {
    if (arguments.json) {
      console.Json({{"name", model.name},
                    {"path", model.path},
                    {"model_type", model.model_type},
                    {"licence", model.licence},
                    {"size_bytes", model.size_bytes},
                    {"revision", model.revision}});
    } else {
      const std::string licence = model.licence.empty() ? "" : "  " + Printable(model.licence);
      console.Line(console.Bold(PadRight(Printable(model.name), name_width)) + "  " +
                   PadRight(Printable(model.model_type), type_width) + "  " + Bytes(model.size_bytes) + licence + "  " +
                   console.Dim(Printable(model.path)));
    }
  }
  if (models.empty()) console.Note("no model found in " + Joined(ModelSearchPath(), ", "));
  return ExitFor(0, console);
}

namespace {

std::string Files(int64_t count) { return Count(count) + (count == 1 ? " file" : " files"); }

}  // namespace

// Models from a hub into the user's data folder, and out of it again.
Exit Pull(const Arguments& arguments, Console& console) {
  PullOptions options{.revision = arguments.revision,
                      .include = arguments.include,
                      .allow_pickle = arguments.allow_pickle,
                      .offline = arguments.offline,
                      .max_bytes = arguments.max_bytes,
                      .cancel = &interrupted};
  options.on_progress = [&](const PullProgress& progress) {
    console.Progress(progress.bytes_done, progress.bytes_total, 0);
  };
  options.on_note = [&](const std::string& note) { console.Note("pull: " + Printable(note)); };
  console.BeginProgress(0, Console::Unit::kBytes);
  const PullReport report = fovea::Pull(arguments.repo, options);
  console.EndProgress();
  const auto files = static_cast<int64_t>(report.files.size());
  if (arguments.json) {
    Json object = PathObject(report.folder);
    object["repo"] = report.repo;
    object["revision"] = report.revision;
    object["licence"] = report.licence;
    object["files"] = files;
    object["size_bytes"] = report.size_bytes;
    object["fetched_bytes"] = report.fetched_bytes;
    object["seconds"] = std::round(report.seconds * 1000) / 1000;
    console.Json(object);
  } else {
    const std::string fetched = report.fetched_bytes > 0
                                    ? Bytes(report.fetched_bytes) + " fetched in " + Duration(report.seconds)
                                    : "complete, nothing to fetch";
    console.Line(console.Bold(Printable(report.repo)) + ": " + Files(files) + ", " + Bytes(report.size_bytes) + ", " +
                 fetched);
    console.Line("licence  " + (report.licence.empty() ? "not stated; look at the model's page before you use it"
                                                       : Printable(report.licence)));
    console.Line("folder   " + Printable(report.folder));
  }
  return ExitFor(0, console);
}

Exit Remove(const Arguments& arguments, Console& console) {
  const RemovedModel removed = RemoveModel(arguments.repo);
  if (arguments.json) {
    Json object = PathObject(removed.folder);
    object["repo"] = removed.repo;
    object["files"] = removed.files;
    object["size_bytes"] = removed.size_bytes;
    console.Json(object);
  } else {
    console.Line("removed " + console.Bold(Printable(removed.repo)) + ": " + Files(removed.files) + ", " +
                 Bytes(removed.size_bytes) + "  " + console.Dim(Printable(removed.folder)));
  }
  return ExitFor(0, console);
}

Exit Convert(const Arguments& arguments, Console& console) {
  const Model model = LoadModel(arguments);
  model.Save(arguments.output, arguments.type);
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(arguments.output)) {
    if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
  }
  if (arguments.json) {
    Json object = PathObject(arguments.output);
    object["type"] = arguments.type;
    object["parameters"] = model.info().parameters;
    object["size_bytes"] = bytes;
    console.Json(object);
  } else {
    console.Line(Printable(arguments.output) + ": " + Count(model.info().parameters) + " parameters as " +
                 arguments.type + ", " + Bytes(bytes));
  }
  return ExitFor(0, console);
}

Exit Doctor(const Arguments& arguments, Console& console) {
  const MachineReport report = ExamineMachine();
  if (arguments.json) {
    Json libraries = Json::array(), folders = Json::array(), models = Json::array();
    for (const LibraryFact& library : report.libraries) {
      libraries.push_back(
          {{"name", library.name}, {"version", library.version}, {"job", library.job}, {"found", library.is_found}});
    }
    for (const FolderFact& folder : report.model_folders)
      folders.push_back({{"path", folder.path}, {"exists", folder.exists}});
    for (const ModelListing& model : report.models) models.push_back(model.name);
    console.Json({{"version", report.version},
                  {"system", report.system},
                  {"cpu", report.cpu},
                  {"cores", report.cores},
                  {"memory_bytes", report.memory_bytes},
                  {"features", report.features},
                  {"simd", report.simd},
                  {"libraries", libraries},
                  {"formats", report.formats},
                  {"model_folders", folders},
                  {"models", models},
                  {"problems", report.problems}});
    return ExitFor(static_cast<int64_t>(report.problems.size()), console);
  }
  console.Line(console.Bold("fovea " + report.version));
  PrintFacts(
      {{"  system", report.system},
       {"  processor", report.cpu + ", " + std::to_string(report.cores) + (report.cores == 1 ? " core" : " cores")},
       {"  features", Joined(report.features, " ")},
       {"  kernels", report.simd},
       {"  memory", Bytes(report.memory_bytes)},
       {"  reads", Joined(report.formats, " ")}},
      console);
  console.Line(console.Bold("libraries"));
  std::vector<std::pair<std::string, std::string>> facts;
  for (const LibraryFact& library : report.libraries) {
    facts.emplace_back("  " + library.name,
                       (library.is_found ? library.version : "missing") + "  (" + library.job + ")");
  }
  PrintFacts(facts, console);
  console.Line(console.Bold("models"));
  for (const FolderFact& folder : report.model_folders) {
    console.Line("  " + Printable(folder.path) + (folder.exists ? "" : console.Dim("  (not there)")));
    for (const ModelListing& model : report.models) {
      if (std::filesystem::path(model.path) == std::filesystem::path(folder.path) / model.name)
        console.Line("    " + Printable(model.name));
    }
  }
  for (const std::string& problem : report.problems) console.Line(console.Yellow("problem: ") + Printable(problem));
  if (report.problems.empty()) console.Line(console.Green("nothing is missing"));
  return ExitFor(static_cast<int64_t>(report.problems.size()), console);
}

}  // namespace fovea::cli
