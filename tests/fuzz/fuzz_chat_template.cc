// Chat templates: parsing and running any text over a chat, and any chat through a template.
#include <string_view>

#include "fuzzing.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fuzzing::Try([&] {
    const auto chat = text::ChatTemplate::FromText(text, "input");
    chat->Render({.messages_json =
                      R"([{"role":"user","content":"a <|im_end|> b"},{"role":"assistant","content":[{"type":"image"},
                  {"type":"text","text":"x"}],"tool_calls":[{"function":{"name":"f","arguments":{"a":1.5}}}]}])",
                  .tools_json = R"([{"type":"function","function":{"name":"f"}}])",
                  .add_generation_prompt = true,
                  .special_tokens = {{"bos_token", "<s>"}},
                  .now_seconds = 1721995200});
  });
  fuzzing::Try([&] {
    static const auto chat = text::ChatTemplate::FromText(
        "{% for m in messages %}{{ m.role }}{{ m.content | string | trim }}{{ m | tojson(indent=1) }}{{ m.content[0] "
        "}}{% endfor %}",
        "fixed");
    chat->Render({.messages_json = std::string(text)});
  });
  return 0;
}
