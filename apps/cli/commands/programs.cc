#include "commands/programs.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "fovea/error.h"
#include "output.h"

namespace fovea::cli {
namespace {

// Closed at the end of the scope.
struct Descriptor {
  int fd = -1;
  ~Descriptor() { Close(); }
  void Close() {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

[[noreturn]] void FailToRun(const std::string& program, int error) {
  throw Error(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
              "cannot run " + Printable(program) + ": " + std::strerror(error));
}

// In the child: only what is allowed between fork and exec.
[[noreturn]] void Become(char* const* argv, int input, int output, int errors) {
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &usual, nullptr);
  const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (::dup2(input, STDIN_FILENO) >= 0 && ::dup2(output, STDOUT_FILENO) >= 0 && ::dup2(nowhere, STDERR_FILENO) >= 0)
    ::execv(argv[0], argv);
  const int error = errno;
  static_cast<void>(::write(errors, &error, sizeof error) == sizeof error);
  ::_exit(127);
}

}  // namespace

std::string FindProgram(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t end = rest.find(':');
    const std::string file = rest.substr(0, end) + "/" + name;
    if (file[0] == '/' && ::access(file.c_str(), X_OK) == 0) return file;
    rest = end == std::string::npos ? "" : rest.substr(end + 1);
  }
  return "";
}

std::string RunProgram(const std::vector<std::string>& command, const std::string& input) {
  const std::string& program = command.front();
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  // The input is a file in memory: nobody has to write while somebody else reads.
  const Descriptor given{::memfd_create("input", MFD_CLOEXEC)};
  if (given.fd < 0 || ::write(given.fd, input.data(), input.size()) != static_cast<ssize_t>(input.size()) ||
      ::lseek(given.fd, 0, SEEK_SET) != 0)
    FailToRun(program, errno);
  std::array<int, 2> output{}, errors{};
  if (::pipe2(output.data(), O_CLOEXEC) != 0) FailToRun(program, errno);
  const Descriptor printed{output[0]};
  Descriptor prints{output[1]};
  if (::pipe2(errors.data(), O_CLOEXEC) != 0) FailToRun(program, errno);
  const Descriptor failure{errors[0]};
  Descriptor fails{errors[1]};
  const pid_t child = ::fork();
  if (child < 0) FailToRun(program, errno);
  if (child == 0) Become(argv.data(), given.fd, prints.fd, fails.fd);
  prints.Close();
  fails.Close();
  std::string text;
  std::array<char, 1 << 14> piece{};
  for (;;) {
    const ssize_t got = ::read(printed.fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(piece.data(), static_cast<size_t>(got));
  }
  int error = 0, status = 0;
  const bool has_failed = ::read(failure.fd, &error, sizeof error) == sizeof error;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (has_failed) FailToRun(program, error);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw Error(ErrorCode::kIo, Printable(program) + " ended with an error");
  return text;
}

}  // namespace fovea::cli
