// What the commands share that write text.
#pragma once

#include "cli.h"
#include "fovea/chat.h"

namespace fovea::cli {

GenerateSettings SettingsOf(const GenerateArguments& generate);

// The model that was asked for. Throws as OpenChat.
Model LoadWriter(const Arguments& arguments, const char* wanted,
                 const char* hint = "--model with one that does (fovea models)");
Chat ChatWith(const Model& model, const Arguments& arguments);

// A conversation with the model that was asked for. Throws kUnimplemented when it writes no text, so that it cannot
// `wanted` ("caption pictures"); `hint` says what to do then.
Chat OpenChat(const Arguments& arguments, const char* wanted,
              const char* hint = "--model with one that does (fovea models)");

// Without white space at both ends.
std::string Trimmed(const std::string& text);

}  // namespace fovea::cli
