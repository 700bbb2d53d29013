// `fovea doctor`: what this machine has and what is missing.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "commands/common.h"
#include "fovea/doctor.h"

namespace fovea::cli {
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
