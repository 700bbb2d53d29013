#include "commands/common.h"

#include <omp.h>

#include <algorithm>
#include <fstream>

#include "commands/language.h"
#include "fovea/chat.h"

namespace fovea::cli {

int UseThreads(const Arguments& arguments) {
  if (arguments.threads > 0) omp_set_num_threads(static_cast<int>(arguments.threads));
  return omp_get_max_threads();
}

Model LoadModel(const Arguments& arguments, const char* otherwise) {
  const std::string fallback = otherwise != nullptr ? otherwise : DefaultModelName();
  return Model::Load(arguments.model.empty() ? fallback : arguments.model, {.precision = arguments.precision});
}

std::optional<Model> LoadLabeler(const Model& model, Console& console) {
  constexpr char kName[] = "efficientnet-lite2";
  if (model.info().classes > 0) return std::nullopt;
  try {
    return Model::Load(kName);
  } catch (const Error& error) {
    console.Note("pictures get no labels: " + Printable(error.message()));
    return std::nullopt;
  }
}

LibraryCaptioner CaptionerOf(const std::string& name) {
  const Model model = Model::Load(name);
  if (!Can(model, "generate"))
    throw Error(ErrorCode::kUnimplemented, "the model " + Printable(name) + " writes no captions");
  return {.name = model.info().name,
          .fingerprint = model.info().fingerprint,
          .tell = [chat = Chat(model)](const Image& image) -> CaptionRecord {
            constexpr int64_t kMostTokens = 64;
            const Answer made = chat.Caption(image, {.max_tokens = kMostTokens}, &interrupted);
            if (made.finish_reason == "cancelled") throw Error(ErrorCode::kCancelled, "interrupted");
            return {.text = Trimmed(made.text), .confidence = made.confidence};
          }};
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

bool Can(const Model& model, const char* capability) {
  const auto& all = model.info().capabilities;
  return std::find(all.begin(), all.end(), capability) != all.end();
}

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

}  // namespace fovea::cli
