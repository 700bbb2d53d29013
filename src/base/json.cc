#include "base/json.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/error.h"
#include "base/file.h"

namespace fovea::base {
namespace {

constexpr size_t kMaxJsonBytes = 64 << 20;
constexpr int kMaxDepth = 100;

// Nesting is counted on the text, before the parser builds anything.
void CheckDepth(std::string_view text, const std::string& source) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth)
        Fail(ErrorCode::kResourceExhausted, "[json] ", source, " is nested deeper than ", kMaxDepth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

template <typename T>
constexpr const char* TypeName() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, double>) return "a number";
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  if constexpr (std::is_same_v<T, std::vector<int64_t>>) return "a list of integers";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "a list of numbers";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "a list of strings";
}

bool Read(const nlohmann::json& value, bool& out) {
  if (!value.is_boolean()) return false;
  out = value.get<bool>();
  return true;
}

bool Read(const nlohmann::json& value, int64_t& out) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return false;
  if (!value.is_number_integer()) return false;
  out = value.get<int64_t>();
  return true;
}

bool Read(const nlohmann::json& value, double& out) {
  if (!value.is_number()) return false;
  out = value.get<double>();
  return std::isfinite(out);
}

bool Read(const nlohmann::json& value, std::string& out) {
  if (!value.is_string()) return false;
  out = value.get<std::string>();
  return true;
}

template <typename T>
bool Read(const nlohmann::json& value, std::vector<T>& out) {
  if (!value.is_array()) return false;
  out.clear();
  for (const auto& item : value) {
    T element;
    if (!Read(item, element)) return false;
    out.push_back(std::move(element));
  }
  return true;
}

// A value cut to a length that fits an error message.
std::string Shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

}  // namespace

nlohmann::json ParseJson(std::string_view text, const std::string& source) {
  if (text.size() > kMaxJsonBytes) {
    Fail(ErrorCode::kResourceExhausted, "[json] ", source, " has ", text.size(), " bytes, the limit is ",
         kMaxJsonBytes);
  }
  CheckDepth(text, source);
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    Fail(ErrorCode::kCorruptData, "[json] ", source, " is not valid JSON: ", PrintableUtf8(error.what()));
  }
}

Config Config::Parse(std::string_view text, const std::string& source) {
  auto json = std::make_shared<const nlohmann::json>(ParseJson(text, source));
  RequireData(json->is_object(), "[config] expected ", source, " to hold a JSON object, got ", json->type_name());
  return Config(std::move(json), source);
}

Config Config::FromFile(const std::string& path) {
  return Parse(ReadTextFile(path, kMaxJsonBytes), PrintableUtf8(path));
}

bool Config::Has(std::string_view key) const {
  const auto found = json_->find(key);
  return found != json_->end() && !found->is_null();
}

bool Config::IsNull(std::string_view key) const {
  const auto found = json_->find(key);
  return found != json_->end() && found->is_null();
}

bool Config::IsList(std::string_view key) const {
  const auto found = json_->find(key);
  return found != json_->end() && found->is_array();
}

template <typename T>
T Config::Require(std::string_view key) const {
  const auto found = json_->find(key);
  ::fovea::Require(found != json_->end() && !found->is_null(), "[config] ", source_, " lacks \"", key, "\"");
  T value;
  if (!base::Read(*found, value)) {  // not Require: showing the value costs more than reading it
    Fail(ErrorCode::kInvalidArgument, "[config] expected \"", key, "\" in ", source_, " to be ", TypeName<T>(),
         ", got ", Shown(*found));
  }
  return value;
}

template <typename T>
T Config::Get(std::string_view key, const T& fallback) const {
  return Has(key) ? Require<T>(key) : fallback;
}

#define FOVEA_INSTANTIATE(T)                                 \
  template T Config::Require<T>(std::string_view key) const; \
  template T Config::Get<T>(std::string_view key, const T& fallback) const
FOVEA_INSTANTIATE(bool);
FOVEA_INSTANTIATE(int64_t);
FOVEA_INSTANTIATE(double);
FOVEA_INSTANTIATE(std::string);
FOVEA_INSTANTIATE(std::vector<int64_t>);
FOVEA_INSTANTIATE(std::vector<double>);
FOVEA_INSTANTIATE(std::vector<std::string>);
#undef FOVEA_INSTANTIATE

Config Config::Object(std::string_view key) const {
  const auto found = json_->find(key);
  ::fovea::Require(found != json_->end() && found->is_object(), "[config] ", source_, " lacks the object \"", key,
                   "\"");
  return Config(std::make_shared<const nlohmann::json>(*found), source_ + ":" + std::string(key));
}

void Config::CheckRange(std::string_view key, double value, double low, double high) const {
  ::fovea::Require(value >= low && value <= high, "[config] expected \"", key, "\" in ", source_, " to be in ", low,
                   "..", high, ", got ", value);
}

Config Config::MergedOver(const Config& other) const {
  nlohmann::json merged = *other.json_;
  merged.update(*json_);
  return Config(std::make_shared<const nlohmann::json>(std::move(merged)), other.source_);
}

std::string Config::Text() const { return json_->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace); }

std::vector<std::string> Config::Keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json_->items()) keys.push_back(key);
  return keys;
}

}  // namespace fovea::base
