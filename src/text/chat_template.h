// Chat templates: a list of messages becomes the text that a model was trained on, as transformers' apply_chat_template
// gives it.
//
//   const auto chat = text::ChatTemplate::FromFolder("model/");
//   const auto spans = chat->Render({.messages_json = R"([{"role":"user","content":"What is this?"}])",
//                                    .add_generation_prompt = true, .special_tokens = {{"bos_token", "<s>"}}});
//   const std::vector<int64_t> ids = tokenizer->EncodeSpans(spans);
//
// Templates are programs in a part of Jinja (template_parser.h lists it) and come with the model: they run with limits
// and reach nothing but the values given here. What users, pictures or documents say stays foreign through the whole
// template: it is never read as a control token or as the place of a picture.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace fovea::text {

struct ChatInputs {
  // A list of objects with "role" and "content": a string, or a list of {"type":"text","text":...}, {"type":"image"},
  // ... Other keys ("tool_calls", "reasoning_content") reach the template as they are. Strings in it are foreign text.
  std::string messages_json;
  std::string tools_json, documents_json;  // lists; "": none
  bool add_generation_prompt = false;
  std::map<std::string, std::string> special_tokens;  // "bos_token", "eos_token", ...: of the template, not foreign
  std::string variables_json;                         // an object of further variables ("enable_thinking"); "": none
  std::optional<int64_t> now_seconds;                 // since 1970, for templates that show the date; absent: the clock
};

class ChatTemplate {
 public:
  // Throws kCorruptData (no template), kUnimplemented (a part of Jinja that is not supported), kResourceExhausted;
  // `source` names the file.
  static std::shared_ptr<const ChatTemplate> FromText(std::string_view text, const std::string& source);
  // chat_template.jinja, chat_template.json, or "chat_template" of tokenizer_config.json; of several templates the one
  // named `name` ("tool_use", "rag"). Null when the folder has none.
  static std::shared_ptr<const ChatTemplate> FromFolder(const std::string& folder, const std::string& name = "default");

  // Neighbouring spans of one kind are one span. Throws kInvalidArgument when the template refuses the chat or meets a
  // value of the wrong type (with the line), kCorruptData for messages that are no JSON, kUnimplemented for a filter or
  // method that is not supported, kResourceExhausted for too many steps or too much text.
  std::vector<TextSpan> Render(const ChatInputs& inputs) const;
  // The same as one text.
  std::string RenderText(const ChatInputs& inputs) const;

  const std::string& text() const;
  // Whether the template mentions a variable, e.g. "tools" or "enable_thinking".
  bool Mentions(std::string_view name) const { return text().find(name) != std::string::npos; }

  struct Impl;
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  ~ChatTemplate();

 private:
  std::unique_ptr<const Impl> impl_;
};

}  // namespace fovea::text
