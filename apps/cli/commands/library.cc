// `fovea index` and `fovea search`: a library of pictures and what is found in it.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

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

}  // namespace fovea::cli
