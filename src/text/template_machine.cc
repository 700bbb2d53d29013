#include "text/template_machine.h"

#include <algorithm>
#include <cmath>

#include "text/unicode.h"

namespace fovea::text {
namespace {

using Node = TemplateNode;
using Kind = TemplateNode::Kind;

// Python's floor division and modulo.
int64_t FloorDivide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? quotient - 1 : quotient;
}
double FloorModulo(double a, double b) {
  const double rest = std::fmod(a, b);
  return rest != 0.0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

}  // namespace

const Value* TemplateArguments::Find(size_t position, std::string_view name) const {
  if (position < values.size()) return &values[position];
  for (const auto& [key, value] : named) {
    if (key == name) return &value;
  }
  return nullptr;
}

// One level of nested evaluation, and the line that errors name.
struct TemplateMachine::Depth {
  Depth(TemplateMachine& machine, const Node& node) : machine(machine), line(machine.line_) {
    machine.line_ = node.line;
    if (++machine.depth_ > kMaxDepth) {
      --machine.depth_;
      ::fovea::Fail(ErrorCode::kResourceExhausted, "[chat template] ", machine.source_, ", line ", node.line,
                    ": nested deeper than ", kMaxDepth);
    }
    if (++machine.steps_ > kMaxSteps) {
      --machine.depth_;
      ::fovea::Fail(ErrorCode::kResourceExhausted, "[chat template] ", machine.source_, ", line ", node.line,
                    ": more than ", kMaxSteps, " steps");
    }
  }
  ~Depth() {
    --machine.depth_;
    machine.line_ = line;
  }
  TemplateMachine& machine;
  int line;
};

TemplateMachine::TemplateMachine(const std::string& source, ValueDict variables, std::optional<int64_t> now_seconds)
    : source_(source), variables_(std::move(variables)), now_seconds_(now_seconds) {}

MarkedText TemplateMachine::Run(const TemplateBody& body) {
  MarkedText output;
  output_ = &output;
  scopes_.assign(1, {});
  Execute(body);
  return output;
}

void TemplateMachine::Charge(size_t bytes) {
  built_ += static_cast<int64_t>(bytes);
  if (built_ > kMaxBuiltBytes) {
    ::fovea::Fail(ErrorCode::kResourceExhausted, "[chat template] ", source_, ", line ", line_, ": builds more than ",
                  kMaxBuiltBytes, " bytes");
  }
}

int64_t TemplateMachine::Integer(const Value& value, const char* what) const {
  if (!value.IsBool() && !value.IsInteger()) Fail("expected ", what, " to be an integer, got ", value.TypeName());
  return value.integer();
}

const MarkedText& TemplateMachine::Text(const Value& value, const char* what) const {
  if (value.text() == nullptr) Fail("expected ", what, " to be a string, got ", value.TypeName());
  return *value.text();
}

// ---- statements

TemplateMachine::Flow TemplateMachine::Execute(const TemplateBody& body) {
  for (const TemplateNodePtr& node : body) {
    if (const Flow flow = ExecuteNode(*node); flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

void TemplateMachine::Print(const Value& value) {
  const MarkedText text = ToText(value);
  Charge(text.size());
  if (static_cast<int64_t>(output_->size() + text.size()) > kMaxOutputBytes) {
    ::fovea::Fail(ErrorCode::kResourceExhausted, "[chat template] ", source_, ", line ", line_,
                  ": the text has more than ", kMaxOutputBytes, " bytes");
  }
  output_->Append(text);
}

TemplateMachine::Flow TemplateMachine::ExecuteNode(const Node& node) {
  const Depth depth(*this, node);
  switch (node.kind) {
    case Kind::kOutput:
      for (const TemplateNodePtr& item : node.items) Print(Evaluate(*item));
      return Flow::kOn;
    case Kind::kIf: return If(node);
    case Kind::kFor: return For(node);
    case Kind::kSet: Assign(*node.left, Evaluate(*node.right)); return Flow::kOn;
    case Kind::kSetBlock: {
      Value text = Capture(node.bodies[0]);
      if (node.third != nullptr) {
        block_texts_.push_back(std::move(text));
        text = Evaluate(*node.third);
        block_texts_.pop_back();
      }
      Assign(*node.left, std::move(text));
      return Flow::kOn;
    }
    case Kind::kFilterBlock:
      block_texts_.push_back(Capture(node.bodies[0]));
      Print(Evaluate(*node.left));
      block_texts_.pop_back();
      return Flow::kOn;
    case Kind::kMacro: {
      CallableValue macro{.name = node.name, .macro = &node};
      scopes_.back()[node.name] = Value(std::move(macro));
      return Flow::kOn;
    }
    case Kind::kWith: {
      Scope scope;
      for (const auto& [name, value] : node.keywords) scope[name] = Evaluate(*value);
      scopes_.push_back(std::move(scope));
      const Flow flow = Execute(node.bodies[0]);
      scopes_.pop_back();
      return flow;
    }
    case Kind::kScope: {
      scopes_.emplace_back();
      const Flow flow = Execute(node.bodies[0]);
      scopes_.pop_back();
      return flow;
    }
    case Kind::kBreak: return Flow::kBreak;
    case Kind::kContinue: return Flow::kContinue;
    default: Fail("an expression in the place of a statement");
  }
}

TemplateMachine::Flow TemplateMachine::If(const Node& node) {
  for (size_t i = 0; i < node.items.size(); ++i) {
    if (Evaluate(*node.items[i]).IsTrue()) return Execute(node.bodies[i]);
  }
  return node.bodies.size() > node.items.size() ? Execute(node.bodies.back()) : Flow::kOn;
}

TemplateMachine::Flow TemplateMachine::For(const Node& node) {
  std::vector<Value> elements = Elements(Evaluate(*node.right));
  if (node.third != nullptr) {
    std::vector<Value> kept;
    for (Value& element : elements) {
      scopes_.emplace_back();
      Assign(*node.left, element);
      if (Evaluate(*node.third).IsTrue()) kept.push_back(std::move(element));
      scopes_.pop_back();
    }
    elements = std::move(kept);
  }
  if (elements.empty()) return node.bodies.size() > 1 ? Execute(node.bodies[1]) : Flow::kOn;
  const auto loop = std::make_shared<LoopValue>();
  loop->depth = ++loop_depth_;
  loop->items = Value::List(std::move(elements)).SharedList();
  for (const Value& element : loop->items->items) {
    scopes_.emplace_back();
    scopes_.back()["loop"] = Value(loop);
    Assign(*node.left, element);
    const Flow flow = Execute(node.bodies[0]);
    scopes_.pop_back();
    ++loop->index;
    ++steps_;
    if (flow == Flow::kBreak) break;
  }
  --loop_depth_;
  return Flow::kOn;
}

void TemplateMachine::Assign(const Node& target, Value value) {
  if (target.kind == Kind::kName) {
    scopes_.back()[target.name] = std::move(value);
    return;
  }
  if (target.kind == Kind::kTuple) {
    const std::vector<Value> elements = Elements(value);
    if (elements.size() != target.items.size())
      Fail("expected ", target.items.size(), " values to assign, got ", elements.size());
    for (size_t i = 0; i < elements.size(); ++i) Assign(*target.items[i], elements[i]);
    return;
  }
  const Value space = Lookup(target.left->name);
  if (space.space() == nullptr) Fail("cannot assign to a field of \"", target.left->name, "\", which is no namespace");
  if (target.name.starts_with('_')) Fail("fields of a namespace cannot start with \"_\"");
  value.depth();  // refuses namespaces within namespaces
  for (auto& [key, old] : space.space()->items) {
    if (key.text()->text() == target.name) {
      old = std::move(value);
      return;
    }
  }
  space.space()->items.emplace_back(Value::Template(target.name), std::move(value));
}

MarkedText TemplateMachine::Capture(const TemplateBody& body) {
  MarkedText text;
  MarkedText* const outer = std::exchange(output_, &text);
  scopes_.emplace_back();
  Execute(body);
  scopes_.pop_back();
  output_ = outer;
  return text;
}

// ---- expressions

Value TemplateMachine::Lookup(const std::string& name) {
  for (size_t i = scopes_.size(); i-- > base_;) {
    if (const auto found = scopes_[i].find(name); found != scopes_[i].end()) return found->second;
  }
  if (base_ > 0) {
    if (const auto found = scopes_[0].find(name); found != scopes_[0].end()) return found->second;
  }
  if (const Value* found = FindName(variables_, name)) return *found;
  for (const std::string_view known : {"range", "namespace", "dict", "raise_exception", "strftime_now"}) {
    if (name == known) return CallableValue{.name = name};
  }
  for (const std::string_view known : {"lipsum", "cycler", "joiner"}) {
    if (name == known) Refuse("the function \"", name, "\"");
  }
  return Undefined{"\"" + name + "\""};
}

Value TemplateMachine::Evaluate(const Node& node) {
  if (node.kind == Kind::kConstant) return node.constant;
  const Depth depth(*this, node);
  return EvaluateNode(node);
}

Value TemplateMachine::EvaluateNode(const Node& node) {
  switch (node.kind) {
    case Kind::kName: return Lookup(node.name);
    case Kind::kBlockText: return block_texts_.back();
    case Kind::kList:
    case Kind::kTuple: {
      std::vector<Value> items;
      for (const TemplateNodePtr& item : node.items) items.push_back(Evaluate(*item));
      Charge(items.size() * sizeof(Value));
      return Value::List(std::move(items), node.kind == Kind::kTuple);
    }
    case Kind::kDict: {
      ValueDict items;
      for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
        Value key = Evaluate(*node.items[i]), value = Evaluate(*node.items[i + 1]);
        const auto same =
            std::find_if(items.begin(), items.end(), [&](const auto& item) { return Equal(item.first, key); });
        if (same != items.end()) {
          same->second = std::move(value);
        } else {
          items.emplace_back(std::move(key), std::move(value));
        }
      }
      Charge(items.size() * 2 * sizeof(Value));
      return Value::Dict(std::move(items));
    }
    case Kind::kAttribute: return Attribute(Evaluate(*node.left), node.name);
    case Kind::kSubscript: return Subscript(node);
    case Kind::kCall: return Call(node);
    case Kind::kFilter: return Filter(node.name, Evaluate(*node.left), Arguments(node));
    case Kind::kTest: return Test(node.name, Evaluate(*node.left), Arguments(node));
    case Kind::kNot: return !Evaluate(*node.left).IsTrue();
    case Kind::kNegate: return Arithmetic("-", int64_t{0}, Evaluate(*node.left));
    case Kind::kPlus: return Arithmetic("+", int64_t{0}, Evaluate(*node.left));
    case Kind::kAnd: {
      Value left = Evaluate(*node.left);
      return left.IsTrue() ? Evaluate(*node.right) : left;
    }
    case Kind::kOr: {
      Value left = Evaluate(*node.left);
      return left.IsTrue() ? left : Evaluate(*node.right);
    }
    case Kind::kCompare: return Compared(node);
    case Kind::kBinary: {
      const Value left = Evaluate(*node.left);
      return Arithmetic(node.name, left, Evaluate(*node.right));
    }
    case Kind::kConcat: {
      MarkedText text;
      for (const TemplateNodePtr& item : node.items) text.Append(ToText(Evaluate(*item)));
      Charge(text.size());
      return text;
    }
    case Kind::kIfElse:
      if (Evaluate(*node.right).IsTrue()) return Evaluate(*node.left);
      if (node.third != nullptr) return Evaluate(*node.third);
      return Undefined{"an if without else"};
    default: Fail("a statement in the place of an expression");
  }
}

Value TemplateMachine::Compared(const Node& node) {
  Value left = Evaluate(*node.left);
  for (size_t i = 0; i < node.items.size(); ++i) {
    Value right = Evaluate(*node.items[i]);
    if (!Holds(node.operators[i], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

bool TemplateMachine::Holds(const std::string& comparison, const Value& left, const Value& right) {
  if (comparison == "==") return Equal(left, right);
  if (comparison == "!=") return !Equal(left, right);
  if (comparison == "not in") return !Holds("in", left, right);
  if (comparison == "in") {
    if (const auto* text = right.text()) {
      Charge(text->size() / 16);
      return text->text().find(Text(left, "what is searched in a string").text()) != std::string::npos;
    }
    if (const auto* dict = right.dict()) return FindKey(dict->items, left) != nullptr;
    if (right.IsUndefined()) return false;
    if (right.list() == nullptr) Fail("cannot search in a value of the type ", right.TypeName());
    Charge(right.list()->items.size());
    return std::any_of(right.list()->items.begin(), right.list()->items.end(),
                       [&](const Value& item) { return Equal(item, left); });
  }
  const std::optional<int> order = text::Compare(left, right);
  if (!order.has_value())
    Fail("\"", comparison, "\" is not possible between ", left.TypeName(), " and ", right.TypeName(),
         left.undefined() != nullptr ? " (" + left.undefined()->what + ")" : "");
  if (comparison == "<") return *order < 0;
  if (comparison == "<=") return *order <= 0;
  if (comparison == ">") return *order > 0;
  return *order >= 0;
}

Value TemplateMachine::Arithmetic(const std::string& name, const Value& left, const Value& right) {
  if (left.IsNumber() && right.IsNumber()) {
    if (left.IsFloat() || right.IsFloat() || name == "/") {
      const double a = left.number(), b = right.number();
      if (name == "+") return a + b;
      if (name == "-") return a - b;
      if (name == "*") return a * b;
      if (name == "**") return std::pow(a, b);
      if (b == 0.0) Fail("division by zero");
      return name == "/" ? a / b : name == "//" ? std::floor(a / b) : FloorModulo(a, b);
    }
    const int64_t a = left.integer(), b = right.integer();
    int64_t result = 0;
    bool overflows = false;
    if (name == "+") {
      overflows = __builtin_add_overflow(a, b, &result);
    } else if (name == "-") {
      overflows = __builtin_sub_overflow(a, b, &result);
    } else if (name == "*") {
      overflows = __builtin_mul_overflow(a, b, &result);
    } else if (name == "**") {
      if (b < 0) return std::pow(static_cast<double>(a), static_cast<double>(b));
      result = 1;
      for (int64_t i = 0; i < b && !overflows && (i < 64 || (a != 0 && a != 1 && a != -1)); ++i)
        overflows = __builtin_mul_overflow(result, a, &result);
      if (a == -1) result = b % 2 == 0 ? 1 : -1;
    } else {
      if (b == 0) Fail("division by zero");
      if (b == -1) return name == "//" ? Arithmetic("-", int64_t{0}, left) : Value(int64_t{0});
      result = name == "//" ? FloorDivide(a, b) : a - FloorDivide(a, b) * b;
    }
    if (overflows) Fail("a number is too large");
    return result;
  }
  if (name == "%" && left.text() != nullptr) return FormatPercent(*left.text(), right);
  if (name == "+" && left.text() != nullptr && right.text() != nullptr) {
    MarkedText text = *left.text();
    text.Append(*right.text());
    Charge(text.size());
    return text;
  }
  if (name == "+" && left.list() != nullptr && right.list() != nullptr &&
      left.list()->is_tuple == right.list()->is_tuple) {
    std::vector<Value> items = left.list()->items;
    items.insert(items.end(), right.list()->items.begin(), right.list()->items.end());
    Charge(items.size() * sizeof(Value));
    return Value::List(std::move(items), left.list()->is_tuple);
  }
  if (name == "*" && (left.IsInteger() || right.IsInteger())) {
    const Value& many = left.IsInteger() ? right : left;
    const int64_t count = std::max<int64_t>((left.IsInteger() ? left : right).integer(), 0);
    const auto size = many.text() != nullptr   ? many.text()->size()
                      : many.list() != nullptr ? many.list()->items.size()
                                               : 0;
    if (many.text() == nullptr && many.list() == nullptr) Impossible(name, left, right);
    if (size > 0 && count > kMaxOutputBytes / static_cast<int64_t>(size)) Charge(kMaxBuiltBytes);
    Charge(size * static_cast<size_t>(count) * (many.text() != nullptr ? 1 : sizeof(Value)) + 1);
    MarkedText text;
    std::vector<Value> items;
    for (int64_t i = 0; i < count && size > 0; ++i) {
      if (many.text() != nullptr) {
        text.Append(*many.text());
      } else {
        items.insert(items.end(), many.list()->items.begin(), many.list()->items.end());
      }
    }
    return many.text() != nullptr ? Value(std::move(text)) : Value::List(std::move(items), many.list()->is_tuple);
  }
  Impossible(name, left, right);
}

void TemplateMachine::Impossible(const std::string& name, const Value& left, const Value& right) const {
  const Undefined* missing = left.undefined() != nullptr ? left.undefined() : right.undefined();
  if (missing != nullptr) Fail(missing->what, " is undefined");
  Fail("\"", name, "\" is not possible between ", left.TypeName(), " and ", right.TypeName());
}

std::vector<Value> TemplateMachine::Elements(const Value& value) {
  std::vector<Value> elements;
  if (const auto* list = value.list()) {
    elements = list->items;
  } else if (const auto* dict = value.dict()) {
    for (const auto& item : dict->items) elements.push_back(item.first);
  } else if (const auto* text = value.text()) {
    Charge(text->size() * (sizeof(Value) + sizeof(MarkedText)));
    for (size_t at = 0; at < text->size();) {
      const size_t begin = at;
      at += Utf8Length(text->text()[at]);
      elements.emplace_back(text->Slice(begin, at));
    }
  } else if (!value.IsUndefined()) {
    Fail("cannot go through a value of the type ", value.TypeName());
  }
  Charge(elements.size() * sizeof(Value));
  return elements;
}

Value TemplateMachine::Attribute(const Value& object, std::string_view name) {
  if (const auto* missing = object.undefined()) Fail(missing->what, " is undefined, it has no \"", name, "\"");
  if (HasMethod(object, name)) {
    return CallableValue{.name = std::string(name), .self = std::make_shared<const Value>(object)};
  }
  const Value* found = nullptr;
  if (const auto* dict = object.dict()) found = FindName(dict->items, name);
  if (const auto* space = object.space()) found = FindName(space->items, name);
  if (const auto* loop = object.loop()) return LoopField(*loop, name);
  if (found != nullptr) return *found;
  return Undefined{base::StrCat("\"", name, "\" of a ", object.TypeName())};
}

Value TemplateMachine::LoopField(const LoopValue& loop, std::string_view name) {
  const auto& items = loop.items->items;
  const auto count = static_cast<int64_t>(items.size());
  const auto at = [&](int64_t i) {
    return i >= 0 && i < count ? items[i] : Value(Undefined{"an item beyond the loop"});
  };
  if (name == "index") return loop.index + 1;
  if (name == "index0") return loop.index;
  if (name == "revindex") return count - loop.index;
  if (name == "revindex0") return count - loop.index - 1;
  if (name == "first") return loop.index == 0;
  if (name == "last") return loop.index + 1 == count;
  if (name == "length") return count;
  if (name == "depth") return loop.depth;
  if (name == "depth0") return loop.depth - 1;
  if (name == "previtem") return at(loop.index - 1);
  if (name == "nextitem") return at(loop.index + 1);
  return Undefined{base::StrCat("\"", name, "\" of a loop")};
}

Value TemplateMachine::Item(const Value& object, const Value& key) {
  if (const auto* missing = object.undefined()) Fail(missing->what, " is undefined, it has no items");
  if (const auto* dict = object.dict()) {
    if (const Value* found = FindKey(dict->items, key)) return *found;
  }
  const auto* list = object.list();
  const auto* text = object.text();
  if ((list != nullptr || text != nullptr) && (key.IsInteger() || key.IsBool())) {
    int64_t index = key.integer();
    const int64_t count = list != nullptr ? static_cast<int64_t>(list->items.size()) : CountCodePoints(text->text());
    if (index < 0) index += count;
    if (index < 0 || index >= count) return Undefined{"an item beyond the end"};
    if (list != nullptr) return list->items[index];
    Charge(text->size() / 16);
    size_t at = 0;
    while (index-- > 0) at += Utf8Length(text->text()[at]);
    return text->Slice(at, at + Utf8Length(text->text()[at]));
  }
  if (key.text() != nullptr) return Attribute(object, key.text()->text());
  return Undefined{base::StrCat("an item of a ", object.TypeName())};
}

Value TemplateMachine::Path(const Value& object, const Value& path) {
  if (path.IsInteger()) return Item(object, path);
  const std::string& names = Text(path, "an attribute").text();
  Value value = object;
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find('.', begin), names.size());
    const std::string name = names.substr(begin, end - begin);
    const bool is_index =
        !name.empty() && name.size() < 10 && name.find_first_not_of("0123456789") == std::string::npos;
    value = is_index ? Item(value, static_cast<int64_t>(std::stoll(name))) : Item(value, Value::Template(name));
    begin = end + 1;
  }
  return value;
}

Value TemplateMachine::Subscript(const Node& node) {
  const Value object = Evaluate(*node.left);
  if (node.right->kind == Kind::kSlice) return Slice(object, *node.right);
  return Item(object, Evaluate(*node.right));
}

Value TemplateMachine::Slice(const Value& object, const Node& slice) {
  if (const auto* missing = object.undefined()) Fail(missing->what, " is undefined, it has no items");
  const auto* list = object.list();
  const auto* text = object.text();
  if (list == nullptr && text == nullptr) Fail("cannot slice a value of the type ", object.TypeName());
  std::vector<size_t> starts;  // of the characters of a text
  if (text != nullptr) {
    for (size_t at = 0; at < text->size(); at += Utf8Length(text->text()[at])) starts.push_back(at);
    starts.push_back(text->size());
    Charge(starts.size() * sizeof(size_t));
  }
  const auto count = static_cast<int64_t>(list != nullptr ? list->items.size() : starts.size() - 1);
  const auto bound = [&](const TemplateNodePtr& node, int64_t fallback) {
    if (node == nullptr) return fallback;
    const Value value = Evaluate(*node);
    return value.IsNone() ? fallback : Integer(value, "a bound of a slice");
  };
  const int64_t step = bound(slice.third, 1);
  if (step == 0) Fail("the step of a slice is zero");
  const auto clamp = [&](int64_t value) {
    if (value < 0) value = value < -count ? -1 : value + count;
    return step > 0 ? std::clamp<int64_t>(value, 0, count) : std::clamp<int64_t>(value, -1, count - 1);
  };
  const int64_t begin =
      slice.left == nullptr ? (step > 0 ? 0 : count - 1) : clamp(bound(slice.left, step > 0 ? 0 : count - 1));
  int64_t end = step > 0 ? count : -1;
  if (slice.right != nullptr) {
    const Value value = Evaluate(*slice.right);
    if (!value.IsNone()) end = clamp(Integer(value, "a bound of a slice"));
  }
  std::vector<Value> items;
  MarkedText part;
  for (int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
    if (list != nullptr) {
      items.push_back(list->items[i]);
    } else if (step == 1) {
      part = text->Slice(starts[i], starts[end]);
      break;
    } else {
      part.Append(text->Slice(starts[i], starts[i + 1]));
    }
    if (step > count || step < -count) break;
  }
  Charge(items.size() * sizeof(Value) + part.size());
  return list != nullptr ? Value::List(std::move(items), list->is_tuple) : Value(std::move(part));
}

}  // namespace fovea::text
