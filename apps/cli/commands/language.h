// What the commands share that write text.
#pragma once

#include "cli.h"
#include "fovea/chat.h"

namespace fovea::cli {

GenerateSettings SettingsOf(const GenerateArguments& generate);

// A conversation with the model that was asked for. Throws kUnimplemented when it writes no text, so that it cannot
// `wanted` ("caption pictures").
Chat OpenChat(const Arguments& arguments, const char* wanted);

// Without white space at both ends.
std::string Trimmed(const std::string& text);

}  // namespace fovea::cli
