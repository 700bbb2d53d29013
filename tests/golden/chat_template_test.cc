// Chat templates against transformers: every chat of tests/golden/chat/expected.json through every template beside it,
// character by character; what is refused there is refused here. And what users write stays foreign.
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "testing/golden.h"
#include "testing/testing.h"
#include "text/chat_template.h"

namespace fovea::text {
namespace {

using Json = nlohmann::ordered_json;  // tojson shows the order of keys

std::string ChatPath(const std::string& name) { return testing::SourcePath("tests/golden/chat/" + name); }

ChatInputs Inputs(const Json& golden, Json chat) {
  ChatInputs inputs{.messages_json = chat["messages"].dump(), .now_seconds = golden["now"].get<int64_t>()};
  inputs.special_tokens = golden["tokens"].get<std::map<std::string, std::string>>();
  chat.erase("messages");
  inputs.add_generation_prompt = chat.value("add_generation_prompt", false);
  chat.erase("add_generation_prompt");
  for (const auto& [key, list] :
       {std::pair("tools", &inputs.tools_json), std::pair("documents", &inputs.documents_json)}) {
    if (chat.contains(key)) *list = chat[key].dump();
    chat.erase(key);
  }
  inputs.variables_json = chat.dump();
  return inputs;
}

void ExpectSame(const std::string& golden_path, const std::string& folder) {
  setenv("TZ", "UTC", 1);
  tzset();
  const Json golden = Json::parse(base::ReadTextFile(golden_path));
  int refused = 0, same = 0;
  for (const auto& [name, chats] : golden["expected"].items()) {
    const std::string path = folder + "/" + name + ".jinja";
    std::shared_ptr<const ChatTemplate> chat_template;
    try {
      chat_template = ChatTemplate::FromText(base::ReadTextFile(path), name);
    } catch (const Error& error) {
      ADD_FAILURE() << name << ": " << error.what();
      continue;
    }
    for (const auto& [chat, expected] : chats.items()) {
      std::string text, problem;
      try {
        text = chat_template->RenderText(Inputs(golden, golden["chats"][chat]));
      } catch (const Error& error) {
        problem = error.what();
      }
      if (expected.is_null()) {
        EXPECT_NE(problem, "") << name << ", " << chat << " gave " << text;
        ++refused;
      } else {
        EXPECT_EQ(problem, "") << name << ", " << chat;
        EXPECT_EQ(text, expected.get<std::string>()) << name << ", " << chat;
        ++same;
      }
    }
  }
  EXPECT_GT(same, 200);
  EXPECT_GT(refused, 30);
}

TEST(ChatTemplate, GivesTheTextOfTransformers) { ExpectSame(ChatPath("expected.json"), ChatPath("")); }

TEST(ChatTemplate, OtherTemplatesToo) {
  const char* path = std::getenv("FOVEA_CHAT_GOLDEN");
  if (path == nullptr) GTEST_SKIP() << "FOVEA_CHAT_GOLDEN names no file of tools/dump_chat_templates.py --templates";
  ExpectSame(path, Json::parse(base::ReadTextFile(path))["templates"]);
}

std::string Control(const std::vector<TextSpan>& spans) {
  std::string text;
  for (const TextSpan& span : spans) text += span.is_control ? span.text : "#";
  return text;
}

TEST(ChatTemplate, KnowsWhoWroteWhat) {
  const Json golden = Json::parse(base::ReadTextFile(ChatPath("expected.json")));
  const auto render = [&](const std::string& name, const std::string& chat) {
    return ChatTemplate::FromText(base::ReadTextFile(ChatPath(name + ".jinja")), name)
        ->Render(Inputs(golden, golden["chats"][chat]));
  };
  EXPECT_EQ(Control(render("chatml", "tokens")), "<|im_start|>#\n#<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(
      Control(render("gemma3", "pictures")),
      "<s><start_of_turn>#\n<start_of_image>#<start_of_image><end_of_turn>\n<start_of_turn>model\n#<end_of_turn>\n"
      "<start_of_turn>#\n#<start_of_image>#<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_EQ(Control(render("llava", "pictures")), "#: <image>\n<image>\n# #: # #: <image>\n# # ASSISTANT:");
  EXPECT_EQ(Control(render("llama2", "system")), "<s>[INST] <<SYS>>\n#\n<</SYS>>\n\n# [/INST]");
  EXPECT_EQ(Control(render("qwen2_5", "tool_calls")).find("</tool_response>"),
            Control(render("qwen2_5", "tool_calls")).rfind("</tool_response>"));  // the one of the template
  // Through every operation: slices, case, replacing, joining, formats, JSON, repr.
  const auto spans =
      ChatTemplate::FromText(
          "{% set c = messages[0].content %}{{ c[::-1] }}|{{ c | upper }}|{{ c.replace('a', '-') }}|"
          "{{ c.split('b') | join('+') }}|{{ '<%s>' % c }}|{{ '{}'.format(c) }}|{{ [c] | tojson }}|{{ [c] }}|"
          "{% set d %}<{{ c }}>{% endset %}{{ d | trim }}|{{ c * 2 }}|{{ c.strip('a') ~ '!' }}|{{ c | length }}",
          "test")
          ->Render({.messages_json = R"([{"role":"user","content":"abc"}])"});
  EXPECT_EQ(Control(spans), "#|#|-#|#+#|<#>|#|[\"#\"]|['#']|<#>|#|#!|3");
}

TEST(ChatTemplate, ReadsTheFilesOfAFolder) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(ChatTemplate::FromFolder(folder.path()), nullptr);
  base::WriteTextFileAtomically(folder.File("tokenizer_config.json"), R"({"chat_template":"config"})");
  EXPECT_EQ(ChatTemplate::FromFolder(folder.path())->text(), "config");
  base::WriteTextFileAtomically(
      folder.File("tokenizer_config.json"),
      R"({"chat_template":[{"name":"default","template":"d"},{"name":"tool_use","template":"{{ tools }}"}]})");
  EXPECT_EQ(ChatTemplate::FromFolder(folder.path())->text(), "d");
  EXPECT_TRUE(ChatTemplate::FromFolder(folder.path(), "tool_use")->Mentions("tools"));
  testing::ExpectError([&] { ChatTemplate::FromFolder(folder.path(), "rag"); }, "tool_use");
  base::WriteTextFileAtomically(folder.File("chat_template.json"), R"({"chat_template":"json"})");
  EXPECT_EQ(ChatTemplate::FromFolder(folder.path())->text(), "json");
  base::WriteTextFileAtomically(folder.File("chat_template.jinja"), "jinja");
  EXPECT_EQ(ChatTemplate::FromFolder(folder.path())->text(), "jinja");
}

TEST(ChatTemplate, RefusesWhatIsBroken) {
  const auto refused = [](const std::string& text, const char* message) {
    testing::ExpectError(
        [&] {
          ChatTemplate::FromText(text, "x.jinja")->RenderText({.messages_json = R"([{"role":"user","content":"a"}])"});
        },
        message);
  };
  refused("{% if %}", "line 1");
  refused("a\n\n{{ x", "line 3");
  refused("{% for x in messages %}", "endfor");
  refused("{% endif %}", "endif");
  refused("{{ 'a }}", "string");
  refused("{{ (1] }}", "]");
  refused("{# a", "comment");
  refused("{% raw %}a", "endraw");
  refused("{% include 'a' %}", "include");
  refused("{% for x in y recursive %}{% endfor %}", "recursive");
  refused("{% break %}", "loop");
  refused("{{ messages.append(1) }}", "append");
  refused("{{ messages[0].update({}) }}", "update");
  refused("{{ x.y }}", "\"x\" is undefined");
  refused("{{ messages[0].nothing() }}", "cannot be called");
  refused("{{ 1 + 'a' }}", "int and str");
  refused("{{ none + 1 }}", "NoneType");
  refused("{{ 1 < 'a' }}", "int and str");
  refused("{{ 1 // 0 }}", "zero");
  refused("{{ 9223372036854775807 + 1 }}", "large");
  refused("{{ 'a' | nothing }}", "the filter \"nothing\"");
  refused("{{ 'a' is nothing }}", "the test \"nothing\"");
  refused("{{ 'a'.encode() }}", "encode");
  refused("{{ lipsum() }}", "lipsum");
  refused("{{ raise_exception('no pictures') }}", "no pictures");
  refused("{% set ns = namespace() %}{% set ns._x = 1 %}", "_");
  refused("{% set ns = namespace() %}{% set ns.x = ns %}", "Namespace");
  refused("{% set ns = namespace() %}{% set ns.x = [ns] %}", "Namespace");
  refused("{% set messages.x = 1 %}", "namespace");
  refused("{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "more arguments");
  refused("{% set a, b = [1] %}", "2 values");
}

TEST(ChatTemplate, EndsWhateverTheTemplateDoes) {
  const auto exhausted = [](const std::string& text, const char* message) {
    const auto chat = [&] { ChatTemplate::FromText(text, "x.jinja")->RenderText({.messages_json = "[]"}); };
    testing::ExpectError(chat, message);
  };
  const std::string loop = "{% for i in range(99999) %}", end = "{% endfor %}";
  exhausted(loop + loop + "{{ i }}" + end + end, "steps");
  exhausted("{% set ns = namespace(x='aaaaaaaa') %}" + loop + "{% set ns.x = ns.x + ns.x %}" + end, "bytes");
  exhausted("{{ 'aaaa' * 999999999 }}", "bytes");
  exhausted("{% set ns = namespace(x=[]) %}" + loop + "{% set ns.x = [ns.x] %}" + end, "nested deeper");
  exhausted("{% set ns = namespace(x=[1]) %}" + loop + "{% set ns.x = ns.x + ns.x %}" + end, "bytes");
  exhausted("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", "nested deeper");
  exhausted(loop + loop + "{{ 'a' * 10000 }}" + end + end, "bytes");
  exhausted("{{ range(10 ** 15) }}", "range");
  exhausted("{{ 'a'.ljust(10 ** 15) }}", "bytes");
  exhausted("{{ ('a' * 9999999).replace('a', 'b' * 9999999) }}", "bytes");
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "{% if true %}";
  exhausted(deep, "nested deeper");
  exhausted("{{ " + std::string(500, '(') + "1" + std::string(500, ')') + " }}", "nested deeper");
  exhausted("{{ " + std::string(500, '-') + "1 }}", "nested deeper");
  std::string sum = "{{ 1";
  for (int i = 0; i < 500; ++i) sum += " + 1";
  exhausted(sum + " }}", "nested deeper");
  testing::ExpectError([&] { ChatTemplate::FromText(std::string(2 << 20, 'a'), "x"); }, "limit");
  testing::ExpectError([&] { ChatTemplate::FromText("\xFF", "x"); }, "UTF-8");
  testing::ExpectError([&] { ChatTemplate::FromText("", "x")->Render({.messages_json = "[1]"}); }, "object");
  testing::ExpectError([&] { ChatTemplate::FromText("", "x")->Render({.messages_json = "{}"}); }, "list");
  testing::ExpectError([&] { ChatTemplate::FromText("", "x")->Render({.messages_json = "[{"}); }, "the messages");
}

}  // namespace
}  // namespace fovea::text
