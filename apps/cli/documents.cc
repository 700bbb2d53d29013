// Shell completion and the manual page, written from the same definitions as --help.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>

#include "cli.h"
#include "fovea/model.h"
#include "output.h"

namespace fovea::cli {
namespace {

// One option or positional as the documents need it; positionals come first.
struct Item {
  std::vector<std::string> flags;  // "-k", "--limit"; empty for a positional
  std::string name;                // of a positional
  std::string type;                // "" for a flag
  std::string help;
  bool is_many, is_required;

  std::vector<std::string> Choices() const {
    if (type.find('|') == std::string::npos) return {};
    return CLI::detail::split(type, '|');
  }
};

std::vector<Item> ItemsOf(const CLI::App& app) {
  std::vector<Item> items;
  for (const CLI::Option* option : app.get_options()) {
    Item item{.name = option->get_name(true, false), .help = option->get_description()};
    for (const std::string& name : option->get_snames()) item.flags.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) item.flags.push_back("--" + name);
    if (!item.flags.empty()) item.name.clear();
    if (option->get_type_size() != 0) item.type = option->get_type_name();
    item.is_many = option->get_expected_max() >= CLI::detail::expected_max_vector_size;
    item.is_required = option->get_required();
    items.push_back(std::move(item));
  }
  std::stable_partition(items.begin(), items.end(), [](const Item& item) { return item.flags.empty(); });
  return items;
}

std::string Words(const std::vector<std::string>& words, const char* separator = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

std::vector<const CLI::App*> CommandsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// What completes a value in bash: the argument of compgen, "" for nothing.
std::string BashAction(const Item& item) {
  if (const auto choices = item.Choices(); !choices.empty()) return "-W '" + Words(choices) + "'";
  if (item.type == "DIR") return "-d";
  if (item.type == "FILE" || item.type == "IMAGE" || item.type == "X.npy" || item.type == "SHARD.tar") return "-f";
  if (item.type == "MODEL")
    return "-d -W \"$(fovea models --json 2>/dev/null | sed -n 's/^{\"name\":\"\\([^\"]*\\)\".*/\\1/p')\"";
  return "";
}

std::string BashCompletion(const CLI::App& app) {
  std::ostringstream out;
  std::vector<std::string> names;
  for (const CLI::App* command : CommandsOf(app)) names.push_back(command->get_name());
  out << "# bash completion for fovea; use it with: source <(fovea completion bash)\n"
         "_fovea() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
         "  COMPREPLY=()\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
         "    COMPREPLY=($(compgen -W '"
      << Words(names) << " --help --version' -- \"$current\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n";
  for (const CLI::App* command : CommandsOf(app)) {
    std::vector<std::string> flags;
    std::string positional;
    out << "    " << command->get_name() << ")\n      case $previous in\n";
    for (const Item& item : ItemsOf(*command)) {
      flags.insert(flags.end(), item.flags.begin(), item.flags.end());
      if (item.flags.empty()) {
        if (positional.empty()) positional = BashAction(item);
      } else if (!item.type.empty()) {
        const std::string action = BashAction(item);
        out << "        " << Words(item.flags, "|") << ") "
            << (action.empty() ? "" : "COMPREPLY=($(compgen " + action + " -- \"$current\")); ") << "return ;;\n";
      }
    }
    out << "      esac\n      if [[ $current == -* ]]; then COMPREPLY=($(compgen -W '" << Words(flags)
        << "' -- \"$current\"))\n";
    if (!positional.empty()) out << "      else COMPREPLY=($(compgen " << positional << " -- \"$current\"))\n";
    out << "      fi ;;\n";
  }
  out << "  esac\n}\ncomplete -o filenames -F _fovea fovea";
  return out.str();
}

// Text inside single quotes of zsh and fish; `special` characters get a backslash.
std::string Quoted(const std::string& text, const std::string& special = "") {
  std::string quoted;
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      if (special.find(c) != std::string::npos) quoted += '\\';
      quoted += c;
    }
  }
  return quoted;
}

std::string ZshAction(const Item& item) {
  if (const auto choices = item.Choices(); !choices.empty()) return "(" + Words(choices) + ")";
  if (item.type == "DIR") return "_files -/";
  if (item.type == "FILE" || item.type == "IMAGE" || item.type == "X.npy" || item.type == "SHARD.tar" ||
      item.type == "MODEL")
    return "_files";
  return " ";
}

std::string ZshCompletion(const CLI::App& app) {
  std::ostringstream out;
  out << "#compdef fovea\n# zsh completion for fovea; use it with: source <(fovea completion zsh)\n_fovea() {\n  local "
         "-a commands=(\n";
  for (const CLI::App* command : CommandsOf(app)) {
    out << "    '" << command->get_name() << ":" << Quoted(command->get_description(), ":") << "'\n";
  }
  out << "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n"
         "  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n";
  for (const CLI::App* command : CommandsOf(app)) {
    out << "    " << command->get_name() << ") _arguments";
    for (const Item& item : ItemsOf(*command)) {
      const std::string help = Quoted(item.help, ":[]");
      for (const std::string& flag : item.flags) {
        out << " \\\n      '" << flag << "[" << help << "]"
            << (item.type.empty() ? "" : ":" + Quoted(item.type, ":") + ":" + ZshAction(item)) << "'";
      }
      if (item.flags.empty())
        out << " \\\n      '" << (item.is_many ? "*" : "") << ":" << item.name << ":" << ZshAction(item) << "'";
    }
    out << " ;;\n";
  }
  out << "  esac\n}\ncompdef _fovea fovea";
  return out.str();
}

std::string FishCompletion(const CLI::App& app) {
  std::ostringstream out;
  out << "# fish completion for fovea; use it with: fovea completion fish | source";
  for (const CLI::App* command : CommandsOf(app)) {
    out << "\ncomplete -c fovea -n __fish_use_subcommand -f -a " << command->get_name() << " -d '"
        << Quoted(command->get_description()) << "'";
    for (const Item& item : ItemsOf(*command)) {
      const std::string head = "\ncomplete -c fovea -n '__fish_seen_subcommand_from " + command->get_name() + "'";
      const std::string choices = item.Choices().empty() ? "" : " -f -a '" + Words(item.Choices()) + "'";
      if (item.flags.empty()) {
        if (!choices.empty()) out << head << choices;
        continue;
      }
      out << head;
      for (const std::string& flag : item.flags)
        out << (flag.starts_with("--") ? " -l " + flag.substr(2) : " -s " + flag.substr(1));
      out << (item.type.empty() ? ""
              : choices.empty() ? " -r"
                                : " -x")
          << choices << " -d '" << Quoted(item.help) << "'";
    }
  }
  return out.str();
}

// Text for roff: a backslash, a leading dot or quote, and the minus of options need care.
std::string Roff(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else {
      escaped += c;
    }
  }
  if (escaped.starts_with('.') || escaped.starts_with('\'')) escaped.insert(0, "\\&");
  return escaped;
}

void WriteManCommand(const CLI::App& command, const char* example, std::ostringstream& out) {
  out << ".SS \"fovea " << command.get_name() << " [OPTIONS]";
  for (const Item& item : ItemsOf(command)) {
    if (item.flags.empty())
      out << " " << (item.is_required ? "" : "[") << item.name << (item.is_many ? "..." : "")
          << (item.is_required ? "" : "]");
  }
  out << "\"\n" << Roff(command.get_description()) << ".\n";
  for (const Item& item : ItemsOf(command)) {
    out << ".TP\n";
    if (item.flags.empty()) {
      out << "\\fI" << Roff(item.name) << "\\fR\n";
    } else {
      out << "\\fB" << Roff(Words(item.flags, ", ")) << "\\fR"
          << (item.type.empty() ? "" : " \\fI" + Roff(item.type) + "\\fR") << "\n";
    }
    out << Roff(item.help) << "\n";
  }
  out << ".PP\nExample:\n.PP\n.RS\n.nf\n" << Roff(example) << "\n.fi\n.RE\n";
}

std::string ManPage(const CLI::App& app) {
  std::ostringstream out;
  out << ".TH FOVEA 1 \"\" \"fovea " << Version() << "\" \"User Commands\"\n.SH NAME\nfovea \\- "
      << "see, search and describe pictures\n"
      << ".SH SYNOPSIS\n.B fovea\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n"
      << Roff(app.get_description()) << "\n.PP\n"
      << "Results go to standard output, everything else to standard error. With \\fB\\-\\-json\\fR the results are "
         "JSON Lines, in input order, with "
         "\"error\" in place of a result for an input that failed. A path that is no UTF\\-8 comes with "
         "\"path_bytes\", the same in hexadecimal.\n"
      << ".SH COMMANDS\n";
  for (const Command& command : Commands()) WriteManCommand(*app.get_subcommand(command.name), command.example, out);
  out << ".SH EXIT STATUS\n.TP\n0\nall done\n.TP\n1\nsome inputs failed; each was named on standard "
         "error\n.TP\n2\nwrong usage\n.TP\n130\ninterrupted; "
         "the work so far is kept\n"
         ".SH ENVIRONMENT\n.TP\n\\fBFOVEA_MODELS\\fR\nfolders of models, separated by colons, searched first\n"
         ".TP\n\\fBFOVEA_MAX_ISA\\fR\nset to avx2 to use no AVX\\-512 instructions\n"
         ".TP\n\\fBNO_COLOR\\fR\nwhen set, no colours\n"
         ".TP\n\\fBXDG_DATA_HOME\\fR\nholds fovea/library.db and fovea/models; ~/.local/share by default";
  return out.str();
}

}  // namespace

Exit Completion(const Arguments& arguments, Console& console) {
  CLI::App app("", "fovea");
  Arguments unused;
  DefineCommandLine(app, unused);
  console.Line(arguments.shell == "bash"  ? BashCompletion(app)
               : arguments.shell == "zsh" ? ZshCompletion(app)
                                          : FishCompletion(app));
  return kDone;
}

Exit Man(const Arguments&, Console& console) {
  CLI::App app("", "fovea");
  Arguments unused;
  DefineCommandLine(app, unused);
  console.Line(ManPage(app));
  return kDone;
}

}  // namespace fovea::cli
