// Other programs of the machine: one that speaks, one that reads text in pictures. They are started directly, never
// through a shell, so that no text can be a command.
#pragma once

#include <string>
#include <vector>

namespace fovea::cli {

// The file of a program on PATH, "" when there is none.
std::string FindProgram(const std::string& name);

// Runs `command` (program, then arguments) with `input` on its stdin and gives what it prints on stdout; its stderr is
// dropped. Throws kNotFound when it cannot be started, kIo when it fails.
std::string RunProgram(const std::vector<std::string>& command, const std::string& input = "");

}  // namespace fovea::cli
