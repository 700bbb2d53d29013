// Calls of chat templates: macros, what `loop` offers, and the few functions of the language.
#include <algorithm>
#include <chrono>
#include <ctime>

#include "text/template_machine.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using Node = TemplateNode;

constexpr int64_t kMaxRange = 100'000;

}  // namespace

TemplateArguments TemplateMachine::Arguments(const Node& node) {
  TemplateArguments arguments;
  for (const TemplateNodePtr& item : node.items) arguments.values.push_back(Evaluate(*item));
  for (const auto& [name, value] : node.keywords) arguments.named.emplace_back(name, Evaluate(*value));
  return arguments;
}

Value TemplateMachine::Call(const Node& node) {
  const Value function = Evaluate(*node.left);
  if (const auto* missing = function.undefined()) Fail(missing->what, " is undefined and cannot be called");
  const auto* callable = function.callable();
  if (callable == nullptr) Fail("a value of the type ", function.TypeName(), " cannot be called");
  const TemplateArguments arguments = Arguments(node);
  if (callable->macro != nullptr) return CallMacro(*callable->macro, arguments);
  if (callable->self == nullptr) return CallFunction(callable->name, arguments);
  if (auto* loop = callable->self->loop()) return CallLoop(*loop, callable->name, arguments);
  return Method(*callable->self, callable->name, arguments);
}

Value TemplateMachine::CallLoop(LoopValue& loop, const std::string& name, const TemplateArguments& arguments) {
  if (name == "cycle") {
    if (arguments.values.empty()) Fail("loop.cycle() needs values");
    return arguments.values[static_cast<size_t>(loop.index) % arguments.values.size()];
  }
  const Value now = Value::List(arguments.values, true);
  const bool is_same = loop.changed != nullptr && loop.changed->items.size() == arguments.values.size() &&
                       std::equal(arguments.values.begin(), arguments.values.end(), loop.changed->items.begin(), Equal);
  loop.changed = now.SharedList();
  return !is_same;
}

Value TemplateMachine::CallMacro(const Node& macro, const TemplateArguments& arguments) {
  Scope scope;
  size_t used = 0;
  for (size_t i = 0; i < macro.keywords.size(); ++i) {
    const auto& [name, fallback] = macro.keywords[i];
    const Value* given = i < arguments.values.size() ? &arguments.values[i] : nullptr;
    for (const auto& [key, value] : arguments.named) {
      if (key != name) continue;
      if (given != nullptr) Fail("the macro ", macro.name, " got \"", name, "\" twice");
      given = &value;
    }
    used += given != nullptr;
    if (given != nullptr) scope[name] = *given;
  }
  if (used != arguments.values.size() + arguments.named.size())
    Fail("the macro ", macro.name, " got more arguments than it takes");
  const size_t outer = std::exchange(base_, scopes_.size());
  scopes_.push_back(std::move(scope));
  for (const auto& [name, fallback] : macro.keywords) {
    if (scopes_.back().contains(name)) continue;
    scopes_.back()[name] =
        fallback != nullptr ? Evaluate(*fallback) : Value(Undefined{"the parameter \"" + name + "\""});
  }
  MarkedText text = Capture(macro.bodies[0]);
  scopes_.pop_back();
  base_ = outer;
  return text;
}

Value TemplateMachine::CallFunction(const std::string& name, const TemplateArguments& arguments) {
  if (name == "range") {
    if (arguments.values.empty() || arguments.values.size() > 3) Fail("range() takes one to three numbers");
    int64_t bounds[3] = {0, 0, 1};
    for (size_t i = 0; i < arguments.values.size(); ++i) bounds[i] = Integer(arguments.values[i], "a bound of range()");
    if (arguments.values.size() == 1) std::swap(bounds[0], bounds[1]);
    if (bounds[2] == 0) Fail("the step of range() is zero");
    std::vector<Value> items;
    for (__int128 i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1]; i += bounds[2]) {
      if (static_cast<int64_t>(items.size()) >= kMaxRange) Fail("range() gives more than ", kMaxRange, " numbers");
      items.emplace_back(static_cast<int64_t>(i));
    }
    Charge(items.size() * sizeof(Value));
    return Value::List(std::move(items));
  }
  if (name == "namespace" || name == "dict") {
    ValueDict items;
    if (!arguments.values.empty()) {
      if (arguments.values[0].dict() == nullptr) Fail(name, "() takes a dict and named values");
      items = arguments.values[0].dict()->items;
    }
    for (const auto& [key, value] : arguments.named) {
      if (name == "namespace" && key.starts_with('_')) Fail("fields of a namespace cannot start with \"_\"");
      value.depth();  // refuses namespaces within namespaces
      items.emplace_back(Value::Template(key), value);
    }
    if (name == "dict") return Value::Dict(std::move(items));
    const auto space = std::make_shared<NamespaceValue>();
    space->items = std::move(items);
    return Value(space);
  }
  const Value* argument = arguments.Find(0, name == "strftime_now" ? "format" : "message");
  if (argument == nullptr) Fail(name, "() needs an argument");
  if (name == "raise_exception")
    Fail("the template refuses this chat: ", base::PrintableUtf8(ToText(*argument).text()));
  return StrftimeNow(Text(*argument, "a format"));
}

Value TemplateMachine::StrftimeNow(const MarkedText& format) {
  constexpr size_t kMaxFormatBytes = 256;
  if (format.size() > kMaxFormatBytes) Fail("the format of strftime_now has more than ", kMaxFormatBytes, " bytes");
  if (format.empty()) return Value::Template("");
  const std::time_t seconds = now_seconds_.has_value()
                                  ? static_cast<std::time_t>(*now_seconds_)
                                  : std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char buffer[8192];
  const size_t length = std::strftime(buffer, sizeof(buffer), format.text().c_str(), &parts);
  return MarkedText(ReplaceInvalidUtf8({buffer, length}), format.HasForeign());
}

}  // namespace fovea::text
