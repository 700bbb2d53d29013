// Runs the tree of a chat template. Every step, and every byte that is built, is counted against a limit: a hostile
// template ends with an error, not with the memory or the day. Nothing outside the values given in can be reached.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/template_parser.h"

namespace fovea::text {

struct TemplateArguments {
  std::vector<Value> values;
  std::vector<std::pair<std::string, Value>> named;

  // The argument at a position or with a name; null when it is absent.
  const Value* Find(size_t position, std::string_view name) const;
};

class TemplateMachine {
 public:
  static constexpr int64_t kMaxSteps = 4'000'000;
  static constexpr int64_t kMaxOutputBytes = 16 << 20;
  static constexpr int64_t kMaxBuiltBytes = 256 << 20;  // of all texts and lists together
  static constexpr int kMaxDepth = 250;

  // `now_seconds`: what strftime_now shows, in seconds since 1970; absent: the clock.
  TemplateMachine(const std::string& source, ValueDict variables, std::optional<int64_t> now_seconds);
  MarkedText Run(const TemplateBody& body);

  // ---- for filters, tests and methods
  template <typename... Parts>
  [[noreturn]] void Fail(const Parts&... what) const {
    ::fovea::Fail(ErrorCode::kInvalidArgument, "[chat template] ", source_, ", line ", line_, ": ", what...);
  }
  template <typename... Parts>
  [[noreturn]] void Refuse(const Parts&... what) const {
    ::fovea::Fail(ErrorCode::kUnimplemented, "[chat template] ", source_, ", line ", line_, ": ", what...,
                  " is not supported");
  }
  void Charge(size_t bytes);
  // The elements of a list, the keys of a dict, the characters of a text; nothing for an undefined value.
  std::vector<Value> Elements(const Value& value);
  Value Attribute(const Value& object, std::string_view name);
  Value Item(const Value& object, const Value& key);
  // As "a.b.0": what filters take as attribute=.
  Value Path(const Value& object, const Value& path);
  Value Filter(const std::string& name, const Value& value, const TemplateArguments& arguments);
  bool Test(const std::string& name, const Value& value, const TemplateArguments& arguments);
  Value Method(const Value& self, const std::string& name, const TemplateArguments& arguments);
  Value Arithmetic(const std::string& name, const Value& left, const Value& right);
  bool Holds(const std::string& comparison, const Value& left, const Value& right);
  Value FormatPercent(const MarkedText& format, const Value& arguments);
  int64_t Integer(const Value& value, const char* what) const;
  const MarkedText& Text(const Value& value, const char* what) const;

 private:
  enum class Flow { kOn, kBreak, kContinue };
  using Scope = std::map<std::string, Value, std::less<>>;
  struct Depth;

  Flow Execute(const TemplateBody& body);
  Flow ExecuteNode(const TemplateNode& node);
  Flow If(const TemplateNode& node);
  Flow For(const TemplateNode& node);
  void Assign(const TemplateNode& target, Value value);
  MarkedText Capture(const TemplateBody& body);
  void Print(const Value& value);

  Value Evaluate(const TemplateNode& node);
  Value EvaluateNode(const TemplateNode& node);
  Value Compared(const TemplateNode& node);
  Value Subscript(const TemplateNode& node);
  Value Slice(const Value& object, const TemplateNode& slice);
  Value Call(const TemplateNode& node);
  Value CallFunction(const std::string& name, const TemplateArguments& arguments);
  Value CallMacro(const TemplateNode& macro, const TemplateArguments& arguments);
  Value CallLoop(LoopValue& loop, const std::string& name, const TemplateArguments& arguments);
  Value LoopField(const LoopValue& loop, std::string_view name);
  TemplateArguments Arguments(const TemplateNode& node);
  Value Lookup(const std::string& name);
  [[noreturn]] void Impossible(const std::string& name, const Value& left, const Value& right) const;
  Value StrftimeNow(const MarkedText& format);

  const std::string& source_;
  ValueDict variables_;
  std::optional<int64_t> now_seconds_;
  std::vector<Scope> scopes_;
  size_t base_ = 0;  // the first scope of the macro that runs; scope 0 is the template's own
  MarkedText* output_ = nullptr;
  std::vector<Value> block_texts_;
  int64_t steps_ = 0, built_ = 0;
  int depth_ = 0, line_ = 0, loop_depth_ = 0;
};

// Whether a value of this type has the method; refused ones (those that would change the value) included.
bool HasMethod(const Value& value, std::string_view name);

}  // namespace fovea::text
