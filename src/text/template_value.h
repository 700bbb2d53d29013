// The values of chat templates: those of Jinja, with Python's rules for truth, equality, order and text. Every byte of
// a text knows whether the template wrote it or somebody else did (a user, a picture, a document), and keeps that
// through slicing, joining, replacing and changing case: what is foreign never becomes a control token.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fovea::text {

struct TemplateNode;

class MarkedText {
 public:
  MarkedText() = default;
  MarkedText(std::string_view text, bool is_foreign) : text_(text), marks_(text.size(), is_foreign ? 1 : 0) {}

  void Append(const MarkedText& other) {
    text_ += other.text_;
    marks_ += other.marks_;
  }
  void Append(std::string_view text, bool is_foreign) {
    text_ += text;
    marks_.append(text.size(), is_foreign ? 1 : 0);
  }
  MarkedText Slice(size_t begin, size_t end) const;  // bytes

  const std::string& text() const { return text_; }
  bool IsForeign(size_t at) const { return marks_[at] != 0; }
  bool HasForeign() const { return marks_.find('\1') != std::string::npos; }
  size_t size() const { return text_.size(); }
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
  std::string marks_;  // one for each byte, 1 for foreign
};

class Value;
using ValueDict = std::vector<std::pair<Value, Value>>;  // in order of insertion

struct Undefined {
  std::string what;  // for errors: the name or attribute that is missing
};
struct ListValue {
  std::vector<Value> items;
  bool is_tuple = false;
  int depth = 1;
};
struct DictValue {
  ValueDict items;
  int depth = 1;
};
// The one kind of value that changes. Holds no other namespace, so that nothing refers to itself.
struct NamespaceValue {
  ValueDict items;
};
// What `loop` is within a for.
struct LoopValue {
  std::shared_ptr<const ListValue> items;
  int64_t index = 0, depth = 1;
  std::shared_ptr<const ListValue> changed;  // arguments of the last loop.changed()
};
// A function of the template language, a method of a value, or a macro.
struct CallableValue {
  std::string name;
  std::shared_ptr<const Value> self;  // of methods
  const TemplateNode* macro = nullptr;
};

class Value {
 public:
  using None = std::monostate;
  Value() : data_(None()) {}
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(Undefined value) : data_(std::make_shared<const Undefined>(std::move(value))) {}
  Value(MarkedText value) : data_(std::make_shared<const MarkedText>(std::move(value))) {}
  Value(CallableValue value) : data_(std::make_shared<const CallableValue>(std::move(value))) {}
  Value(std::shared_ptr<NamespaceValue> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<LoopValue> value) : data_(std::move(value)) {}
  Value(const char*) = delete;
  static Value Template(std::string_view text) { return MarkedText(text, false); }
  static Value Foreign(std::string_view text) { return MarkedText(text, true); }
  // Throw kResourceExhausted when lists are nested too deeply.
  static Value List(std::vector<Value> items, bool is_tuple = false);
  static Value Dict(ValueDict items);

  bool IsNone() const { return std::holds_alternative<None>(data_); }
  bool IsBool() const { return std::holds_alternative<bool>(data_); }
  bool IsInteger() const { return std::holds_alternative<int64_t>(data_); }
  bool IsFloat() const { return std::holds_alternative<double>(data_); }
  bool IsNumber() const { return IsBool() || IsInteger() || IsFloat(); }
  bool IsUndefined() const { return undefined() != nullptr; }

  // Null when the value is of another kind.
  const Undefined* undefined() const { return Get<const Undefined>(); }
  const MarkedText* text() const { return Get<const MarkedText>(); }
  const ListValue* list() const { return Get<const ListValue>(); }
  const DictValue* dict() const { return Get<const DictValue>(); }
  const CallableValue* callable() const { return Get<const CallableValue>(); }
  NamespaceValue* space() const { return Get<NamespaceValue>(); }
  LoopValue* loop() const { return Get<LoopValue>(); }
  std::shared_ptr<const ListValue> SharedList() const { return std::get<std::shared_ptr<const ListValue>>(data_); }

  bool boolean() const { return std::get<bool>(data_); }
  // Of numbers; a bool counts as 0 or 1.
  int64_t integer() const { return IsBool() ? boolean() : std::get<int64_t>(data_); }
  double number() const { return IsFloat() ? std::get<double>(data_) : static_cast<double>(integer()); }

  bool IsTrue() const;
  const char* TypeName() const;  // as Python says it
  int depth() const;

 private:
  template <typename T>
  T* Get() const {
    const auto* found = std::get_if<std::shared_ptr<T>>(&data_);
    return found == nullptr ? nullptr : found->get();
  }
  std::variant<None, bool, int64_t, double, std::shared_ptr<const Undefined>, std::shared_ptr<const MarkedText>,
               std::shared_ptr<const ListValue>, std::shared_ptr<const DictValue>, std::shared_ptr<const CallableValue>,
               std::shared_ptr<NamespaceValue>, std::shared_ptr<LoopValue>>
      data_;
};

bool Equal(const Value& a, const Value& b);
// Negative, 0 or positive; nullopt for values without an order.
std::optional<int> Compare(const Value& a, const Value& b);
const Value* FindKey(const ValueDict& dict, const Value& key);
const Value* FindName(const ValueDict& dict, std::string_view key);

// Python's str() and repr().
MarkedText ToText(const Value& value);
MarkedText ToRepr(const Value& value);
std::string FloatText(double value);

struct JsonStyle {
  bool ascii = false, sorted = false;
  std::optional<std::string> indent;  // one level
  std::string comma = ", ", colon = ": ";
};
// Python's json.dumps. Throws kInvalidArgument for values that JSON does not have.
MarkedText ToJson(const Value& value, const JsonStyle& style);
// The value of JSON text; strings in it are foreign. Throws kCorruptData / kResourceExhausted naming `source`.
Value FromJson(std::string_view json, const std::string& source);

}  // namespace fovea::text
