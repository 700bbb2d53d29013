// `fovea pull` and `fovea rm`: models from a hub into the user's data folder, and out of it again.
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "fovea/hub.h"
#include "output.h"

namespace fovea::cli {
namespace {

std::string Files(int64_t count) { return Count(count) + (count == 1 ? " file" : " files"); }

}  // namespace

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
    nlohmann::ordered_json object = PathObject(report.folder);
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
  return console.has_write_error() ? kSomeFailed : kDone;
}

Exit Remove(const Arguments& arguments, Console& console) {
  const RemovedModel removed = RemoveModel(arguments.repo);
  if (arguments.json) {
    nlohmann::ordered_json object = PathObject(removed.folder);
    object["repo"] = removed.repo;
    object["files"] = removed.files;
    object["size_bytes"] = removed.size_bytes;
    console.Json(object);
  } else {
    console.Line("removed " + console.Bold(Printable(removed.repo)) + ": " + Files(removed.files) + ", " +
                 Bytes(removed.size_bytes) + "  " + console.Dim(Printable(removed.folder)));
  }
  return console.has_write_error() ? kSomeFailed : kDone;
}

}  // namespace fovea::cli
