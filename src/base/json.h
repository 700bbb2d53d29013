// JSON for configuration files: parse with limits, read typed fields with errors that name the file and the key.
//
//   const base::Config config = base::Config::Parse(text, "model/config.json");
//   const int64_t image_size = config.Get<int64_t>("image_size", 224);
//
// nlohmann-json stays behind this header for everything that reads; writers may include it in their .cc files.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::base {

// Parses at most 64 MiB of JSON with nesting of at most 100. Throws kCorruptData / kResourceExhausted naming `source`.
nlohmann::json ParseJson(std::string_view text, const std::string& source);

// One JSON object and where it came from. Cheap to copy.
class Config {
 public:
  static Config Parse(std::string_view text, const std::string& source);
  static Config FromFile(const std::string& path);

  bool Has(std::string_view key) const;     // present and not null
  bool IsNull(std::string_view key) const;  // present and null
  bool IsList(std::string_view key) const;

  // The value of `key`, or `fallback` when it is absent or null. T: bool, int64_t, double, std::string, and vectors of
  // the last three. A value of another type throws kInvalidArgument naming source, key, and what was found.
  template <typename T>
  T Get(std::string_view key, const T& fallback) const;
  template <typename T>
  T Require(std::string_view key) const;
  // Replaces `field`, which holds the default, when the key is there.
  template <typename T>
  void Read(std::string_view key, T& field) const {
    if (Has(key)) field = Require<T>(key);
  }
  // The same for a number or a list of numbers, each of which must be in [low,high].
  template <typename T>
  void Read(std::string_view key, T& field, double low, double high) const {
    Read(key, field);
    CheckRange(key, field, low, high);
  }

  // A nested object; throws when it is absent or no object.
  Config Object(std::string_view key) const;

  // The keys of this object, and those of `other` that it lacks; the source of `other`.
  Config MergedOver(const Config& other) const;

  std::vector<std::string> Keys() const;
  std::string Text() const;  // compact JSON with sorted keys
  const std::string& source() const { return source_; }
  const nlohmann::json& json() const { return *json_; }

 private:
  void CheckRange(std::string_view key, double value, double low, double high) const;
  template <typename T>
  void CheckRange(std::string_view key, const std::vector<T>& values, double low, double high) const {
    for (const T value : values) CheckRange(key, static_cast<double>(value), low, high);
  }

  Config(std::shared_ptr<const nlohmann::json> json, std::string source)
      : json_(std::move(json)), source_(std::move(source)) {}

  std::shared_ptr<const nlohmann::json> json_;
  std::string source_;
};

}  // namespace fovea::base
