#include "text/template_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

constexpr int kMaxValueDepth = 128;
constexpr size_t kMaxJsonBytes = 64 << 20;
constexpr size_t kMaxJsonDepth = 100;
constexpr size_t kMaxJsonKeys = 4096;

int DeeperThan(int depth) {
  if (depth + 1 > kMaxValueDepth)
    Fail(ErrorCode::kResourceExhausted, "[chat template] values are nested deeper than ", kMaxValueDepth);
  return depth + 1;
}

// Events of the JSON parser that build a value in the order of the text.
class Builder {
 public:
  using json = nlohmann::json;
  explicit Builder(const std::string& source) : source_(source) {}

  bool null() { return Add(Value()); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(json::number_integer_t value) { return Add(static_cast<int64_t>(value)); }
  bool number_unsigned(json::number_unsigned_t value) {
    if (value > static_cast<uint64_t>(INT64_MAX)) return Add(static_cast<double>(value));
    return Add(static_cast<int64_t>(value));
  }
  bool number_float(json::number_float_t value, const json::string_t&) { return Add(static_cast<double>(value)); }
  bool string(json::string_t& value) { return Add(Value::Foreign(ReplaceInvalidUtf8(value))); }
  bool binary(json::binary_t&) { return false; }
  bool start_object(size_t) { return Open(true); }
  bool key(json::string_t& value) {
    keys_.push_back(Value::Foreign(ReplaceInvalidUtf8(value)));
    return true;
  }
  bool end_object() {
    ValueDict items = std::move(open_.back().dict);
    open_.pop_back();
    return Add(Value::Dict(std::move(items)));
  }
  bool start_array(size_t) { return Open(false); }
  bool end_array() {
    std::vector<Value> items = std::move(open_.back().list);
    open_.pop_back();
    return Add(Value::List(std::move(items)));
  }
  bool parse_error(size_t, const std::string&, const json::exception& error) {
    Fail(ErrorCode::kCorruptData, "[chat template] ", source_, ": ", base::PrintableUtf8(error.what()));
  }
  Value result;

 private:
  struct Level {
    bool is_object;
    ValueDict dict;
    std::vector<Value> list;
  };
  bool Open(bool is_object) {
    if (open_.size() >= kMaxJsonDepth)
      Fail(ErrorCode::kResourceExhausted, "[chat template] ", source_, " is nested deeper than ", kMaxJsonDepth);
    open_.push_back({is_object, {}, {}});
    return true;
  }
  bool Add(Value value) {
    if (open_.empty()) {
      result = std::move(value);
    } else if (open_.back().is_object) {
      Value key = std::move(keys_.back());
      keys_.pop_back();
      ValueDict& dict = open_.back().dict;
      const auto same =
          std::find_if(dict.begin(), dict.end(), [&](const auto& item) { return Equal(item.first, key); });
      if (dict.size() >= kMaxJsonKeys)
        Fail(ErrorCode::kResourceExhausted, "[chat template] ", source_, " has an object with more than ", kMaxJsonKeys,
             " keys");
      if (same != dict.end()) {
        same->second = std::move(value);
      } else {
        dict.emplace_back(std::move(key), std::move(value));
      }
    } else {
      open_.back().list.push_back(std::move(value));
    }
    return true;
  }
  const std::string& source_;
  std::vector<Level> open_;
  std::vector<Value> keys_;
};

void AppendEscape(std::string& out, char32_t c, int digits, char letter) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '\\';
  out += letter;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += kHex[c >> shift & 15];
}

MarkedText JsonString(const MarkedText& value, bool ascii) {
  MarkedText out("\"", false);
  for (size_t at = 0; at < value.size();) {
    const size_t begin = at;
    const char32_t c = NextCodePoint(value.text(), at);
    std::string piece;
    switch (c) {
      case '"': piece = "\\\""; break;
      case '\\': piece = "\\\\"; break;
      case '\n': piece = "\\n"; break;
      case '\r': piece = "\\r"; break;
      case '\t': piece = "\\t"; break;
      case '\b': piece = "\\b"; break;
      case '\f': piece = "\\f"; break;
      default:
        if (c < 0x20 || (ascii && c > 0x7E && c < 0x10000)) {
          AppendEscape(piece, c, 4, 'u');
        } else if (ascii && c >= 0x10000) {
          AppendEscape(piece, 0xD800 + ((c - 0x10000) >> 10), 4, 'u');
          AppendEscape(piece, 0xDC00 + ((c - 0x10000) & 0x3FF), 4, 'u');
        } else {
          piece = value.text().substr(begin, at - begin);
        }
    }
    out.Append(piece, value.IsForeign(begin));
  }
  out.Append("\"", false);
  return out;
}

MarkedText ReprString(const MarkedText& value) {
  const bool has_single = value.text().find('\'') != std::string::npos;
  const char quote = has_single && value.text().find('"') == std::string::npos ? '"' : '\'';
  MarkedText out(std::string(1, quote), false);
  for (size_t at = 0; at < value.size();) {
    const size_t begin = at;
    const char32_t c = NextCodePoint(value.text(), at);
    std::string piece;
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      piece = std::string("\\") + static_cast<char>(c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      piece = c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (c < 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0xAD) {
      AppendEscape(piece, c, 2, 'x');
    } else if (c != ' ' && (IsWhitespace(c) || IsOther(c))) {  // what Python does not print
      AppendEscape(piece, c, c < 0x10000 ? 4 : 8, c < 0x10000 ? 'u' : 'U');
    } else {
      piece = value.text().substr(begin, at - begin);
    }
    out.Append(piece, value.IsForeign(begin));
  }
  out.Append(std::string(1, quote), false);
  return out;
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}
  void Write(const Value& value) {
    if (value.IsNone()) return out.Append("null", false);
    if (value.IsBool()) return out.Append(value.boolean() ? "true" : "false", false);
    if (value.IsInteger()) return out.Append(std::to_string(value.integer()), false);
    if (value.IsFloat()) return out.Append(Number(value.number()), false);
    if (const auto* text = value.text()) return out.Append(JsonString(*text, style_.ascii));
    if (const auto* list = value.list()) {
      return Group("[", "]", list->items.size(), [&](size_t i) { Write(list->items[i]); });
    }
    const auto* dict = value.dict();
    if (dict == nullptr) {
      Fail(ErrorCode::kInvalidArgument, "[chat template] a value of the type ", value.TypeName(),
           " cannot be written as JSON");
    }
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict->items) items.push_back(&item);
    if (style_.sorted) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto* a, const auto* b) { return Compare(a->first, b->first).value_or(0) < 0; });
    }
    Group("{", "}", items.size(), [&](size_t i) {
      if (const auto* key = items[i]->first.text()) {
        out.Append(JsonString(*key, style_.ascii));
      } else {
        out.Append("\"", false);
        Write(items[i]->first);
        out.Append("\"", false);
      }
      out.Append(style_.colon, false);
      Write(items[i]->second);
    });
  }
  MarkedText out;

 private:
  static std::string Number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return FloatText(value);
  }
  template <typename Item>
  void Group(const char* open, const char* close, size_t count, Item&& item) {
    out.Append(open, false);
    if (count > 0) {
      ++level_;
      for (size_t i = 0; i < count; ++i) {
        if (i > 0) out.Append(style_.comma, false);
        NewLine();
        item(i);
      }
      --level_;
      NewLine();
    }
    out.Append(close, false);
  }
  void NewLine() {
    if (!style_.indent.has_value()) return;
    out.Append("\n", false);
    for (int i = 0; i < level_; ++i) out.Append(*style_.indent, false);
  }
  const JsonStyle& style_;
  int level_ = 0;
};

MarkedText Grouped(const char* open, const char* close, const std::vector<MarkedText>& parts) {
  MarkedText out(open, false);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out.Append(", ", false);
    out.Append(parts[i]);
  }
  out.Append(close, false);
  return out;
}

}  // namespace

MarkedText MarkedText::Slice(size_t begin, size_t end) const {
  MarkedText slice;
  slice.text_ = text_.substr(begin, end - begin);
  slice.marks_ = marks_.substr(begin, end - begin);
  return slice;
}

Value Value::List(std::vector<Value> items, bool is_tuple) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  Value value;
  value.data_ = std::make_shared<const ListValue>(ListValue{std::move(items), is_tuple, DeeperThan(depth)});
  return value;
}

Value Value::Dict(ValueDict items) {
  int depth = 0;
  for (const auto& item : items) depth = std::max({depth, item.first.depth(), item.second.depth()});
  Value value;
  value.data_ = std::make_shared<const DictValue>(DictValue{std::move(items), DeeperThan(depth)});
  return value;
}

int Value::depth() const {
  if (const auto* value = list()) return value->depth;
  if (const auto* value = dict()) return value->depth;
  if (space() != nullptr || loop() != nullptr) {
    Fail(ErrorCode::kUnimplemented, "[chat template] a ", TypeName(),
         " within a list, a dict or a namespace is not supported");
  }
  if (const auto* value = callable(); value != nullptr && value->self != nullptr) return value->self->depth() + 1;
  return 0;
}

bool Value::IsTrue() const {
  if (IsNone() || IsUndefined()) return false;
  if (IsNumber()) return number() != 0.0;
  if (const auto* value = text()) return !value->empty();
  if (const auto* value = list()) return !value->items.empty();
  if (const auto* value = dict()) return !value->items.empty();
  return true;
}

const char* Value::TypeName() const {
  if (IsNone()) return "NoneType";
  if (IsBool()) return "bool";
  if (IsInteger()) return "int";
  if (IsFloat()) return "float";
  if (IsUndefined()) return "Undefined";
  if (text() != nullptr) return "str";
  if (const auto* value = list()) return value->is_tuple ? "tuple" : "list";
  if (dict() != nullptr) return "dict";
  if (space() != nullptr) return "Namespace";
  if (loop() != nullptr) return "LoopContext";
  return "function";
}

bool Equal(const Value& a, const Value& b) {
  if (a.IsNumber() && b.IsNumber()) {
    return a.IsFloat() || b.IsFloat() ? a.number() == b.number() : a.integer() == b.integer();
  }
  if (a.text() != nullptr && b.text() != nullptr) return a.text()->text() == b.text()->text();
  if (a.list() != nullptr && b.list() != nullptr) {
    return a.list()->is_tuple == b.list()->is_tuple &&
           std::equal(a.list()->items.begin(), a.list()->items.end(), b.list()->items.begin(), b.list()->items.end(),
                      Equal);
  }
  if (a.dict() != nullptr && b.dict() != nullptr) {
    const ValueDict &left = a.dict()->items, &right = b.dict()->items;
    return left.size() == right.size() && std::all_of(left.begin(), left.end(), [&](const auto& item) {
             const Value* other = FindKey(right, item.first);
             return other != nullptr && Equal(item.second, *other);
           });
  }
  if (a.space() != nullptr || b.space() != nullptr) return a.space() == b.space();
  return (a.IsNone() && b.IsNone()) || (a.IsUndefined() && b.IsUndefined());
}

std::optional<int> Compare(const Value& a, const Value& b) {
  if (a.IsNumber() && b.IsNumber()) {
    if (a.IsFloat() || b.IsFloat()) return a.number() < b.number() ? -1 : a.number() > b.number() ? 1 : 0;
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0;
  }
  if (a.text() != nullptr && b.text() != nullptr) return a.text()->text().compare(b.text()->text());
  if (a.list() != nullptr && b.list() != nullptr) {
    const auto &left = a.list()->items, &right = b.list()->items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!Equal(left[i], right[i])) return Compare(left[i], right[i]);
    }
    return left.size() < right.size() ? -1 : left.size() > right.size() ? 1 : 0;
  }
  return std::nullopt;
}

const Value* FindKey(const ValueDict& dict, const Value& key) {
  for (const auto& item : dict) {
    if (Equal(item.first, key)) return &item.second;
  }
  return nullptr;
}

const Value* FindName(const ValueDict& dict, std::string_view key) {
  for (const auto& item : dict) {
    if (item.first.text() != nullptr && item.first.text()->text() == key) return &item.second;
  }
  return nullptr;
}

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  const double size = std::abs(value);
  char buffer[64];
  const bool is_plain = size == 0.0 || (size >= 1e-4 && size < 1e16);
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                 is_plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(buffer, end.ptr);
  if (is_plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

MarkedText ToText(const Value& value) {
  if (const auto* text = value.text()) return *text;
  if (value.IsUndefined()) return {};
  return ToRepr(value);
}

MarkedText ToRepr(const Value& value) {
  if (value.IsNone()) return {"None", false};
  if (value.IsBool()) return {value.boolean() ? "True" : "False", false};
  if (value.IsInteger()) return {std::to_string(value.integer()), false};
  if (value.IsFloat()) return {FloatText(value.number()), false};
  if (value.IsUndefined()) return {"Undefined", false};
  if (const auto* text = value.text()) return ReprString(*text);
  std::vector<MarkedText> parts;
  if (const auto* list = value.list()) {
    for (const Value& item : list->items) parts.push_back(ToRepr(item));
    if (!list->is_tuple) return Grouped("[", "]", parts);
    return Grouped("(", parts.size() == 1 ? ",)" : ")", parts);
  }
  if (const auto* dict = value.dict()) {
    for (const auto& [key, item] : dict->items) {
      parts.push_back(ToRepr(key));
      parts.back().Append(": ", false);
      parts.back().Append(ToRepr(item));
    }
    return Grouped("{", "}", parts);
  }
  Fail(ErrorCode::kUnimplemented, "[chat template] a value of the type ", value.TypeName(),
       " as text is not supported");
}

MarkedText ToJson(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.Write(value);
  return std::move(writer.out);
}

Value FromJson(std::string_view json, const std::string& source) {
  if (json.size() > kMaxJsonBytes) {
    Fail(ErrorCode::kResourceExhausted, "[chat template] ", source, " has ", json.size(), " bytes, the limit is ",
         kMaxJsonBytes);
  }
  Builder builder(source);
  const bool is_read = nlohmann::json::sax_parse(json.begin(), json.end(), &builder);
  RequireData(is_read, "[chat template] expected ", source, " to be JSON");
  return std::move(builder.result);
}

}  // namespace fovea::text
