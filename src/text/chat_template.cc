#include "text/chat_template.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/template_machine.h"

namespace fovea::text {
namespace {

constexpr int64_t kMaxFileBytes = 4 << 20;

// The names that a message's reasoning is passed under; templates read the first, older callers give the others.
constexpr std::string_view kReasoning[] = {"reasoning_content", "thinking", "reasoning"};

Value WithReasoning(const Value& message) {
  if (message.dict() == nullptr) return message;
  const Value* reasoning = nullptr;
  for (const std::string_view name : kReasoning) {
    const Value* found = FindName(message.dict()->items, name);
    if (reasoning == nullptr && found != nullptr && !found->IsNone()) reasoning = found;
  }
  if (reasoning == nullptr) return message;
  ValueDict items;
  if (FindName(message.dict()->items, "thinking") == nullptr)
    items.emplace_back(Value::Template("thinking"), *reasoning);
  bool has_content = false;
  for (const auto& [key, value] : message.dict()->items) {
    const bool is_content = key.text() != nullptr && key.text()->text() == "reasoning_content";
    items.emplace_back(key, is_content ? *reasoning : value);
    has_content |= is_content;
  }
  if (!has_content) items.emplace_back(Value::Template("reasoning_content"), *reasoning);
  return Value::Dict(std::move(items));
}

Value ReadList(const std::string& json, const std::string& what) {
  if (json.empty()) return {};
  Value list = FromJson(json, what);
  Require(list.list() != nullptr || list.IsNone(), "[chat template] expected ", what, " to be a list");
  return list;
}

// "chat_template" of a file: a string, or a list of {"name", "template"}, or an object of templates by name.
std::optional<std::string> TemplateIn(const nlohmann::json& value, const std::string& name, const std::string& source) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains(name) && value[name].is_string()) return value[name].get<std::string>();
  std::string known;
  if (value.is_array()) {
    for (const auto& item : value) {
      if (!item.is_object() || !item.contains("name") || !item.contains("template") || !item["name"].is_string() ||
          !item["template"].is_string())
        Fail(ErrorCode::kCorruptData, "[chat template] expected each template of ", source,
             " to have a name and a text");
      if (item["name"] == name) return item["template"].get<std::string>();
      known += (known.empty() ? "" : ", ") + item["name"].get<std::string>();
    }
    Fail(ErrorCode::kNotFound, "[chat template] ", source, " has no template named \"", base::PrintableUtf8(name),
         "\", only ", base::PrintableUtf8(known));
  }
  if (value.is_null()) return std::nullopt;
  Fail(ErrorCode::kCorruptData, "[chat template] expected \"chat_template\" of ", source, " to be a string or a list");
}

}  // namespace

struct ChatTemplate::Impl {
  std::string text, source;
  TemplateBody body;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

const std::string& ChatTemplate::text() const { return impl_->text; }

std::shared_ptr<const ChatTemplate> ChatTemplate::FromText(std::string_view text, const std::string& source) {
  auto impl = std::make_unique<Impl>();
  impl->text = text;
  impl->source = source;
  impl->body = ParseTemplate(impl->text, source);
  return std::make_shared<const ChatTemplate>(std::move(impl));
}

std::shared_ptr<const ChatTemplate> ChatTemplate::FromFolder(const std::string& folder, const std::string& name) {
  const std::filesystem::path base(folder);
  std::error_code ignored;
  const auto exists = [&](const std::filesystem::path& path) { return std::filesystem::exists(path, ignored); };
  std::filesystem::path file = base / "chat_template.jinja";
  if (name != "default" && exists(base / "additional_chat_templates" / (name + ".jinja")))
    file = base / "additional_chat_templates" / (name + ".jinja");
  if (exists(file))
    return FromText(base::ReadTextFile(file.string(), kMaxFileBytes), base::PrintableUtf8(file.string()));
  for (const char* json : {"chat_template.json", "tokenizer_config.json"}) {
    const std::string path = (base / json).string();
    if (!exists(path)) continue;
    const base::Config config = base::Config::FromFile(path);
    const auto found = config.json().find("chat_template");
    if (found == config.json().end()) continue;
    const std::string source = base::PrintableUtf8(path);
    if (const auto text = TemplateIn(*found, name, source)) return FromText(*text, source);
  }
  return nullptr;
}

std::vector<TextSpan> ChatTemplate::Render(const ChatInputs& inputs) const {
  Value messages = ReadList(inputs.messages_json, "the messages");
  Require(messages.list() != nullptr, "[chat template] expected the messages to be a list");
  std::vector<Value> chat;
  for (const Value& message : messages.list()->items) {
    Require(message.dict() != nullptr, "[chat template] expected each message to be an object, got ",
            message.TypeName());
    chat.push_back(WithReasoning(message));
  }
  ValueDict variables;
  if (!inputs.variables_json.empty()) {
    const Value more = FromJson(inputs.variables_json, "the variables");
    Require(more.dict() != nullptr, "[chat template] expected the variables to be an object");
    variables = more.dict()->items;
  }
  const auto set = [&](std::string_view name, Value value) {
    std::erase_if(variables, [&](const auto& item) { return item.first.text()->text() == name; });
    variables.emplace_back(Value::Template(name), std::move(value));
  };
  for (const auto& [name, token] : inputs.special_tokens) {
    if (FindName(variables, name) == nullptr) set(name, Value::Template(token));
  }
  set("messages", Value::List(std::move(chat)));
  set("tools", ReadList(inputs.tools_json, "the tools"));
  set("documents", ReadList(inputs.documents_json, "the documents"));
  set("add_generation_prompt", inputs.add_generation_prompt);

  const MarkedText text = TemplateMachine(impl_->source, std::move(variables), inputs.now_seconds).Run(impl_->body);
  std::vector<TextSpan> spans;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    while (end < text.size() && text.IsForeign(end) == text.IsForeign(begin)) ++end;
    spans.push_back({text.text().substr(begin, end - begin), !text.IsForeign(begin)});
    begin = end;
  }
  return spans;
}

std::string ChatTemplate::RenderText(const ChatInputs& inputs) const {
  std::string text;
  for (const TextSpan& span : Render(inputs)) text += span.text;
  return text;
}

}  // namespace fovea::text
