// `fovea index` and `fovea search`: a library of pictures and what is found in it.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/common.h"
#include "fovea/image.h"
#include "fovea/library.h"

namespace fovea::cli {
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

// `captions`: nullptr when none were asked for.
void PrintReport(const IndexReport& report, const IndexReport* captions, const std::string& file, int64_t size,
                 bool json, Console& console) {
  if (json) {
    Json object = {{"added", report.added},
                   {"updated", report.updated},
                   {"moved", report.moved},
                   {"unchanged", report.unchanged},
                   {"removed", report.removed},
                   {"failed", report.failed},
                   {"seconds", std::round(report.seconds * 1000) / 1000}};
    if (captions != nullptr) {
      object["captions"] = {{"added", captions->added},
                            {"unchanged", captions->unchanged},
                            {"failed", captions->failed},
                            {"seconds", std::round(captions->seconds * 1000) / 1000}};
    }
    return console.Json(object);
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
  if (captions != nullptr) {
    console.Line(Count(captions->added) + (captions->added == 1 ? " caption" : " captions") + " written, " +
                 Count(captions->unchanged) + " there already, in " + Duration(captions->seconds));
  }
  console.Line(Count(size) + (size == 1 ? " picture in " : " pictures in ") + Printable(FromHere(file)));
}

// The model whose vectors the library holds, as it was when it made them. `wants_it`: the search is nothing without.
std::optional<Model> LoadLibraryModel(const LibraryModel& known, bool wants_it, Console& console) {
  for (const std::string& name : {known.path, known.name}) {
    if (name.empty()) continue;
    try {
      Model model = Model::Load(name);
      if (model.info().fingerprint == known.fingerprint) return model;
    } catch (const Error&) {  // the next name, or the message below
    }
  }
  const std::string text = "the library was indexed with " + Printable(known.name) +
                           ", which has changed since or is not here any more; hint: fovea index makes new vectors";
  if (wants_it) throw Error(ErrorCode::kNotFound, text);
  console.Note(text + "; until then words are looked up in labels and names only");
  return std::nullopt;
}

std::optional<Model> ModelToSearchWith(const Arguments& arguments, const Library& library, Console& console) {
  const bool has_words = !arguments.words.empty() || !arguments.without.empty();
  if (arguments.image.empty() && !has_words) return std::nullopt;
  if (!arguments.model.empty()) return LoadModel(arguments);
  const std::vector<LibraryModel> models = library.Models();
  if (models.empty()) return std::nullopt;
  const LibraryModel& best = models.front();
  if (arguments.image.empty() && !best.reads_text) return std::nullopt;
  if (!best.is_complete) {
    console.Note(Printable(best.name) + " has seen " + Count(best.pictures) + " of " + Count(library.size()) +
                 " pictures; hint: fovea index goes on");
  }
  return LoadLibraryModel(best, !arguments.image.empty(), console);
}

std::vector<SearchHit> FindHits(const Arguments& arguments, const Library& library, Console& console) {
  SearchQuery query{.without = arguments.without,
                    .filter = {.after = arguments.after,
                               .before = arguments.before,
                               .folder = arguments.folder,
                               .min_width_px = arguments.min_width,
                               .min_height_px = arguments.min_height}};
  for (const std::string& word : arguments.words) query.words += (query.words.empty() ? "" : " ") + word;
  const std::optional<Model> model = ModelToSearchWith(arguments, library, console);
  if (!arguments.image.empty() && !model) return {};  // an empty library
  Image image;
  if (!arguments.image.empty()) {
    image = ReadImage(arguments.image);
    query.image = &image;
  }
  return library.Search(query, model ? &*model : nullptr, {.limit = arguments.limit, .all = arguments.all});
}

}  // namespace

Exit Index(const Arguments& arguments, Console& console) {
  UseThreads(arguments);
  const std::string file = DatabaseFile(arguments);
  if (arguments.inputs.empty() && !std::filesystem::exists(file)) {
    throw Error(ErrorCode::kNotFound,
                "there is no library " + Printable(file) + " to refresh; hint: name the folders to index");
  }
  const Model model = LoadModel(arguments, kModelOfWords);
  const std::optional<Model> labeler = LoadLabeler(model, console);
  Library library = Library::Open(file, {});
  console.BeginProgress(0);
  const IndexOptions options{
      .labeler = labeler ? &*labeler : nullptr,
      .on_progress =
          [&](const IndexProgress& progress) { console.Progress(progress.done, progress.total, progress.failed); },
      .on_failure = [&](const IndexFailure& failure) { console.Failure(failure.path, failure.reason); },
      .cancel = &interrupted,
  };
  const IndexReport report = library.Index(arguments.inputs, model, options);
  console.EndProgress();
  if (!arguments.caption.for_library || report.cancelled) {
    PrintReport(report, nullptr, file, library.size(), arguments.json, console);
    return ExitFor(report.failed, console);
  }
  const LibraryCaptioner captioner =
      CaptionerOf(arguments.caption.captioner.empty() ? kModelThatTells : arguments.caption.captioner);
  console.BeginProgress(0);
  const IndexReport captions = library.Caption(captioner, options);
  console.EndProgress();
  PrintReport(report, &captions, file, library.size(), arguments.json, console);
  return ExitFor(report.failed + captions.failed, console);
}

Exit Search(const Arguments& arguments, Console& console) {
  UseThreads(arguments);
  const std::string file = DatabaseFile(arguments);
  if (!std::filesystem::exists(file)) {
    throw Error(ErrorCode::kNotFound, "there is no library " + Printable(file) +
                                          "; hint: make one with fovea index DIR" +
                                          (arguments.database.empty() ? "" : " --db FILE"));
  }
  const Library library = Library::Open(file, {.read_only = true});
  const std::vector<SearchHit> hits = FindHits(arguments, library, console);
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
      if (hits[i].is_weak) object["weak"] = true;
      console.Json(object);
    } else {
      console.Line(Percent(hits[i].score) + "  " + console.Bold(PadRight(shown[i], width)) + "  " +
                   console.Dim(Printable((hits[i].is_weak ? "weak: " : "") + hits[i].why)));
    }
  }
  if (hits.empty()) {
    console.Note("nothing found among " + Count(library.size()) + " pictures" +
                 (arguments.all ? "" : "; --all shows weak matches"));
  }
  return ExitFor(0, console);
}

}  // namespace fovea::cli
