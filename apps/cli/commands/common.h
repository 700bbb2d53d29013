// What several commands share: the model they were asked to use, failures as results, and small ways to print.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli.h"
#include "fovea/error.h"
#include "fovea/library.h"
#include "fovea/model.h"
#include "output.h"

namespace fovea::cli {

using Json = nlohmann::ordered_json;

// Takes `arguments.threads` as the limit of this process and returns it.
int UseThreads(const Arguments& arguments);

// The model that was asked for, else `otherwise`, else the default one.
Model LoadModel(const Arguments& arguments, const char* otherwise = nullptr);
// The bundled model that puts pictures and words into one space: what searches, and what sorts into classes of one's
// own.
inline constexpr const char* kModelOfWords = "fovea-photos";
// The bundled model that writes about pictures.
inline constexpr const char* kModelThatTells = "fovea-tell";
bool Can(const Model& model, const char* capability);

// What a model that writes says about pictures, for a library.
LibraryCaptioner CaptionerOf(const std::string& model);

// The model that names what is in pictures for a library whose own model has no classes; none, with a note, when it is
// not on this machine.
std::optional<Model> LoadLabeler(const Model& model, Console& console);

Exit ExitFor(int64_t failed, const Console& console);

// What --json prints in place of a result.
Json FailureObject(const std::string& path, const Error& error);

// The lines of a file, without the line ends.
std::vector<std::string> LinesOf(const std::string& path, bool keeps_empty);

// "name   value" lines with aligned values; empty values are left out.
void PrintFacts(const std::vector<std::pair<std::string, std::string>>& facts, Console& console);

std::string Joined(const std::vector<std::string>& items, const char* separator);

}  // namespace fovea::cli
