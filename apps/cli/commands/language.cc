// `fovea chat`, and what it shares with the other commands that write text.
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "commands/common.h"
#include "commands/language.h"
#include "fovea/image.h"

namespace fovea::cli {

GenerateSettings SettingsOf(const GenerateArguments& g, const Chat& chat) {
  GenerateSettings settings = chat.Defaults();
  settings.max_tokens = g.max_tokens.value_or(settings.max_tokens);
  settings.temperature = g.temperature.value_or(settings.temperature);
  settings.top_k = g.top_k.value_or(settings.top_k);
  settings.top_p = g.top_p.value_or(settings.top_p);
  settings.min_p = g.min_p.value_or(settings.min_p);
  settings.repetition_penalty = g.repetition_penalty.value_or(settings.repetition_penalty);
  settings.beams = g.beams.value_or(settings.beams);
  settings.length_penalty = g.length_penalty.value_or(settings.length_penalty);
  settings.seed = static_cast<uint64_t>(g.seed);
  settings.stop = g.stop;
  const auto text_of = [](const std::string& path) {
    return path.empty() ? std::string() : Joined(LinesOf(path, true), "\n");
  };
  settings.json_schema = text_of(g.json_schema);
  settings.grammar = text_of(g.grammar);
  settings.regex = g.regex;
  return settings;
}

Model LoadWriter(const Arguments& arguments, const char* wanted, const char* hint, const char* otherwise) {
  UseThreads(arguments);
  Model model = LoadModel(arguments, otherwise);
  if (!Can(model, "generate")) {
    throw Error(ErrorCode::kUnimplemented, "the model " + Printable(model.info().name) +
                                               " writes no text, so it cannot " + wanted + "; hint: " + hint);
  }
  return model;
}

Chat ChatWith(const Model& model, const Arguments& arguments) {
  return Chat(model, {.max_context = arguments.generate.max_context,
                      .cache_type = arguments.generate.cache_type,
                      .max_memory_bytes = arguments.generate.max_ram});
}

Chat OpenChat(const Arguments& arguments, const char* wanted, const char* hint, const char* otherwise) {
  return ChatWith(LoadWriter(arguments, wanted, hint, otherwise), arguments);
}

std::string PlanText(const RequestPlan& plan) {
  const auto about = [](double seconds) {
    char text[32];
    std::snprintf(text, sizeof text, seconds < 10 ? "%.1f s" : "%.0f s", seconds);
    return std::string(text);
  };
  return Count(plan.prompt_tokens) + " tokens to read (" + Count(plan.picture_tokens) + " of pictures), at most " +
         Count(plan.max_tokens) + " to write; " + Bytes(plan.memory_bytes()) + " of memory (weights " +
         Bytes(plan.weight_bytes) + ", cache " + Bytes(plan.cache_bytes) + ", work " + Bytes(plan.activation_bytes) +
         "); about " + about(plan.prompt_seconds) + " to read, " + about(plan.answer_seconds) + " to write";
}

nlohmann::ordered_json PlanObject(const RequestPlan& plan) {
  return {{"tokens",
           {{"prompt", plan.prompt_tokens}, {"pictures", plan.picture_tokens}, {"answer_at_most", plan.max_tokens}}},
          {"memory_bytes",
           {{"weights", plan.weight_bytes},
            {"cache", plan.cache_bytes},
            {"work", plan.activation_bytes},
            {"total", plan.memory_bytes()}}},
          {"seconds", {{"read", plan.prompt_seconds}, {"write", plan.answer_seconds}}}};
}

std::string Trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

namespace {

// One turn: the answer streams to the terminal. Ctrl-C ends it and not the program; SIGTERM ends both.
void PrintReply(const Chat& chat, std::vector<Message>& messages, const GenerateSettings& settings, Console& console) {
  const Answer answer = chat.Reply(
      messages, settings,
      [&](std::string_view piece) {
        console.Text(PrintableText(piece));
        return !console.is_closed();
      },
      &interrupted);
  console.Text("\n");
  if (interrupted && !terminated) {
    console.Note("(stopped)");
    ListenForInterrupts();
  }
  messages.push_back({.role = "assistant", .text = answer.text, .images = {}});
}

}  // namespace

// A line is a message; /image FILE shows a picture with the next one, /reset forgets the conversation, /quit or Ctrl-D
// leaves.
Exit ChatCommand(const Arguments& arguments, Console& console) {
  const Chat chat = OpenChat(arguments, "chat", kAnyThatDoes, nullptr);
  const GenerateSettings settings = SettingsOf(arguments.generate, chat);
  const bool is_terminal = ::isatty(STDIN_FILENO) != 0;
  std::vector<Message> messages;
  const auto reset = [&] {
    messages.clear();
    if (!arguments.generate.system.empty()) messages.push_back({.role = "system", .text = arguments.generate.system});
  };
  reset();
  Message next;
  for (const std::string& path : arguments.generate.images) next.images.push_back(ReadImage(path));
  if (arguments.generate.is_dry_run) {
    messages.push_back(std::move(next));
    console.Line(PlanText(chat.Plan(messages, settings)));
    return ExitFor(0, console);
  }
  int64_t failed = 0;
  if (is_terminal)
    console.Note("/image FILE shows a picture, /reset starts anew, Ctrl-C stops an answer, Ctrl-D leaves");
  while (!console.is_closed() && !terminated) {
    if (is_terminal) console.Text("> ");
    std::string line;
    if (!std::getline(std::cin, line)) break;
    if (terminated) break;
    if (interrupted) ListenForInterrupts();
    const std::string text = Trimmed(line);
    try {
      if (text == "/quit") break;
      if (text == "/reset") {
        reset();
        next = {};
      } else if (text.starts_with("/image ")) {
        next.images.push_back(ReadImage(Trimmed(text.substr(7))));
      } else if (!text.empty()) {
        next.text = text;
        messages.push_back(std::move(next));
        next = {};
        PrintReply(chat, messages, settings, console);
      }
    } catch (const Error& error) {
      // The conversation goes on as if the message had not been sent.
      ++failed;
      console.Failure("", error.message());
      if (!messages.empty() && messages.back().role == "user") messages.pop_back();
    }
  }
  if (is_terminal) console.Text("\n");
  return ExitFor(failed, console);
}

}  // namespace fovea::cli
