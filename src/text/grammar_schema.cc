// JSON Schema as a grammar. A schema is a conjunction of keywords; what is written here is a part of what it accepts,
// never more: every keyword is either expressed or refused by its name.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "text/grammar.h"
#include "text/grammar_builder.h"
#include "text/unicode.h"

namespace fovea::text {
namespace {

using Id = GrammarBuilder::Id;
using Json = nlohmann::ordered_json;

constexpr size_t kMaxSchemaBytes = 1 << 20;
constexpr int kMaxDepth = 60;

// Keywords that say nothing about what is valid.
const std::set<std::string> kAnnotations = {"title", "description", "default",    "examples",         "$schema",
                                            "$id",   "$comment",    "deprecated", "readOnly",         "writeOnly",
                                            "$defs", "definitions", "$anchor",    "contentMediaType", "contentEncoding",
                                            "strict"};
// Keywords by the type they speak of.
const std::set<std::string> kOfStrings = {"minLength", "maxLength", "pattern", "format"};
const std::set<std::string> kOfIntegers = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
const std::set<std::string> kOfArrays = {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"};
const std::set<std::string> kOfObjects = {"properties", "required", "additionalProperties", "propertyOrdering"};

class Converter {
 public:
  Converter(GrammarBuilder& builder, const Json& root) : builder_(builder), root_(root) {
    space_ = builder_.Declare("space");
    const Id indent = builder_.Repeat(builder_.Choice({builder_.Literal(" "), builder_.Literal("\t")}), 0, 24);
    builder_.Define(space_, builder_.Choice({builder_.Empty(), builder_.Literal(" "),
                                             builder_.Sequence({builder_.Literal("\n"), indent})}));
  }

  Id Run() { return Schema(root_, "#"); }

  Id AnyObject() { return AnyValue("object"); }

 private:
  [[noreturn]] void Refuse(const std::string& where, const std::string& what) const {
    Fail(ErrorCode::kUnimplemented, "[grammar] the JSON schema at ", base::PrintableUtf8(where), ": ", what,
         " is not supported");
  }
  [[noreturn]] void Broken(const std::string& where, const std::string& what) const {
    Fail(ErrorCode::kCorruptData, "[grammar] the JSON schema at ", base::PrintableUtf8(where), ": ", what);
  }
  Id Text(std::string_view text) { return builder_.Literal(text); }
  Id Spaced(std::string_view text) { return builder_.Sequence({space_, Text(text), space_}); }

  // ---- values without a schema

  Id AnyValue(const std::string& type) {
    Id& rule = any_[type];
    if (rule != 0) return rule;
    rule = builder_.Declare("any " + type);
    const Id result = rule;
    Id body = 0;
    if (type == "value") {
      std::vector<Id> alternatives;
      for (const char* one : {"string", "number", "boolean", "null", "object", "array"})
        alternatives.push_back(AnyValue(one));
      body = builder_.Choice(std::move(alternatives));
    } else if (type == "string") {
      body = builder_.Sequence({Text("\""), builder_.Repeat(StringCharacter(), 0, -1), Text("\"")});
    } else if (type == "integer") {
      body = Integer(-kMostInteger, kMostInteger);
    } else if (type == "number") {
      const Id digit = builder_.Character({{'0', '9'}}, false, false);
      const Id sign = builder_.Choice({builder_.Empty(), Text("+"), Text("-")});
      body = builder_.Sequence(
          {AnyValue("integer"), builder_.Optional(builder_.Sequence({Text("."), builder_.Repeat(digit, 1, 16)})),
           builder_.Optional(
               builder_.Sequence({builder_.Choice({Text("e"), Text("E")}), sign, builder_.Repeat(digit, 1, 2)}))});
    } else if (type == "boolean") {
      body = builder_.Choice({Text("true"), Text("false")});
    } else if (type == "null") {
      body = Text("null");
    } else if (type == "array") {
      body = List(AnyValue("value"), 0, -1);
    } else {
      const Id item = builder_.Sequence({AnyValue("string"), Spaced(":"), AnyValue("value")});
      body = builder_.Sequence(
          {Text("{"), space_, builder_.Optional(builder_.Sequence({Several(item, 1, -1), space_})), Text("}")});
    }
    builder_.Define(result, body);
    return result;
  }
  // One character of a string: itself, or an escape.
  Id StringCharacter() {
    if (character_ != 0) return character_;
    const Id hex = builder_.Character({{'0', '9'}, {'a', 'f'}, {'A', 'F'}}, false, false);
    const Id plain = builder_.Character({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}, true, false);
    const Id not_d = builder_.Character({{'0', '9'}, {'a', 'c'}, {'A', 'C'}, {'e', 'f'}, {'E', 'F'}}, false, false);
    const Id low = builder_.Character({{'0', '7'}}, false, false);
    const Id code = builder_.Choice({builder_.Sequence({not_d, hex, hex, hex}),
                                     builder_.Sequence({builder_.Choice({Text("d"), Text("D")}), low, hex, hex})});
    const Id letters = builder_.Character(
        {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}}, false,
        false);
    character_ = builder_.Declare("character");
    builder_.Define(character_, builder_.Choice({plain, builder_.Sequence({Text("\\"), letters}),
                                                 builder_.Sequence({Text("\\u"), code})}));
    return character_;
  }
  // item, item, ...
  Id Several(Id item, int64_t least, int64_t most) {
    const Id more = builder_.Sequence({Spaced(","), item});
    return builder_.Sequence({item, builder_.Repeat(more, std::max<int64_t>(least - 1, 0), most < 0 ? -1 : most - 1)});
  }
  Id List(Id item, int64_t least, int64_t most) {
    Id body =
        most == 0 ? builder_.Empty() : builder_.Sequence({Several(item, std::max<int64_t>(least, 1), most), space_});
    if (least == 0) body = builder_.Optional(body);
    return builder_.Sequence({Text("["), space_, body, Text("]")});
  }

  // ---- integers within bounds

  static constexpr int64_t kMostInteger = 999'999'999'999'999;

  Id Digits(int64_t count) { return builder_.Repeat(builder_.Character({{'0', '9'}}, false, false), count, count); }
  // Numbers of as many digits as both bounds have.
  Id SameLength(const std::string& low, const std::string& high) {
    if (low.empty()) return builder_.Empty();
    const auto count = static_cast<int64_t>(low.size()) - 1;
    const std::string zeros(static_cast<size_t>(count), '0'), nines(static_cast<size_t>(count), '9');
    const std::string low_rest = low.substr(1), high_rest = high.substr(1);
    if (low[0] == high[0]) return builder_.Sequence({Text(low.substr(0, 1)), SameLength(low_rest, high_rest)});
    std::vector<Id> parts;
    auto first = static_cast<char32_t>(low[0]), last = static_cast<char32_t>(high[0]);
    if (low_rest != zeros) {
      parts.push_back(builder_.Sequence({Text(low.substr(0, 1)), SameLength(low_rest, nines)}));
      ++first;
    }
    if (high_rest != nines) {
      parts.push_back(builder_.Sequence({Text(high.substr(0, 1)), SameLength(zeros, high_rest)}));
      --last;
    }
    if (first <= last)
      parts.push_back(builder_.Sequence({builder_.Character({{first, last}}, false, false), Digits(count)}));
    return builder_.Choice(std::move(parts));
  }
  Id Natural(int64_t low, int64_t high) {
    std::vector<Id> parts;
    int64_t power = 10;
    for (size_t length = 1; length <= 16 && low <= high; ++length, power *= 10) {
      const int64_t last = std::min(high, power - 1);
      if (low <= last) {
        parts.push_back(SameLength(std::to_string(low), std::to_string(last)));
        low = last + 1;
      }
    }
    return builder_.Choice(std::move(parts));
  }
  Id Integer(int64_t low, int64_t high) {
    std::vector<Id> parts;
    if (low < 0)
      parts.push_back(
          builder_.Sequence({Text("-"), Natural(std::max<int64_t>(1, -std::min<int64_t>(high, -1)), -low)}));
    if (high >= 0) parts.push_back(Natural(std::max<int64_t>(low, 0), high));
    return builder_.Choice(std::move(parts));
  }

  // ---- schemas

  Id Schema(const Json& schema, const std::string& where) {
    if (schema.is_boolean()) {
      if (!schema.get<bool>()) Refuse(where, "the schema false");
      return AnyValue("value");
    }
    if (!schema.is_object()) Broken(where, "expected an object");
    if (++depth_ > kMaxDepth)
      Fail(ErrorCode::kResourceExhausted, "[grammar] the JSON schema is nested deeper than ", kMaxDepth);
    const Id result = Object(schema, where);
    --depth_;
    return result;
  }

  // Refuses keywords that are in neither of the sets.
  void Check(const Json& schema, const std::string& where, std::initializer_list<const std::set<std::string>*> known,
             const std::set<std::string>& more) const {
    for (const auto& [key, value] : schema.items()) {
      if (kAnnotations.contains(key) || more.contains(key)) continue;
      if (std::any_of(known.begin(), known.end(), [&, &key = key](const auto* set) { return set->contains(key); }))
        continue;
      Refuse(where, "the keyword \"" + key + "\"" + (more.empty() ? "" : " here"));
    }
  }

  Id Object(const Json& schema, const std::string& where) {
    if (schema.contains("$ref")) {
      Check(schema, where, {}, {"$ref"});
      return Reference(schema["$ref"], where);
    }
    if (schema.contains("const")) {
      Check(schema, where, {}, {"const", "type"});
      return Constants(schema, Json::array({schema["const"]}), where);
    }
    if (schema.contains("enum")) {
      Check(schema, where, {}, {"enum", "type"});
      if (!schema["enum"].is_array() || schema["enum"].empty())
        Broken(where, "expected \"enum\" to be a list of values");
      return Constants(schema, schema["enum"], where);
    }
    for (const char* key : {"anyOf", "oneOf", "allOf"}) {
      if (!schema.contains(key)) continue;
      Check(schema, where, {}, {key, "type"});
      return Combined(schema, key, where);
    }
    std::vector<std::string> types = Types(schema, where);
    std::set<std::string> accepted = {"type", "nullable"};
    std::vector<Id> alternatives;
    std::vector<const std::set<std::string>*> known;
    const std::vector<std::string> given = types;
    if (types.empty()) {
      Guess(schema, types);
      if (types.empty()) {
        Check(schema, where, {}, accepted);
        return AnyValue("value");
      }
    }
    const auto check = [&] {
      for (const auto& [key, value] : schema.items()) {
        bool is_known = kAnnotations.contains(key) || accepted.contains(key);
        for (const std::string& type : types) {
          is_known |= (type == "string" && kOfStrings.contains(key)) ||
                      (type == "integer" && kOfIntegers.contains(key)) ||
                      (type == "array" && kOfArrays.contains(key)) || (type == "object" && kOfObjects.contains(key));
        }
        if (!is_known) Refuse(where, "the keyword \"" + key + "\" of a schema of the type " + base::Join(types, ", "));
      }
    };
    check();
    for (const std::string& type : types) alternatives.push_back(OfType(schema, type, where));
    if (schema.contains("nullable") && schema["nullable"] == true) alternatives.push_back(AnyValue("null"));
    return builder_.Choice(std::move(alternatives));
  }

  std::vector<std::string> Types(const Json& schema, const std::string& where) const {
    std::vector<std::string> types;
    if (!schema.contains("type")) return types;
    const Json& type = schema["type"];
    const Json list = type.is_array() ? type : Json::array({type});
    if (list.empty()) Broken(where, "expected \"type\" to name a type");
    for (const Json& name : list) {
      constexpr std::string_view kKnown[] = {"string", "integer", "number", "boolean", "null", "array", "object"};
      if (!name.is_string() ||
          std::find(std::begin(kKnown), std::end(kKnown), name.get<std::string>()) == std::end(kKnown))
        Broken(where, "an unknown type");
      types.push_back(name);
    }
    return types;
  }
  // A schema that names no type accepts others too; writing the one that its keywords speak of is enough.
  static void Guess(const Json& schema, std::vector<std::string>& types) {
    for (const auto& [key, value] : schema.items()) {
      const char* type = kOfObjects.contains(key)    ? "object"
                         : kOfArrays.contains(key)   ? "array"
                         : kOfStrings.contains(key)  ? "string"
                         : kOfIntegers.contains(key) ? "integer"
                                                     : nullptr;
      if (type != nullptr && std::find(types.begin(), types.end(), type) == types.end()) types.emplace_back(type);
    }
  }

  Id OfType(const Json& schema, const std::string& type, const std::string& where) {
    if (type == "object") return ObjectType(schema, where);
    if (type == "array") return ArrayType(schema, where);
    if (type == "string") return StringType(schema, where);
    if (type == "integer") return IntegerType(schema, where);
    return AnyValue(type);
  }

  static bool IsOfType(const Json& value, const std::string& type) {
    return type == "string"    ? value.is_string()
           : type == "integer" ? value.is_number_integer()
           : type == "number"  ? value.is_number()
           : type == "boolean" ? value.is_boolean()
           : type == "null"    ? value.is_null()
           : type == "array"   ? value.is_array()
                               : value.is_object();
  }
  Id Constants(const Json& schema, const Json& values, const std::string& where) {
    const std::vector<std::string> types = Types(schema, where);
    std::vector<Id> alternatives;
    for (const Json& value : values) {
      const bool fits = types.empty() || std::any_of(types.begin(), types.end(),
                                                     [&](const std::string& type) { return IsOfType(value, type); });
      if (fits) alternatives.push_back(Text(value.dump()));
    }
    if (alternatives.empty())
      Fail(ErrorCode::kInvalidArgument, "[grammar] the JSON schema at ", base::PrintableUtf8(where),
           " accepts no value");
    return builder_.Choice(std::move(alternatives));
  }

  Id Combined(const Json& schema, const char* key, const std::string& where) {
    const Json& list = schema[key];
    if (!list.is_array() || list.empty())
      Broken(where, std::string("expected \"") + key + "\" to be a list of schemas");
    if (std::string_view(key) == "allOf" && list.size() > 1) Refuse(where, "\"allOf\" of more than one schema");
    if (std::string_view(key) == "oneOf" && !AreApart(list))
      Refuse(where, "\"oneOf\" of schemas that are not told apart by a type or a constant");
    std::vector<Id> alternatives;
    for (size_t i = 0; i < list.size(); ++i) {
      Json part = list[i];
      if (schema.contains("type") && part.is_object()) {
        if (part.contains("type") && part["type"] != schema["type"])
          Refuse(where, std::string("\"type\" beside \"") + key + "\" of other types");
        if (!part.contains("$ref") && !part.contains("type")) part["type"] = schema["type"];
      }
      alternatives.push_back(Schema(part, where + "/" + key + "/" + std::to_string(i)));
    }
    return builder_.Choice(std::move(alternatives));
  }
  // Whether no value satisfies two of the schemas: other types, other constants, or a required property with other
  // constants.
  bool AreApart(const Json& list) const {
    const auto constants = [&](const Json& schema) {
      std::set<std::string> values;
      if (schema.is_object() && schema.contains("const")) values.insert(schema["const"].dump());
      if (schema.is_object() && schema.contains("enum") && schema["enum"].is_array()) {
        for (const Json& value : schema["enum"]) values.insert(value.dump());
      }
      return values;
    };
    const auto differ = [&](const Json& a, const Json& b) {
      const std::set<std::string> left = constants(a), right = constants(b);
      if (!left.empty() && !right.empty())
        return std::none_of(left.begin(), left.end(), [&](const std::string& value) { return right.contains(value); });
      const auto type = [](const Json& schema) {
        return schema.is_object() && schema.contains("type") && schema["type"].is_string()
                   ? schema["type"].get<std::string>()
                   : "";
      };
      const auto is_number = [](const std::string& name) { return name == "number" || name == "integer"; };
      return !type(a).empty() && !type(b).empty() && type(a) != type(b) && !(is_number(type(a)) && is_number(type(b)));
    };
    const auto requires_key = [](const Json& schema, const std::string& key) {
      return schema.contains("required") && schema["required"].is_array() &&
             std::find(schema["required"].begin(), schema["required"].end(), Json(key)) != schema["required"].end();
    };
    for (size_t i = 0; i < list.size(); ++i) {
      for (size_t k = i + 1; k < list.size(); ++k) {
        if (!list[i].is_object() || !list[k].is_object()) return false;
        bool is_apart = differ(list[i], list[k]);
        if (!is_apart && list[i].contains("properties") && list[k].contains("properties") &&
            list[i]["properties"].is_object()) {
          for (const auto& [key, value] : list[i]["properties"].items()) {
            is_apart |= list[k]["properties"].contains(key) && requires_key(list[i], key) &&
                        requires_key(list[k], key) && differ(value, list[k]["properties"][key]);
          }
        }
        if (!is_apart) return false;
      }
    }
    return true;
  }

  Id Reference(const Json& reference, const std::string& where) {
    if (!reference.is_string()) Broken(where, "expected \"$ref\" to be a string");
    const std::string name = reference;
    if (!name.starts_with('#')) Refuse(where, "a reference to another document (\"" + name + "\")");
    if (const auto found = references_.find(name); found != references_.end()) return found->second;
    const Json* target = &root_;
    try {
      target = &root_.at(Json::json_pointer(name.substr(1)));
    } catch (const Json::exception&) {
      Broken(where, "the reference \"" + name + "\" leads nowhere");
    }
    const Id rule = references_[name] = builder_.Declare(name);
    builder_.Define(rule, Schema(*target, name));
    return rule;
  }

  int64_t Count(const Json& schema, const char* key, int64_t fallback, const std::string& where) const {
    if (!schema.contains(key)) return fallback;
    const Json& value = schema[key];
    if (!value.is_number_integer() || value.get<int64_t>() < 0)
      Broken(where, std::string("expected \"") + key + "\" to be a count");
    return value.get<int64_t>();
  }
  void RequireOrder(int64_t least, int64_t most, const std::string& where) const {
    if (most >= 0 && least > most)
      Fail(ErrorCode::kInvalidArgument, "[grammar] the JSON schema at ", base::PrintableUtf8(where),
           " accepts no value");
  }

  Id StringType(const Json& schema, const std::string& where) {
    const bool has_length = schema.contains("minLength") || schema.contains("maxLength");
    if (schema.contains("pattern") + schema.contains("format") + has_length > 1)
      Refuse(where, "more than one of \"pattern\", \"format\" and a length");
    const auto quoted = [&](Id body) { return builder_.Sequence({Text("\""), body, Text("\"")}); };
    if (schema.contains("pattern")) {
      if (!schema["pattern"].is_string()) Broken(where, "expected \"pattern\" to be a string");
      return quoted(RegexExpression(builder_, schema["pattern"].get<std::string>(), true, true,
                                    "\"pattern\" at " + base::PrintableUtf8(where)));
    }
    if (schema.contains("format")) return quoted(Format(schema["format"], where));
    const int64_t least = Count(schema, "minLength", 0, where), most = Count(schema, "maxLength", -1, where);
    RequireOrder(least, most, where);
    return quoted(builder_.Repeat(StringCharacter(), least, most));
  }
  Id Format(const Json& format, const std::string& where) {
    const std::string date =
        "(20[0-9]{2}|19[0-9]{2})-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-"
        "9]|1[0-9]|2[0-8]))";
    const std::string time =
        "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    const std::string byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    const std::pair<std::string_view, std::string> known[] = {
        {"date", date},
        {"time", time},
        {"date-time", date + "T" + time},
        {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
        {"ipv4", byte + "\\." + byte + "\\." + byte + "\\." + byte}};
    for (const auto& [name, pattern] : known) {
      if (format == name) return RegexExpression(builder_, pattern, true, false, "a format");
    }
    Refuse(where, "the format " + format.dump());
  }

  Id IntegerType(const Json& schema, const std::string& where) {
    int64_t low = -kMostInteger, high = kMostInteger;
    for (const std::string& key : kOfIntegers) {
      if (!schema.contains(key)) continue;
      const Json& value = schema[key];
      if (!value.is_number_integer()) Refuse(where, "\"" + key + "\" that is no integer");
      const bool is_low = key.ends_with("inimum");
      const int64_t bound = std::clamp(value.get<int64_t>(), -kMostInteger, kMostInteger) + (!key.starts_with("ex") ? 0
                                                                                             : is_low               ? 1
                                                                                                      : -1);
      (is_low ? low : high) = is_low ? std::max(low, bound) : std::min(high, bound);
    }
    if (low > high)
      Fail(ErrorCode::kInvalidArgument, "[grammar] the JSON schema at ", base::PrintableUtf8(where),
           " accepts no value");
    return Integer(low, high);
  }

  Id ArrayType(const Json& schema, const std::string& where) {
    if (schema.contains("uniqueItems") && schema["uniqueItems"] != false) Refuse(where, "\"uniqueItems\"");
    const int64_t least = Count(schema, "minItems", 0, where), most = Count(schema, "maxItems", -1, where);
    RequireOrder(least, most, where);
    const bool has_rest = !schema.contains("items") || schema["items"] != false;
    const Id item = !has_rest                  ? builder_.Empty()
                    : schema.contains("items") ? Schema(schema["items"], where + "/items")
                                               : AnyValue("value");
    if (!schema.contains("prefixItems")) {
      if (!has_rest) Refuse(where, "\"items\": false without \"prefixItems\"");
      return List(item, least, most);
    }
    // All of the first items, then as many more as the bounds ask for.
    const Json& prefix = schema["prefixItems"];
    if (!prefix.is_array() || prefix.empty()) Broken(where, "expected \"prefixItems\" to be a list of schemas");
    const auto count = static_cast<int64_t>(prefix.size());
    if (most >= 0 && most < count) Refuse(where, "\"maxItems\" below the number of \"prefixItems\"");
    std::vector<Id> parts = {Text("["), space_};
    for (int64_t i = 0; i < count; ++i) {
      if (i > 0) parts.push_back(Spaced(","));
      parts.push_back(Schema(prefix[static_cast<size_t>(i)], where + "/prefixItems/" + std::to_string(i)));
    }
    const int64_t more = std::max<int64_t>(least - count, 0);
    if (!has_rest && more > 0) RequireOrder(1, 0, where);
    if (has_rest && most != count)
      parts.push_back(builder_.Repeat(builder_.Sequence({Spaced(","), item}), more, most < 0 ? -1 : most - count));
    parts.insert(parts.end(), {space_, Text("]")});
    return builder_.Sequence(std::move(parts));
  }

  // A key that is none of `names`: characters that leave all of them at some place.
  Id OtherKey(const std::set<std::string>& names, const std::string& where) {
    for (const std::string& name : names) {
      const bool is_plain =
          std::all_of(name.begin(), name.end(), [](char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; });
      if (!is_plain) Refuse(where, "\"additionalProperties\" beside the property name \"" + name + "\"");
    }
    // Letters only, so that no escape can spell a name.
    const CodePointRanges letters = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    const Id letter = builder_.Character(letters, false, false);
    const Id rest = builder_.Repeat(letter, 0, -1);
    const auto differs = [&](auto&& self, const std::string& prefix) -> Id {
      std::set<char> next;
      for (const std::string& name : names) {
        if (name.size() > prefix.size() && name.starts_with(prefix)) next.insert(name[prefix.size()]);
      }
      CodePointRanges others;
      for (const auto& [low, high] : letters) {
        for (char32_t c = low; c <= high; ++c) {
          if (!next.contains(static_cast<char>(c))) others.emplace_back(c, c);
        }
      }
      std::vector<Id> alternatives;
      if (!prefix.empty() && !names.contains(prefix)) alternatives.push_back(builder_.Empty());
      if (!others.empty()) alternatives.push_back(builder_.Sequence({builder_.Character(others, false, false), rest}));
      for (const char c : next)
        alternatives.push_back(builder_.Sequence({Text(std::string(1, c)), self(self, prefix + c)}));
      return builder_.Choice(std::move(alternatives));
    };
    return builder_.Sequence({Text("\""), differs(differs, ""), Text("\"")});
  }

  Id ObjectType(const Json& schema, const std::string& where) {
    const Json properties = schema.contains("properties") ? schema["properties"] : Json::object();
    if (!properties.is_object()) Broken(where, "expected \"properties\" to be an object");
    std::set<std::string> required, names;
    if (schema.contains("required")) {
      if (!schema["required"].is_array()) Broken(where, "expected \"required\" to be a list");
      for (const Json& name : schema["required"]) {
        if (!name.is_string()) Broken(where, "expected \"required\" to be a list of names");
        if (!properties.contains(name.get<std::string>()))
          Refuse(where, "the required property \"" + name.get<std::string>() + "\" without a schema");
        required.insert(name);
      }
    }
    std::vector<Id> members;
    std::vector<bool> is_required;
    for (const auto& [key, value] : properties.items()) {
      names.insert(key);
      members.push_back(
          builder_.Sequence({Text(Json(key).dump()), Spaced(":"), Schema(value, where + "/properties/" + key)}));
      is_required.push_back(required.contains(key));
    }
    const bool is_open = schema.contains("additionalProperties") ? schema["additionalProperties"] != false
                                                                 : !schema.contains("properties");
    Id others = builder_.Empty(), first_other = builder_.Empty();
    if (is_open) {
      const Json rest = schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(true);
      const Id key = names.empty() ? AnyValue("string") : OtherKey(names, where);
      const Id member = builder_.Sequence({key, Spaced(":"), Schema(rest, where + "/additionalProperties")});
      others = builder_.Repeat(builder_.Sequence({Spaced(","), member}), 0, -1);
      first_other = builder_.Optional(builder_.Sequence({member, others}));
    }
    // From the last property to the first: what follows when none was written yet, and when one was.
    Id fresh = first_other, behind = others;
    for (size_t i = members.size(); i-- > 0;) {
      const Id with = builder_.Sequence({members[i], behind});
      const Id next = builder_.Sequence({Spaced(","), with});
      fresh = is_required[i] ? with : builder_.Choice({with, fresh});
      behind = is_required[i] ? next : builder_.Choice({next, behind});
    }
    return builder_.Sequence({Text("{"), space_, fresh, space_, Text("}")});
  }

  GrammarBuilder& builder_;
  const Json& root_;
  Id space_ = 0, character_ = 0;
  std::map<std::string, Id> any_, references_;
  int depth_ = 0;
};

Json Parse(std::string_view text) {
  if (text.size() > kMaxSchemaBytes)
    Fail(ErrorCode::kResourceExhausted, "[grammar] the JSON schema has ", text.size(), " bytes, the limit is ",
         kMaxSchemaBytes);
  int deepest = 0, depth = 0;
  for (const char c : text) {
    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    deepest = std::max(deepest, depth);
  }
  if (deepest > 300) Fail(ErrorCode::kResourceExhausted, "[grammar] the JSON schema is nested too deeply");
  Json schema = Json::parse(text, nullptr, false);
  RequireData(!schema.is_discarded() && (schema.is_object() || schema.is_boolean()),
              "[grammar] expected the JSON schema to be a JSON object");
  return schema;
}

}  // namespace

std::shared_ptr<const Grammar> Grammar::FromJsonSchema(std::string_view text) {
  const Json schema = Parse(text);
  GrammarBuilder builder;
  const Id root = Converter(builder, schema).Run();
  return std::make_shared<const Grammar>(builder.Finish(root));
}

std::shared_ptr<const Grammar> Grammar::AnyJson() {
  const Json schema = Json::object();
  GrammarBuilder builder;
  const Id root = Converter(builder, schema).AnyObject();
  return std::make_shared<const Grammar>(builder.Finish(root));
}

}  // namespace fovea::text
