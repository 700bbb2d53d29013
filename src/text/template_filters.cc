// Filters and tests of chat templates, as Jinja has them; `tojson` as transformers replaces it.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/template_machine.h"
#include "text/template_text.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using Arguments = TemplateArguments;

// The arguments behind the first `count`.
Arguments Rest(const Arguments& arguments, size_t count) {
  Arguments rest;
  for (size_t i = count; i < arguments.values.size(); ++i) rest.values.push_back(arguments.values[i]);
  rest.named = arguments.named;
  return rest;
}

bool Flag(const Arguments& arguments, size_t position, const char* name, bool fallback) {
  const Value* value = arguments.Find(position, name);
  return value == nullptr ? fallback : value->IsTrue();
}

// What values are ordered by: an attribute, and without regard to case.
class Keys {
 public:
  Keys(TemplateMachine& machine, const Value* attribute, bool is_case_sensitive)
      : machine_(machine), attribute_(attribute), is_case_sensitive_(is_case_sensitive) {}
  Value Of(const Value& value) const {
    Value key = attribute_ == nullptr || attribute_->IsNone() ? value : machine_.Path(value, *attribute_);
    return key.text() != nullptr && !is_case_sensitive_ ? Value(Lower(*key.text())) : key;
  }
  bool Less(const Value& a, const Value& b) const {
    const std::optional<int> order = Compare(a, b);
    if (!order.has_value()) machine_.Fail("no order between ", a.TypeName(), " and ", b.TypeName());
    return *order < 0;
  }

 private:
  TemplateMachine& machine_;
  const Value* attribute_;
  bool is_case_sensitive_;
};

std::vector<Value> Sorted(TemplateMachine& machine, std::vector<Value> values, const Keys& keys, bool is_reversed) {
  std::vector<std::pair<Value, Value>> items;
  for (Value& value : values) items.emplace_back(keys.Of(value), std::move(value));
  machine.Charge(items.size() * 64);
  std::stable_sort(items.begin(), items.end(), [&](const auto& a, const auto& b) {
    return is_reversed ? keys.Less(b.first, a.first) : keys.Less(a.first, b.first);
  });
  values.clear();
  for (auto& item : items) values.push_back(std::move(item.second));
  return values;
}

Value Unique(TemplateMachine& machine, const std::vector<Value>& values, const Keys& keys) {
  std::vector<Value> seen, kept;
  for (const Value& value : values) {
    const Value key = keys.Of(value);
    machine.Charge(seen.size());
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return Equal(other, key); })) continue;
    seen.push_back(key);
    kept.push_back(value);
  }
  return Value::List(std::move(kept));
}

// min, max
Value Extreme(TemplateMachine& machine, const std::string& name, const Value& value, const Arguments& arguments) {
  const Keys keys(machine, arguments.Find(1, "attribute"), Flag(arguments, 0, "case_sensitive", false));
  const std::vector<Value> values = machine.Elements(value);
  if (values.empty()) return Undefined{"the " + name + " of nothing"};
  size_t best = 0;
  for (size_t i = 1; i < values.size(); ++i) {
    const Value a = keys.Of(values[i]), b = keys.Of(values[best]);
    if (name == "min" ? keys.Less(a, b) : keys.Less(b, a)) best = i;
  }
  return values[best];
}

// select, reject, selectattr, rejectattr
Value Chosen(TemplateMachine& machine, const std::string& name, const Value& value, const Arguments& arguments) {
  const bool has_attribute = name.ends_with("attr"), keeps = name.starts_with("select");
  if (has_attribute && arguments.values.empty()) machine.Fail(name, " needs an attribute");
  const size_t at = has_attribute ? 1 : 0;
  std::vector<Value> kept;
  if (!value.IsTrue()) return Value::List({});  // none too, as in the reference
  for (const Value& element : machine.Elements(value)) {
    const Value what = has_attribute ? machine.Path(element, arguments.values[0]) : element;
    bool holds = what.IsTrue();
    if (arguments.values.size() > at)
      holds =
          machine.Test(machine.Text(arguments.values[at], "the name of a test").text(), what, Rest(arguments, at + 1));
    if (holds == keeps) kept.push_back(element);
  }
  return Value::List(std::move(kept));
}

Value Mapped(TemplateMachine& machine, const Value& value, const Arguments& arguments) {
  std::vector<Value> mapped;
  if (!value.IsTrue()) return Value::List({});  // none too, as in the reference
  for (const Value& element : machine.Elements(value)) {
    if (!arguments.values.empty()) {
      const std::string& name = machine.Text(arguments.values[0], "the name of a filter").text();
      mapped.push_back(machine.Filter(name, element, Rest(arguments, 1)));
      continue;
    }
    const Value* attribute = arguments.Find(SIZE_MAX, "attribute");
    if (attribute == nullptr) machine.Fail("map needs a filter or an attribute");
    Value found = machine.Path(element, *attribute);
    const Value* fallback = arguments.Find(SIZE_MAX, "default");
    mapped.push_back(found.IsUndefined() && fallback != nullptr ? *fallback : std::move(found));
  }
  return Value::List(std::move(mapped));
}

Value Joined(TemplateMachine& machine, const Value& value, const Arguments& arguments) {
  const Value* separator = arguments.Find(0, "d");
  const Value* attribute = arguments.Find(1, "attribute");
  const MarkedText between = separator != nullptr ? ToText(*separator) : MarkedText();
  MarkedText out;
  bool is_first = true;
  for (const Value& element : machine.Elements(value)) {
    if (!std::exchange(is_first, false)) out.Append(between);
    const MarkedText text = ToText(attribute != nullptr ? machine.Path(element, *attribute) : element);
    machine.Charge(between.size() + text.size());
    out.Append(text);
  }
  return out;
}

Value Indented(TemplateMachine& machine, const MarkedText& text, const Arguments& arguments) {
  const Value* width = arguments.Find(0, "width");
  MarkedText indent("    ", false);
  if (width != nullptr && width->text() != nullptr) {
    indent = *width->text();
  } else if (width != nullptr) {
    indent = MarkedText(
        std::string(static_cast<size_t>(std::clamp<int64_t>(machine.Integer(*width, "a width"), 0, 1000)), ' '), false);
  }
  const bool indents_first = Flag(arguments, 1, "first", false), indents_blank = Flag(arguments, 2, "blank", false);
  std::vector<MarkedText> lines = SplitLines(text);
  // The reference adds a line break first, so that an empty last line counts.
  const bool ends_with_break = text.empty() || text.text().back() == '\n';
  if (ends_with_break) lines.emplace_back();
  MarkedText out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.Append("\n", false);
    const bool indents = i == 0 ? indents_first : indents_blank || !lines[i].empty();
    if (indents) out.Append(indent);
    out.Append(lines[i]);
    machine.Charge(indent.size() + lines[i].size() + 1);
  }
  return out;
}

// Python's int(text, base) and float(text); nullopt when the text is no number.
std::optional<int64_t> ParseInteger(const MarkedText& text, int base) {
  const MarkedText plain = Strip(text, std::nullopt, true, true);
  std::string_view digits = plain.text();
  if (digits.starts_with('+')) digits.remove_prefix(1);
  int64_t value = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}
std::optional<double> ParseFloat(const MarkedText& text) {
  const MarkedText plain = Strip(text, std::nullopt, true, true);
  std::string_view digits = plain.text();
  if (digits.starts_with('+')) digits.remove_prefix(1);
  double value = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

Value ToNumber(TemplateMachine& machine, const std::string& name, const Value& value, const Arguments& arguments) {
  const Value* given = arguments.Find(0, "default");
  if (name == "float") {
    if (value.IsNumber()) return value.number();
    const auto read = value.text() != nullptr ? ParseFloat(*value.text()) : std::nullopt;
    return read.has_value() ? Value(*read) : given != nullptr ? *given : Value(0.0);
  }
  if (value.IsFloat() && std::abs(value.number()) < 9e18) return static_cast<int64_t>(value.number());
  if (value.IsNumber() && !value.IsFloat()) return value.integer();
  const Value* base = arguments.Find(1, "base");
  if (const auto* text = value.text()) {
    const int64_t radix = base == nullptr ? 10 : machine.Integer(*base, "a base");
    if (radix < 2 || radix > 36) machine.Refuse("the base ", radix);
    if (const auto read = ParseInteger(*text, static_cast<int>(radix))) return *read;
    if (const auto read = ParseFloat(*text); read.has_value() && std::abs(*read) < 9e18)
      return static_cast<int64_t>(*read);
  }
  return given != nullptr ? *given : Value(int64_t{0});
}

Value Rounded(TemplateMachine& machine, const Value& value, const Arguments& arguments) {
  if (!value.IsNumber()) machine.Fail("round needs a number, got ", value.TypeName());
  const Value* precision = arguments.Find(0, "precision");
  const Value* method = arguments.Find(1, "method");
  const std::string how = method == nullptr ? "common" : machine.Text(*method, "a method of rounding").text();
  const int64_t digits = precision == nullptr ? 0 : machine.Integer(*precision, "a precision");
  if (digits < 0 || digits > 15) machine.Refuse("rounding to ", digits, " digits");
  const double scale = std::pow(10.0, static_cast<double>(digits));
  if (how == "ceil") return std::ceil(value.number() * scale) / scale;
  if (how == "floor") return std::floor(value.number() * scale) / scale;
  if (how != "common") machine.Fail("unknown method of rounding");
  // The nearest decimal number of so many digits, as the text of the number has it.
  char buffer[400];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value.number(), std::chars_format::fixed,
                                 static_cast<int>(digits));
  double rounded = 0;
  std::from_chars(buffer, end.ptr, rounded);
  return rounded;
}

Value Json(TemplateMachine& machine, const Value& value, const Arguments& arguments) {
  JsonStyle style;
  style.ascii = Flag(arguments, 0, "ensure_ascii", false);
  style.sorted = Flag(arguments, 3, "sort_keys", false);
  const Value* indent = arguments.Find(1, "indent");
  if (indent != nullptr && !indent->IsNone()) {
    style.indent =
        indent->text() != nullptr
            ? indent->text()->text()
            : std::string(static_cast<size_t>(std::clamp<int64_t>(machine.Integer(*indent, "indent"), 0, 100)), ' ');
    style.comma = ",";
  }
  const Value* separators = arguments.Find(2, "separators");
  if (separators != nullptr && !separators->IsNone()) {
    const std::vector<Value> pair = machine.Elements(*separators);
    if (pair.size() != 2) machine.Fail("separators need two strings");
    style.comma = machine.Text(pair[0], "a separator").text();
    style.colon = machine.Text(pair[1], "a separator").text();
  }
  const MarkedText text = ToJson(value, style);
  machine.Charge(text.size());
  return text;
}

Value DictSorted(TemplateMachine& machine, const Value& value, const Arguments& arguments) {
  if (value.dict() == nullptr) machine.Fail("dictsort needs a dict, got ", value.TypeName());
  std::vector<Value> items;
  for (const auto& [key, item] : value.dict()->items) items.push_back(Value::List({key, item}, true));
  const Value* by = arguments.Find(1, "by");
  const Value position = int64_t{by != nullptr && machine.Text(*by, "by").text() == "value"};
  const Keys keys(machine, &position, Flag(arguments, 0, "case_sensitive", false));
  return Value::List(Sorted(machine, std::move(items), keys, Flag(arguments, 2, "reverse", false)));
}

Value Sum(TemplateMachine& machine, const Value& value, const Arguments& arguments) {
  const Value* attribute = arguments.Find(0, "attribute");
  const Value* start = arguments.Find(1, "start");
  Value sum = start != nullptr ? *start : Value(int64_t{0});
  for (const Value& element : machine.Elements(value))
    sum = machine.Arithmetic(
        "+", sum, attribute != nullptr && !attribute->IsNone() ? machine.Path(element, *attribute) : element);
  return sum;
}

Value Title(const MarkedText& text) {
  bool starts = true;
  return MapCharacters(text, [&](char32_t c, bool, std::string& out) {
    starts ? AppendUpper(out, c) : AppendLower(out, c);
    starts = c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || IsWhitespace(c);
  });
}

std::optional<Value> TextFilter(TemplateMachine& machine, const std::string& name, const MarkedText& text,
                                const Arguments& arguments) {
  machine.Charge(text.size());
  if (name == "trim") {
    const Value* characters = arguments.Find(0, "chars");
    if (characters == nullptr || characters->IsNone()) return Strip(text, std::nullopt, true, true);
    return Strip(text, machine.Text(*characters, "characters").text(), true, true);
  }
  if (name == "upper") return Upper(text);
  if (name == "lower") return Lower(text);
  if (name == "capitalize") return Capitalize(text);
  if (name == "title") return Title(text);
  if (name == "indent") return Indented(machine, text, arguments);
  if (name == "replace") {
    const Value *from = arguments.Find(0, "old"), *to = arguments.Find(1, "new"), *count = arguments.Find(2, "count");
    if (from == nullptr || to == nullptr) machine.Fail("replace needs two strings");
    const MarkedText old = ToText(*from), fresh = ToText(*to);
    machine.Charge(text.size() / std::max<size_t>(old.size(), 1) * fresh.size());
    return Replace(text, old, fresh, count == nullptr || count->IsNone() ? -1 : machine.Integer(*count, "a count"));
  }
  return std::nullopt;
}

std::optional<Value> ListFilter(TemplateMachine& machine, const std::string& name, const Value& value,
                                const Arguments& arguments) {
  if (name == "first" || name == "last") {
    const std::vector<Value> values = machine.Elements(value);
    if (values.empty()) return Undefined{"the " + name + " of nothing"};
    return name == "first" ? values.front() : values.back();
  }
  if (name == "list") return Value::List(machine.Elements(value));
  if (name == "reverse") {
    std::vector<Value> values = machine.Elements(value);
    std::reverse(values.begin(), values.end());
    if (value.text() == nullptr) return Value::List(std::move(values));
    MarkedText text;
    for (const Value& character : values) text.Append(*character.text());
    return text;
  }
  if (name == "join") return Joined(machine, value, arguments);
  if (name == "map") return Mapped(machine, value, arguments);
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr")
    return Chosen(machine, name, value, arguments);
  if (name == "sort") {
    const Keys keys(machine, arguments.Find(2, "attribute"), Flag(arguments, 1, "case_sensitive", false));
    return Value::List(Sorted(machine, machine.Elements(value), keys, Flag(arguments, 0, "reverse", false)));
  }
  if (name == "unique")
    return Unique(machine, machine.Elements(value),
                  Keys(machine, arguments.Find(1, "attribute"), Flag(arguments, 0, "case_sensitive", false)));
  if (name == "min" || name == "max") return Extreme(machine, name, value, arguments);
  if (name == "sum") return Sum(machine, value, arguments);
  return std::nullopt;
}

Value Length(TemplateMachine& machine, const Value& value) {
  if (const auto* text = value.text()) return CountCodePoints(text->text());
  if (const auto* list = value.list()) return static_cast<int64_t>(list->items.size());
  if (const auto* dict = value.dict()) return static_cast<int64_t>(dict->items.size());
  if (value.IsUndefined()) return int64_t{0};
  machine.Fail("a value of the type ", value.TypeName(), " has no length");
}

}  // namespace

Value TemplateMachine::Filter(const std::string& name, const Value& value, const TemplateArguments& arguments) {
  if (name == "length" || name == "count") return Length(*this, value);
  if (name == "default" || name == "d") {
    if (!value.IsUndefined() && (value.IsTrue() || !Flag(arguments, 1, "boolean", false))) return value;
    const Value* fallback = arguments.Find(0, "default_value");
    return fallback != nullptr ? *fallback : Value::Template("");
  }
  if (name == "tojson") return Json(*this, value, arguments);
  if (name == "string" || name == "safe") return ToText(value);
  if (name == "int" || name == "float") return ToNumber(*this, name, value, arguments);
  if (name == "round") return Rounded(*this, value, arguments);
  if (name == "abs") {
    if (!value.IsNumber()) Fail("abs needs a number, got ", value.TypeName());
    return value.IsFloat() ? Value(std::abs(value.number()))
                           : Arithmetic("*", value, int64_t{value.integer() < 0 ? -1 : 1});
  }
  if (name == "items") {
    if (value.IsUndefined()) return Value::List({});
    if (value.dict() == nullptr) Fail("items needs a dict, got ", value.TypeName());
    return Method(value, "items", {});
  }
  if (name == "dictsort") return DictSorted(*this, value, arguments);
  if (name == "attr") {
    const Value* attribute = arguments.Find(0, "name");
    if (attribute == nullptr) Fail("attr needs a name");
    return value.dict() != nullptr ? Value(Undefined{"an attribute"})
                                   : Attribute(value, Text(*attribute, "a name").text());
  }
  if (name == "format") return FormatPercent(Text(value, "a format"), Value::List(arguments.values, true));
  if (auto result = ListFilter(*this, name, value, arguments)) return std::move(*result);
  constexpr std::string_view kTextFilters[] = {"trim", "upper", "lower", "capitalize", "title", "indent", "replace"};
  if (std::find(std::begin(kTextFilters), std::end(kTextFilters), name) != std::end(kTextFilters)) {
    if (auto result = TextFilter(*this, name, ToText(value), arguments)) return std::move(*result);
  }
  Refuse("the filter \"", base::PrintableUtf8(name), "\"");
}

bool TemplateMachine::Test(const std::string& name, const Value& value, const TemplateArguments& arguments) {
  if (name == "defined") return !value.IsUndefined();
  if (name == "undefined") return value.IsUndefined();
  if (name == "none") return value.IsNone();
  if (name == "string") return value.text() != nullptr;
  if (name == "number") return value.IsNumber();
  if (name == "integer") return value.IsInteger();
  if (name == "float") return value.IsFloat();
  if (name == "boolean") return value.IsBool();
  if (name == "true" || name == "false") return value.IsBool() && value.boolean() == (name == "true");
  if (name == "mapping") return value.dict() != nullptr;
  if (name == "sequence" || name == "iterable")
    return value.text() != nullptr || value.list() != nullptr || value.dict() != nullptr || value.IsUndefined();
  if (name == "callable") return value.callable() != nullptr;
  if (name == "upper" || name == "lower")
    return value.text() != nullptr && Method(value, name == "upper" ? "isupper" : "islower", {}).IsTrue();
  if (name == "odd" || name == "even") return (Integer(value, "a value") % 2 != 0) == (name == "odd");
  constexpr std::pair<std::string_view, const char*> kComparisons[] = {
      {"eq", "=="},         {"equalto", "=="}, {"==", "=="}, {"ne", "!="}, {"!=", "!="}, {"lt", "<"},
      {"lessthan", "<"},    {"<", "<"},        {"le", "<="}, {"<=", "<="}, {"gt", ">"},  {">", ">"},
      {"greaterthan", ">"}, {"ge", ">="},      {">=", ">="}, {"in", "in"}};
  const auto comparison = std::find_if(std::begin(kComparisons), std::end(kComparisons),
                                       [&](const auto& known) { return known.first == name; });
  if (comparison == std::end(kComparisons) && name != "divisibleby" && name != "sameas")
    Refuse("the test \"", base::PrintableUtf8(name), "\"");
  if (arguments.values.size() != 1) Fail("the test \"", name, "\" takes one value");
  const Value& other = arguments.values[0];
  if (name == "divisibleby") return !Arithmetic("%", value, other).IsTrue();
  if (name == "sameas") return std::string_view(value.TypeName()) == other.TypeName() && Equal(value, other);
  return Holds(comparison->second, value, other);
}

}  // namespace fovea::text
