// Methods of strings, lists and dicts that chat templates call, as Python has them. Those that change their object are
// refused, as in the sandbox of the reference.
#include <algorithm>
#include <array>
#include <charconv>

#include "text/template_machine.h"
#include "text/template_text.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

constexpr std::array<std::string_view, 41> kTextMethods = {
    "capitalize", "casefold",     "center",       "count",   "endswith",  "find",       "format",
    "index",      "isalnum",      "isalpha",      "isascii", "isdecimal", "isdigit",    "islower",
    "isnumeric",  "isspace",      "istitle",      "isupper", "join",      "ljust",      "lower",
    "lstrip",     "partition",    "removeprefix", "replace", "rfind",     "rindex",     "rjust",
    "rpartition", "removesuffix", "rsplit",       "rstrip",  "split",     "splitlines", "startswith",
    "strip",      "swapcase",     "title",        "upper",   "zfill",     "encode"};
constexpr std::string_view kListMethods[] = {"index", "count",  "copy",  "append", "extend", "insert",
                                             "pop",   "remove", "clear", "sort",   "reverse"};
constexpr std::string_view kDictMethods[] = {"items", "keys",    "values", "get",   "copy",
                                             "pop",   "popitem", "update", "clear", "setdefault"};

template <typename Names>
bool Contains(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// The arguments of one call of a string method.
class MethodCall {
 public:
  MethodCall(TemplateMachine& machine, const std::string& name, const TemplateArguments& arguments)
      : machine(machine), name(name), arguments(arguments) {}

  const Value* Find(size_t position, std::string_view key) const {
    const Value* found = arguments.Find(position, key);
    return found == nullptr || found->IsNone() ? nullptr : found;
  }
  const MarkedText& Text(size_t position, std::string_view key) const {
    const Value* value = Find(position, key);
    if (value == nullptr) machine.Fail(name, "() needs an argument");
    return machine.Text(*value, "an argument");
  }
  std::optional<std::string_view> OptionalText(size_t position, std::string_view key) const {
    const Value* value = Find(position, key);
    if (value == nullptr) return std::nullopt;
    return machine.Text(*value, "an argument").text();
  }
  int64_t Integer(size_t position, std::string_view key, int64_t fallback) const {
    const Value* value = Find(position, key);
    return value == nullptr ? fallback : machine.Integer(*value, "an argument");
  }

  TemplateMachine& machine;
  const std::string& name;
  const TemplateArguments& arguments;
};

Value ListOf(TemplateMachine& machine, std::vector<MarkedText> parts, bool is_tuple = false) {
  std::vector<Value> items;
  for (MarkedText& part : parts) items.emplace_back(std::move(part));
  machine.Charge(items.size() * (sizeof(Value) + sizeof(MarkedText)));
  return Value::List(std::move(items), is_tuple);
}

// Whether all characters (at least one) are of a class.
template <typename Is>
bool All(const MarkedText& text, Is&& is) {
  for (size_t at = 0; at < text.size();) {
    if (!is(NextCodePoint(text.text(), at))) return false;
  }
  return !text.empty();
}

bool IsLetter(char32_t c) { return IsWordCharacter(c) && !IsNumeric(c) && c != '_' && !IsCombiningMark(c); }
bool HasCase(char32_t c, bool upper) {
  std::string same, other;
  AppendUtf8(same, c);
  upper ? AppendLower(other, c) : AppendUpper(other, c);
  return same != other;
}
bool AllOfCase(const MarkedText& text, bool upper) {
  bool has_any = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = NextCodePoint(text.text(), at);
    if (HasCase(c, !upper)) return false;
    has_any |= HasCase(c, upper);
  }
  return has_any;
}

std::optional<bool> Classify(const MarkedText& text, const std::string& name) {
  if (name == "isdigit" || name == "isdecimal" || name == "isnumeric") return All(text, IsNumeric);
  if (name == "isalpha") return All(text, IsLetter);
  if (name == "isalnum") return All(text, [](char32_t c) { return IsLetter(c) || IsNumeric(c); });
  if (name == "isspace") return All(text, IsWhitespace);
  if (name == "isascii") return text.empty() || All(text, [](char32_t c) { return c < 0x80; });
  if (name == "isupper") return AllOfCase(text, true);
  if (name == "islower") return AllOfCase(text, false);
  return std::nullopt;
}

bool StartsOrEnds(const MethodCall& call, const MarkedText& text) {
  const bool starts = call.name == "startswith";
  const Value* what = call.Find(0, "prefix");
  if (what == nullptr) call.machine.Fail(call.name, "() needs an argument");
  if (call.arguments.values.size() > 1) call.machine.Refuse(call.name, "() with bounds");
  const auto matches = [&](const Value& value) {
    const std::string& part = call.machine.Text(value, "an argument").text();
    return starts ? text.text().starts_with(part) : text.text().ends_with(part);
  };
  if (what->list() == nullptr) return matches(*what);
  return std::any_of(what->list()->items.begin(), what->list()->items.end(), matches);
}

Value Find(const MethodCall& call, const MarkedText& text) {
  if (call.arguments.values.size() > 1) call.machine.Refuse(call.name, "() with bounds");
  const std::string& part = call.Text(0, "sub").text();
  const bool from_right = call.name.starts_with('r');
  call.machine.Charge(text.size() / 16);
  const size_t at = from_right ? text.text().rfind(part) : text.text().find(part);
  if (at == std::string::npos) {
    if (call.name.ends_with("index")) call.machine.Fail("substring not found");
    return int64_t{-1};
  }
  return CountCodePoints(std::string_view(text.text()).substr(0, at));
}

Value Count(const MethodCall& call, const MarkedText& text) {
  const std::string& part = call.Text(0, "sub").text();
  call.machine.Charge(text.size() / 16);
  if (part.empty()) return CountCodePoints(text.text()) + 1;
  int64_t count = 0;
  for (size_t at = 0; (at = text.text().find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

Value Partition(const MethodCall& call, const MarkedText& text) {
  const MarkedText& separator = call.Text(0, "sep");
  if (separator.empty()) call.machine.Fail("an empty separator");
  const bool from_right = call.name == "rpartition";
  const size_t at = from_right ? text.text().rfind(separator.text()) : text.text().find(separator.text());
  std::vector<MarkedText> parts(3);
  if (at == std::string::npos) {
    parts[from_right ? 2 : 0] = text;
  } else {
    parts = {text.Slice(0, at), separator, text.Slice(at + separator.size(), text.size())};
  }
  return ListOf(call.machine, std::move(parts), true);
}

Value Pad(const MethodCall& call, const MarkedText& text) {
  const int64_t missing = call.Integer(0, "width", 0) - CountCodePoints(text.text());
  if (missing <= 0) return text;
  if (call.name == "zfill") {
    const bool has_sign = !text.empty() && (text.text()[0] == '-' || text.text()[0] == '+');
    call.machine.Charge(static_cast<size_t>(std::min<int64_t>(missing, TemplateMachine::kMaxBuiltBytes + 1)));
    MarkedText out = text.Slice(0, has_sign);
    out.Append(std::string(static_cast<size_t>(missing), '0'), false);
    out.Append(text.Slice(has_sign, text.size()));
    return out;
  }
  const std::string fill(call.OptionalText(1, "fillchar").value_or(" "));
  if (CountCodePoints(fill) != 1) call.machine.Fail("the fill character is not one character");
  call.machine.Charge(fill.size() *
                      static_cast<size_t>(std::min<int64_t>(missing, TemplateMachine::kMaxBuiltBytes + 1)));
  int64_t left = call.name == "rjust" ? missing : 0;
  if (call.name == "center") left = missing / 2 + (missing & (call.Integer(0, "width", 0)) & 1);
  MarkedText out;
  for (int64_t i = 0; i < missing; ++i) {
    if (i == left) out.Append(text);
    out.Append(fill, false);
  }
  if (left == missing) out.Append(text);
  return out;
}

// str.format with {}, {0} and {name}.
Value Format(const MethodCall& call, const MarkedText& format) {
  const std::string& text = format.text();
  MarkedText out;
  size_t next = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if ((c == '{' || c == '}') && at + 1 < text.size() && text[at + 1] == c) {
      out.Append(format.Slice(at, at + 1));
      ++at;
    } else if (c == '}') {
      call.machine.Fail("a single \"}\" in a format");
    } else if (c != '{') {
      out.Append(format.Slice(at, at + 1));
    } else {
      const size_t end = text.find('}', at);
      if (end == std::string::npos) call.machine.Fail("a single \"{\" in a format");
      const std::string field = text.substr(at + 1, end - at - 1);
      if (field.find_first_of("!:.[{") != std::string::npos) call.machine.Refuse("the format \"{", field, "}\"");
      const bool is_index =
          field.empty() || (field.size() < 6 && field.find_first_not_of("0123456789") == std::string::npos);
      const Value* value = is_index ? call.arguments.Find(field.empty() ? next++ : std::stoul(field), "")
                                    : call.arguments.Find(SIZE_MAX, field);
      if (value == nullptr) call.machine.Fail("the format has no value for \"{", field, "}\"");
      out.Append(ToText(*value));
      call.machine.Charge(out.size());
      at = end;
    }
  }
  return out;
}

Value TextMethod(const MethodCall& call, const MarkedText& text) {
  const std::string& name = call.name;
  TemplateMachine& machine = call.machine;
  machine.Charge(text.size());
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return Strip(text, call.OptionalText(0, "chars"), name != "rstrip", name != "lstrip");
  if (name == "split" || name == "rsplit") {
    const auto separator = call.OptionalText(0, "sep");
    if (separator.has_value() && separator->empty()) machine.Fail("an empty separator");
    return ListOf(machine, Split(text, separator, call.Integer(1, "maxsplit", -1), name == "rsplit"));
  }
  if (name == "splitlines") return ListOf(machine, SplitLines(text));
  if (name == "startswith" || name == "endswith") return StartsOrEnds(call, text);
  if (name == "replace") {
    const MarkedText &from = call.Text(0, "old"), &to = call.Text(1, "new");
    machine.Charge(text.size() / std::max<size_t>(from.size(), 1) * to.size());
    return Replace(text, from, to, call.Integer(2, "count", -1));
  }
  if (name == "upper") return Upper(text);
  if (name == "lower" || name == "casefold") return Lower(text);
  if (name == "capitalize") return Capitalize(text);
  if (name == "title") {
    return MapCharacters(text, [](char32_t c, bool is_first, std::string& out) {
      is_first ? AppendUpper(out, c) : AppendLower(out, c);
    });
  }
  if (name == "swapcase") {
    return MapCharacters(
        text, [](char32_t c, bool, std::string& out) { HasCase(c, true) ? AppendLower(out, c) : AppendUpper(out, c); });
  }
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex") return Find(call, text);
  if (name == "count") return Count(call, text);
  if (name == "partition" || name == "rpartition") return Partition(call, text);
  if (name == "removeprefix" || name == "removesuffix") {
    const std::string& part = call.Text(0, "prefix").text();
    if (name == "removeprefix" && text.text().starts_with(part)) return text.Slice(part.size(), text.size());
    if (name == "removesuffix" && text.text().ends_with(part)) return text.Slice(0, text.size() - part.size());
    return text;
  }
  if (name == "join") {
    const Value* list = call.Find(0, "iterable");
    if (list == nullptr) machine.Fail("join() needs a list");
    MarkedText out;
    bool is_first = true;
    for (const Value& item : machine.Elements(*list)) {
      if (!std::exchange(is_first, false)) out.Append(text);
      out.Append(machine.Text(item, "an item of join()"));
      machine.Charge(text.size() + item.text()->size());
    }
    return out;
  }
  if (name == "ljust" || name == "rjust" || name == "center" || name == "zfill") return Pad(call, text);
  if (name == "format") return Format(call, text);
  if (const auto answer = Classify(text, name)) return *answer;
  machine.Refuse("the method ", name, "() of strings");
}

Value ListMethod(const MethodCall& call, const ListValue& list) {
  if (call.arguments.values.size() != 1) call.machine.Fail(call.name, "() takes one value");
  const Value& value = call.arguments.values[0];
  call.machine.Charge(list.items.size());
  if (call.name == "count")
    return static_cast<int64_t>(
        std::count_if(list.items.begin(), list.items.end(), [&](const Value& item) { return Equal(item, value); }));
  const auto found =
      std::find_if(list.items.begin(), list.items.end(), [&](const Value& item) { return Equal(item, value); });
  if (found == list.items.end()) call.machine.Fail("the value is not in the list");
  return static_cast<int64_t>(found - list.items.begin());
}

Value DictMethod(const MethodCall& call, const DictValue& dict) {
  if (call.name == "get") {
    if (call.arguments.values.empty()) call.machine.Fail("get() needs a key");
    if (const Value* found = FindKey(dict.items, call.arguments.values[0])) return *found;
    const Value* fallback = call.arguments.Find(1, "default");
    return fallback != nullptr ? *fallback : Value();
  }
  std::vector<Value> items;
  call.machine.Charge(dict.items.size() * 2 * sizeof(Value));
  for (const auto& [key, value] : dict.items)
    items.push_back(call.name == "keys" ? key : call.name == "values" ? value : Value::List({key, value}, true));
  return Value::List(std::move(items));
}

}  // namespace

bool HasMethod(const Value& value, std::string_view name) {
  if (value.text() != nullptr) return Contains(kTextMethods, name);
  if (value.list() != nullptr) return Contains(kListMethods, name);
  if (value.dict() != nullptr) return Contains(kDictMethods, name);
  if (value.loop() != nullptr) return name == "cycle" || name == "changed";
  return false;
}

Value TemplateMachine::Method(const Value& self, const std::string& name, const TemplateArguments& arguments) {
  const MethodCall call(*this, name, arguments);
  if (const auto* text = self.text()) return TextMethod(call, *text);
  if (name == "copy") return self;
  if (self.list() != nullptr && (name == "index" || name == "count")) return ListMethod(call, *self.list());
  if (self.dict() != nullptr && (name == "items" || name == "keys" || name == "values" || name == "get"))
    return DictMethod(call, *self.dict());
  Fail("the method ", name, "() would change a ", self.TypeName(), ", which templates may not");
}

// ---- format % arguments

Value TemplateMachine::FormatPercent(const MarkedText& format, const Value& arguments) {
  const std::string& text = format.text();
  MarkedText out;
  size_t next = 0;
  const auto take = [&]() -> Value {
    if (arguments.list() == nullptr || !arguments.list()->is_tuple) {
      if (next++ > 0) Fail("not enough values for a format");
      return arguments;
    }
    if (next >= arguments.list()->items.size()) Fail("not enough values for a format");
    return arguments.list()->items[next++];
  };
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out.Append(format.Slice(at, at + 1));
      continue;
    }
    if (++at >= text.size()) Fail("an incomplete format");
    if (text[at] == '%') {
      out.Append(format.Slice(at, at + 1));
      continue;
    }
    Value value;
    if (text[at] == '(') {
      const size_t end = text.find(')', at);
      if (end == std::string::npos) Fail("an incomplete format");
      value = Item(arguments, Value::Template(text.substr(at + 1, end - at - 1)));
      next = 1;
      at = end + 1;
    } else {
      value = take();
    }
    int precision = -1;
    if (at + 2 < text.size() && text[at] == '.' && text[at + 1] >= '0' && text[at + 1] <= '9') {
      precision = text[at + 1] - '0';
      at += 2;
    }
    const char kind = at < text.size() ? text[at] : '\0';
    if (kind == 's' && precision < 0) {
      out.Append(ToText(value));
    } else if (kind == 'r' && precision < 0) {
      out.Append(ToRepr(value));
    } else if ((kind == 'd' || kind == 'i') && precision < 0 && value.IsNumber()) {
      out.Append(std::to_string(value.IsFloat() ? static_cast<int64_t>(std::clamp(value.number(), -9e18, 9e18))
                                                : value.integer()),
                 false);
    } else if (kind == 'f' && value.IsNumber()) {
      char buffer[400];
      const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value.number(), std::chars_format::fixed,
                                     precision < 0 ? 6 : precision);
      out.Append(std::string_view(buffer, static_cast<size_t>(end.ptr - buffer)), false);
    } else {
      Refuse("a format such as \"", base::PrintableUtf8(text.substr(0, 40)), "\"");
    }
    Charge(out.size());
  }
  const bool is_tuple = arguments.list() != nullptr && arguments.list()->is_tuple;
  if (is_tuple && next < arguments.list()->items.size()) Fail("too many values for a format");
  if (!is_tuple && arguments.dict() == nullptr && next == 0) Fail("too many values for a format");
  return out;
}

}  // namespace fovea::text
