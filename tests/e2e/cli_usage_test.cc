// The outside of the program: help, wrong usage, completion and the manual page.
#include "cli_run.h"
#include "fovea/model.h"

namespace fovea::e2e {
namespace {

const std::vector<std::string> kCommands = {"classify", "embed", "index",   "search", "eval",       "info", "models",
                                            "pull",     "rm",    "convert", "doctor", "completion", "man"};

TEST(CliUsage, VersionIsOneLine) {
  const Result result = RunFovea({"--version"});
  EXPECT_EQ(result.exit, 0);
  EXPECT_EQ(result.out, std::string("fovea ") + Version() + "\n");
}

TEST(CliUsage, HelpListsTheCommandsAndEachHasAnExample) {
  const Result all = RunFovea({"--help"});
  EXPECT_EQ(all.exit, 0);
  for (const std::string& command : kCommands) {
    EXPECT_NE(all.out.find("\n  " + command + " "), std::string::npos) << command;
    const Result help = RunFovea({command, "--help"});
    EXPECT_EQ(help.exit, 0) << command;
    EXPECT_NE(help.out.find("Usage: fovea " + command), std::string::npos) << help.out;
    EXPECT_NE(help.out.find("Example:\n  "), std::string::npos) << help.out;
    EXPECT_EQ(help.err, "") << command;
  }
}

TEST(CliUsage, WrongUsageIsExitCodeTwoAndSaysWhatToDo) {
  const std::vector<std::vector<std::string>> wrong = {{},
                                                       {"serve", "x.jpg"},
                                                       {"classify"},
                                                       {"--frobnicate"},
                                                       {"classify", "x.jpg", "--frobnicate"},
                                                       {"classify", "x.jpg", "--top", "0"},
                                                       {"classify", "x.jpg", "--top", "many"},
                                                       {"classify", "x.jpg", "--threads", "-1"},
                                                       {"classify", "x.jpg", "--labels", "a", "--labels-file", "b"},
                                                       {"embed"},
                                                       {"embed", "x.jpg", "--text", "y"},
                                                       {"search"},
                                                       {"pull"},
                                                       {"rm"},
                                                       {"convert", "a"},
                                                       {"eval", "cooking", "--data", "x.tar"},
                                                       {"eval", "classify"},
                                                       {"convert", "a", "b", "--type", "int3"},
                                                       {"completion", "tcsh"}};
  for (const auto& arguments : wrong) {
    const Result result = RunFovea(arguments);
    const std::string shown = base::Join(arguments, " ");
    EXPECT_EQ(result.exit, 2) << shown;
    EXPECT_EQ(result.out, "") << shown;
    EXPECT_NE(result.err.find("--help"), std::string::npos) << shown << ": " << result.err;
  }
}

// The long options a help text names.
std::vector<std::string> OptionsIn(const std::string& text) {
  std::vector<std::string> options;
  for (size_t at = text.find("--"); at != std::string::npos; at = text.find("--", at + 2)) {
    size_t end = at + 2;
    while (end < text.size() && (std::isalpha(static_cast<unsigned char>(text[end])) || text[end] == '-')) ++end;
    options.push_back(text.substr(at, end - at));
  }
  return options;
}

TEST(CliUsage, ManPageNamesEveryOptionOfEveryHelp) {
  const Result man = RunFovea({"man"});
  ASSERT_EQ(man.exit, 0);
  std::string text = man.out;
  for (size_t at; (at = text.find("\\-")) != std::string::npos;) text.erase(at, 1);
  for (const std::string& command : kCommands) {
    EXPECT_NE(text.find(".SS \"fovea " + command), std::string::npos) << command;
    for (const std::string& option : OptionsIn(RunFovea({command, "--help"}).out))
      EXPECT_NE(text.find(option), std::string::npos) << option;
  }
}

// What bash offers for `words`, the last of which is being typed.
std::string BashOffers(const std::string& words, int index) {
  const std::string script = "source <('" + testing::FoveaBinary() + "' completion bash); COMP_WORDS=(" + words +
                             "); COMP_CWORD=" + std::to_string(index) + "; _fovea; echo \"${COMPREPLY[*]}\"";
  const std::string line = "bash -c \"$SCRIPT\"";
  ::setenv("SCRIPT", script.c_str(), 1);
  FILE* pipe = ::popen(line.c_str(), "r");
  char buffer[4096] = "";
  const size_t size = std::fread(buffer, 1, sizeof(buffer) - 1, pipe);
  ::pclose(pipe);
  return std::string(buffer, size);
}

TEST(CliUsage, BashCompletes) {
  EXPECT_EQ(BashOffers("fovea cla", 1), "classify\n");
  EXPECT_EQ(BashOffers("fovea classify --th", 2), "--threads\n");
  EXPECT_EQ(BashOffers("fovea convert a b --type b", 5), "bf16\n");
  EXPECT_EQ(BashOffers("fovea completion z", 2), "zsh\n");
  EXPECT_EQ(BashOffers("fovea classify " + testing::SourcePath("samples/ca"), 2), Sample("cat.jpg") + "\n");
}

TEST(CliUsage, CompletionForEveryShellNamesEveryCommand) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Result result = RunFovea({"completion", shell});
    EXPECT_EQ(result.exit, 0);
    for (const std::string& command : kCommands)
      EXPECT_NE(result.out.find(command), std::string::npos) << shell << " " << command;
  }
}

}  // namespace
}  // namespace fovea::e2e
