// Parses the command line, runs one command, and turns whatever goes wrong into a message and an exit code.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "cli.h"
#include "fovea/error.h"
#include "output.h"

namespace fovea::cli {

std::atomic<bool> interrupted{false}, terminated{false};

// The first signal asks to stop after the work in flight; the second one ends the program at once.
void ListenForInterrupts() {
  interrupted = false;
  struct sigaction stop {};
  stop.sa_handler = [](int signal) {
    interrupted = true;
    if (signal == SIGTERM) terminated = true;
  };
  stop.sa_flags = SA_RESETHAND | SA_RESTART;
  sigemptyset(&stop.sa_mask);
  ::sigaction(SIGINT, &stop, nullptr);
  ::sigaction(SIGTERM, &stop, nullptr);
}

namespace {

// On a busy machine a thread that waits by spinning keeps the very core that the thread it waits for needs: a picture
// then takes seconds instead of milliseconds. OpenMP reads how long to spin once, before main, so the program sets it
// and starts over; that costs a few milliseconds, and only commands that compute pay it. What the user has set is left
// alone.
void WaitBySleeping(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "20000",
           0);  // about 30 us: longer than a kernel's uneven finish, shorter than a time slice
  ::execv("/proc/self/exe", argv);
  // Where this is not possible the program goes on as it is.
}

int WrongUsage(const CLI::App& app, const CLI::ParseError& error) {
  const auto commands = app.get_subcommands();
  const auto rest = app.remaining();
  std::string text = error.what(), help = "fovea";
  if (!commands.empty()) {
    help += " " + commands.front()->get_name();
  } else if (!rest.empty()) {
    text = "unknown " + std::string(rest.front().starts_with('-') ? "option " : "command ") + rest.front();
  } else {
    text = "expected a command";
  }
  std::fprintf(stderr, "%s: %s\nTry: %s --help\n", help.c_str(), Printable(text).c_str(), help.c_str());
  return kWrongUsage;
}

Exit Run(const Command& command, const Arguments& arguments) {
  Console console({.command = command.name, .quiet = arguments.quiet});
  try {
    const Exit exit = command.run(arguments, console);
    return exit;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled && interrupted) return kInterrupted;
    console.EndProgress();
    console.Failure("", error.message());
  } catch (const std::bad_alloc&) {
    console.Failure("", "out of memory");
  } catch (const std::exception& error) {
    console.Failure("", error.what());
  }
  return kSomeFailed;
}

int Main(int argc, char** argv) {
  ListenForInterrupts();
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("", "fovea");
  Arguments arguments;
  DefineCommandLine(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return kDone;
  } catch (const CLI::CallForVersion& version) {
    std::puts(version.what());
    return kDone;
  } catch (const CLI::ParseError& error) {
    return WrongUsage(app, error);
  }
  for (const Command& command : Commands()) {
    if (!app.got_subcommand(command.name)) continue;
    if (command.computes) WaitBySleeping(argv);
    return Run(command, arguments);
  }
  return kWrongUsage;
}

}  // namespace
}  // namespace fovea::cli

int main(int argc, char** argv) { return fovea::cli::Main(argc, argv); }
