// Runs the built program as a user would and hands back what it printed and how it ended.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "testing/testing.h"

namespace fovea::e2e {

struct Result {
  int exit = -1;   // exit code, -1 when it did not exit by itself
  int signal = 0;  // that ended it, 0 for none
  std::string out, err;

  // Each line of stdout as JSON; a line that is none fails the test.
  std::vector<nlohmann::json> Lines() const {
    std::vector<nlohmann::json> lines;
    std::istringstream text(out);
    for (std::string line; std::getline(text, line);) {
      const auto json = nlohmann::json::parse(line, nullptr, false);
      EXPECT_FALSE(json.is_discarded()) << "no JSON: " << line;
      lines.push_back(json);
    }
    return lines;
  }
};

// A running fovea (or another program). Output goes to files, so that it never waits for its reader.
class Process {
 public:
  // `environment`: "NAME=value", added to ours. `stdout_to`: where stdout goes instead of being collected.
  explicit Process(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {},
                   int stdout_to = -1, const std::string& binary = testing::FoveaBinary()) {
    std::vector<char*> argv;
    argv.push_back(const_cast<char*>(binary.c_str()));
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      for (const std::string& variable : environment) ::putenv(const_cast<char*>(variable.c_str()));
      ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
      ::dup2(stdout_to >= 0 ? stdout_to : Create(OutFile()), STDOUT_FILENO);
      ::dup2(Create(ErrFile()), STDERR_FILENO);
      ::execv(binary.c_str(), argv.data());
      ::_exit(127);
    }
  }

  void Signal(int number) const { ::kill(pid_, number); }
  std::string OutputSoFar() const { return ReadAll(OutFile()); }

  // Waits; a program that takes longer than two minutes is killed and fails the test.
  Result Wait() {
    int status = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "fovea hangs";
        ::kill(pid_, SIGKILL);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    Result result{.out = ReadAll(OutFile()), .err = ReadAll(ErrFile())};
    if (WIFEXITED(status)) result.exit = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    return result;
  }

 private:
  static int Create(const std::string& path) { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600); }
  static std::string ReadAll(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  std::string OutFile() const { return folder_.File("out"); }
  std::string ErrFile() const { return folder_.File("err"); }

  testing::TemporaryFolder folder_;
  pid_t pid_;
};

inline Result RunFovea(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {}) {
  return Process(arguments, environment).Wait();
}

// `command`: the program, then its arguments.
inline Result RunProgram(const std::vector<std::string>& command, const std::vector<std::string>& environment = {}) {
  return Process({command.begin() + 1, command.end()}, environment, -1, command[0]).Wait();
}

inline std::string Sample(const std::string& name) { return testing::SourcePath("samples/" + name); }

inline void WriteBytes(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}

}  // namespace fovea::e2e
