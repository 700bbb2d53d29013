// What the commands share that write text.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli.h"
#include "commands/common.h"
#include "fovea/chat.h"

namespace fovea::cli {

// What the command line says, and for the rest what the model of `chat` asks for.
GenerateSettings SettingsOf(const GenerateArguments& generate, const Chat& chat);

inline constexpr const char* kAnyThatDoes = "--model with one that does (fovea models)";

// The model that was asked for, else `otherwise`. Throws kUnimplemented when it writes no text, so that it cannot
// `wanted` ("caption pictures"); `hint` says what to do then.
Model LoadWriter(const Arguments& arguments, const char* wanted, const char* hint = kAnyThatDoes,
                 const char* otherwise = kModelThatTells);
Chat ChatWith(const Model& model, const Arguments& arguments);
// A conversation with it.
Chat OpenChat(const Arguments& arguments, const char* wanted, const char* hint = kAnyThatDoes,
              const char* otherwise = kModelThatTells);

// A request's cost: for people, and as {"tokens","memory_bytes","seconds"}.
std::string PlanText(const RequestPlan& plan);
nlohmann::ordered_json PlanObject(const RequestPlan& plan);

// Without white space at both ends.
std::string Trimmed(const std::string& text);

}  // namespace fovea::cli
