// JSON Schema as a grammar. A schema is a conjunction of keywords; what is written here is a part of what it accepts,
// never more: every keyword is either expressed or refused by its name. (One class and so a long file: the keywords of
// a schema share references, depth and the name of the place in errors.)
#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
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
const std::set<std::string> kAnnotations = {
    "title",    "description",      "default",         "examples",  "$schema",      "$id",
    "$comment", "deprecated",       "readOnly",        "writeOnly", "$defs",        "definitions",
    "$anchor",  "contentMediaType", "contentEncoding", "strict",    "discriminator"};
// Keywords by the type they speak of.
const std::set<std::string> kOfStrings = {"minLength", "maxLength", "pattern", "format"};
const std::set<std::string> kOfNumbers = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
const std::set<std::string> kOfArrays = {"items",    "prefixItems", "additionalItems",
                                         "minItems", "maxItems",    "uniqueItems"};
const std::set<std::string> kOfObjects = {"properties", "required", "additionalProperties", "propertyOrdering"};

// Of the fragment of a URI.
std::string PercentDecoded(const std::string& text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    uint8_t byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16).ptr == text.data() + i + 3) {
      decoded += static_cast<char>(byte);
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

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
      body = IntegerExpression(builder_, -kMostInteger, kMostInteger);
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
    if (schema.contains("$id") && where != "#") Refuse(where, "\"$id\" within a schema");
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
                      ((type == "integer" || type == "number") && kOfNumbers.contains(key)) ||
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
      const char* type = kOfObjects.contains(key)   ? "object"
                         : kOfArrays.contains(key)  ? "array"
                         : kOfStrings.contains(key) ? "string"
                         : kOfNumbers.contains(key) ? "number"
                                                    : nullptr;
      if (type != nullptr && std::find(types.begin(), types.end(), type) == types.end()) types.emplace_back(type);
    }
  }

  Id OfType(const Json& schema, const std::string& type, const std::string& where) {
    if (type == "object") return ObjectType(schema, where);
    if (type == "array") return ArrayType(schema, where);
    if (type == "string") return StringType(schema, where);
    if (type == "integer") return IntegerType(schema, where);
    if (type == "number") return NumberType(schema, where);
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
    RequireSome(!alternatives.empty(), where);
    return builder_.Choice(std::move(alternatives));
  }

  Id Combined(const Json& schema, const char* key, const std::string& where) {
    const Json& list = schema[key];
    if (!list.is_array() || list.empty())
      Broken(where, std::string("expected \"") + key + "\" to be a list of schemas");
    if (std::string_view(key) == "allOf" && list.size() > 1) Refuse(where, "\"allOf\" of more than one schema");
    if (std::string_view(key) == "oneOf" && !AreApart(list, where))
      Refuse(where, "\"oneOf\" of schemas that are not told apart by a type or a constant");
    std::vector<Id> alternatives;
    for (size_t i = 0; i < list.size(); ++i) {
      Json part = list[i];
      if (schema.contains("type")) {
        const Json& given = Resolved(part, where);
        const bool is_open = part.is_object() && !part.contains("$ref") && !part.contains("type");
        if (!is_open && (!given.is_object() || !given.contains("type") || given["type"] != schema["type"]))
          Refuse(where, std::string("\"type\" beside \"") + key + "\" of other types");
        if (is_open) part["type"] = schema["type"];
      }
      alternatives.push_back(Schema(part, where + "/" + key + "/" + std::to_string(i)));
    }
    return builder_.Choice(std::move(alternatives));
  }
  // Whether no value that is written satisfies two of the schemas: other types, other constants, or objects with a
  // required property of other constants or types.
  bool AreApart(const Json& list, const std::string& where) const {
    // As plain JSON: the order of members does not matter, and 1 is 1.0.
    const auto constants = [](const Json& schema) {
      std::vector<nlohmann::json> values;
      if (schema.contains("const")) values.emplace_back(schema["const"]);
      if (schema.contains("enum") && schema["enum"].is_array())
        values.insert(values.end(), schema["enum"].begin(), schema["enum"].end());
      return values;
    };
    const auto type = [](const Json& schema) {
      return schema.contains("type") && schema["type"].is_string() ? schema["type"].get<std::string>() : "";
    };
    const auto differ = [&](const Json& a, const Json& b) {
      if (!a.is_object() || !b.is_object()) return false;
      const std::vector<nlohmann::json> left = constants(a), right = constants(b);
      if (!left.empty() && !right.empty()) {
        return std::ranges::none_of(left,
                                    [&](const auto& value) { return std::ranges::find(right, value) != right.end(); });
      }
      const auto is_number = [](const std::string& name) { return name == "number" || name == "integer"; };
      return !type(a).empty() && !type(b).empty() && type(a) != type(b) && !(is_number(type(a)) && is_number(type(b)));
    };
    const auto is_object = [&](const Json& schema) {
      return (type(schema) == "object" || !schema.contains("type")) && schema.contains("properties") &&
             schema["properties"].is_object();
    };
    const auto requires_key = [](const Json& schema, const std::string& key) {
      return schema.contains("required") && schema["required"].is_array() &&
             std::find(schema["required"].begin(), schema["required"].end(), Json(key)) != schema["required"].end();
    };
    for (size_t i = 0; i < list.size(); ++i) {
      for (size_t k = i + 1; k < list.size(); ++k) {
        const Json &a = Resolved(list[i], where), &b = Resolved(list[k], where);
        if (!a.is_object() || !b.is_object()) return false;
        bool is_apart = differ(a, b);
        if (!is_apart && is_object(a) && is_object(b)) {
          for (const auto& [key, value] : a["properties"].items()) {
            is_apart |= b["properties"].contains(key) && requires_key(a, key) && requires_key(b, key) &&
                        differ(Resolved(value, where), Resolved(b["properties"][key], where));
          }
        }
        if (!is_apart) return false;
      }
    }
    return true;
  }

  // What a reference leads to.
  const Json& Target(const Json& reference, const std::string& where) const {
    if (!reference.is_string()) Broken(where, "expected \"$ref\" to be a string");
    const std::string name = reference;
    if (!name.starts_with('#')) Refuse(where, "a reference to another document (\"" + name + "\")");
    if (name.size() > 1 && name[1] != '/') Refuse(where, "a reference to an anchor (\"" + name + "\")");
    try {
      return root_.at(Json::json_pointer(PercentDecoded(name.substr(1))));
    } catch (const Json::exception&) {
      Broken(where, "the reference \"" + name + "\" leads nowhere");
    }
  }
  // The schema behind references.
  const Json& Resolved(const Json& schema, const std::string& where) const {
    const Json* at = &schema;
    for (int i = 0; i < kMaxDepth && at->is_object() && at->contains("$ref"); ++i) at = &Target((*at)["$ref"], where);
    return *at;
  }
  Id Reference(const Json& reference, const std::string& where) {
    const Json& target = Target(reference, where);
    const std::string name = reference;
    if (const auto found = references_.find(name); found != references_.end()) return found->second;
    const Id rule = references_[name] = builder_.Declare(name);
    builder_.Define(rule, Schema(target, name));
    return rule;
  }

  int64_t Count(const Json& schema, const char* key, int64_t fallback, const std::string& where) const {
    if (!schema.contains(key)) return fallback;
    const Json& value = schema[key];
    if (!value.is_number_integer() || value.get<int64_t>() < 0)
      Broken(where, std::string("expected \"") + key + "\" to be a count");
    return value.get<int64_t>();
  }
  void RequireSome(bool has_some, const std::string& where) const {
    Require(has_some, "[grammar] the JSON schema at ", base::PrintableUtf8(where), " accepts no value");
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
    RequireSome(most < 0 || least <= most, where);
    return quoted(builder_.Repeat(StringCharacter(), least, most));
  }
  Id Format(const Json& format, const std::string& where) {
    const std::string pattern = format.is_string() ? FormatPattern(format.get<std::string>()) : "";
    if (pattern.empty()) Refuse(where, "the format " + format.dump());
    return RegexExpression(builder_, pattern, true, false, "a format");
  }

  Id IntegerType(const Json& schema, const std::string& where) {
    int64_t low = -kMostInteger, high = kMostInteger;
    for (const std::string& key : kOfNumbers) {
      if (!schema.contains(key)) continue;
      const Json& value = schema[key];
      if (!value.is_number()) Refuse(where, "\"" + key + "\" that is no number");
      const bool is_low = key.ends_with("inimum"), is_exclusive = key.starts_with("ex");
      const double bound = is_low ? std::ceil(value.get<double>()) : std::floor(value.get<double>());
      if (std::abs(bound) > static_cast<double>(kMostInteger)) {
        if ((bound < 0) == is_low) continue;  // wider than what is written anyway
        Refuse(where, "\"" + key + "\" beyond 2^53");
      }
      auto whole = static_cast<int64_t>(bound);
      if (is_exclusive && bound == value.get<double>()) whole += is_low ? 1 : -1;
      (is_low ? low : high) = is_low ? std::max(low, whole) : std::min(high, whole);
    }
    RequireSome(low <= high, where);
    return IntegerExpression(builder_, low, high);
  }

  Id NumberType(const Json& schema, const std::string& where) {
    std::optional<NumberBound> low, high;
    for (const std::string& key : kOfNumbers) {
      if (!schema.contains(key)) continue;
      if (!schema[key].is_number()) Refuse(where, "\"" + key + "\" that is no number");
      const NumberBound bound{schema[key].get<double>(), key.starts_with("ex")};
      if (!IsWrittenExactly(bound.value)) Refuse(where, "\"" + key + "\" of more than 15 digits");
      std::optional<NumberBound>& known = key.ends_with("inimum") ? low : high;
      const bool is_tighter = !known.has_value() || bound.value == known->value
                                  ? bound.is_exclusive || !known.has_value()
                                  : (bound.value > known->value) == key.ends_with("inimum");
      if (is_tighter) known = bound;
    }
    if (!low && !high) return AnyValue("number");
    RequireSome(!low || !high || low->value <= high->value, where);
    return NumberExpression(builder_, low, high);
  }

  Id ArrayType(const Json& schema, const std::string& where) {
    if (schema.contains("uniqueItems") && schema["uniqueItems"] != false) Refuse(where, "\"uniqueItems\"");
    const int64_t least = Count(schema, "minItems", 0, where), most = Count(schema, "maxItems", -1, where);
    RequireSome(most < 0 || least <= most, where);
    // Draft 7 says "items" and "additionalItems" where 2020-12 says "prefixItems" and "items".
    if (schema.contains("items") && schema["items"].is_array()) {
      if (schema.contains("prefixItems")) Refuse(where, "a list of \"items\" beside \"prefixItems\"");
      Json changed = schema;
      changed["prefixItems"] = schema["items"];
      changed["items"] = schema.contains("additionalItems") ? schema["additionalItems"] : Json(true);
      changed.erase("additionalItems");
      return ArrayType(changed, where);
    }
    if (schema.contains("additionalItems")) Refuse(where, "\"additionalItems\" without a list of \"items\"");
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
    RequireSome(has_rest || more == 0, where);
    if (has_rest && most != count)
      parts.push_back(builder_.Repeat(builder_.Sequence({Spaced(","), item}), more, most < 0 ? -1 : most - count));
    parts.insert(parts.end(), {space_, Text("]")});
    return builder_.Sequence(std::move(parts));
  }

  // A key that is none of `names`: characters that leave all of them at some place.
  Id OtherKey(const std::set<std::string>& names, const std::string& where) {
    // Letters only, so that no escape can spell a name; names of other characters are out of reach.
    const CodePointRanges letters = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    const auto is_letter = [&](char c) {
      return std::ranges::any_of(letters, [&](const auto& range) {
        return static_cast<char32_t>(c) >= range.first && static_cast<char32_t>(c) <= range.second;
      });
    };
    std::vector<std::string> taken;  // sorted
    size_t bytes = 0;
    for (const std::string& name : names) {
      if (!std::ranges::all_of(name, is_letter)) continue;
      taken.push_back(name);
      if (name.size() > 256 || (bytes += name.size()) > (64 << 10))
        Refuse(where, "\"additionalProperties\" beside property names of more than 256 or together 65536 bytes");
    }
    const Id rest = builder_.Repeat(builder_.Character(letters, false, false), 0, -1);
    using Names = std::span<const std::string>;
    // `same`: the names that begin with the `size` characters so far.
    const auto differs = [&](auto&& self, Names same, size_t size) -> Id {
      std::vector<Id> alternatives;
      const bool is_name = !same.empty() && same.front().size() == size;
      if (size > 0 && !is_name) alternatives.push_back(builder_.Empty());
      if (is_name) same = same.subspan(1);
      CodePointRanges others;
      for (const auto& [low, high] : letters) {
        for (char32_t c = low; c <= high; ++c) {
          size_t count = 0;  // sorted as the letters are
          while (count < same.size() && static_cast<char32_t>(same[count][size]) == c) ++count;
          if (count == 0) {
            others.emplace_back(c, c);
          } else {
            alternatives.push_back(builder_.Sequence(
                {Text(std::string(1, static_cast<char>(c))), self(self, same.first(count), size + 1)}));
            same = same.subspan(count);
          }
        }
      }
      if (!others.empty()) alternatives.push_back(builder_.Sequence({builder_.Character(others, false, false), rest}));
      return builder_.Choice(std::move(alternatives));
    };
    return builder_.Sequence({Text("\""), differs(differs, taken, 0), Text("\"")});
  }

  // The properties with a schema in the order in which they are written, and the names that are required.
  std::vector<std::pair<std::string, Json>> Properties(const Json& schema, const Json& rest,
                                                       std::set<std::string>& required, const std::string& where) {
    const Json properties = schema.contains("properties") ? schema["properties"] : Json::object();
    if (!properties.is_object()) Broken(where, "expected \"properties\" to be an object");
    const auto names_of = [&](const char* key) {
      const Json list = schema.contains(key) ? schema[key] : Json::array();
      if (!list.is_array() || !std::ranges::all_of(list, [](const Json& name) { return name.is_string(); }))
        Broken(where, std::string("expected \"") + key + "\" to be a list of names");
      return list.get<std::vector<std::string>>();
    };
    std::vector<std::pair<std::string, Json>> members;
    std::set<std::string> known;
    const auto add = [&](const std::string& name, const Json& value) {
      if (known.insert(name).second) members.emplace_back(name, value);
    };
    for (const std::string& name : names_of("propertyOrdering")) {
      if (properties.contains(name)) add(name, properties[name]);
    }
    for (const auto& [name, value] : properties.items()) add(name, value);
    for (const std::string& name : names_of("required")) {
      required.insert(name);
      if (properties.contains(name)) continue;
      RequireSome(rest != false, where);
      add(name, rest);
    }
    return members;
  }

  Id ObjectType(const Json& schema, const std::string& where) {
    const Json rest = schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(true);
    const bool is_open = rest != false && (schema.contains("additionalProperties") || !schema.contains("properties"));
    std::set<std::string> required, names;
    std::vector<Id> members;
    std::vector<bool> is_required;
    for (const auto& [key, value] : Properties(schema, rest, required, where)) {
      names.insert(key);
      if (value == false) {
        RequireSome(!required.contains(key), where);
        continue;
      }
      members.push_back(
          builder_.Sequence({Text(Json(key).dump()), Spaced(":"), Schema(value, where + "/properties/" + key)}));
      is_required.push_back(required.contains(key));
    }
    Id others = builder_.Empty(), first_other = builder_.Empty();
    if (is_open) {
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
