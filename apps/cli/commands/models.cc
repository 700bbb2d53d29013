// `fovea info`, `models`, `pull`, `rm`, `convert`: the models on this machine.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "commands/common.h"
#include "fovea/hub.h"
#include "fovea/model.h"

namespace fovea::cli {
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

}  // namespace fovea::cli
