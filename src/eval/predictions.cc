#include "eval/predictions.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace fovea::eval {

void ForEachPrediction(const std::string& path, const std::vector<std::string>& names,
                       const std::function<bool(std::vector<std::string> fields)>& add) {
  constexpr int64_t kMostBytes = int64_t{1} << 30;
  const std::string text = base::ReadTextFile(path, kMostBytes);
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = base::PrintableUtf8(path) + " line " + std::to_string(number);
    const nlohmann::json object = base::ParseJson(line, where);
    RequireData(object.is_object(), "[predictions] ", where, ": expected an object");
    std::vector<std::string> fields;
    for (const std::string& name : names) {
      const auto value = object.find(name);
      RequireData(value != object.end() && value->is_string(), "[predictions] ", where, ": expected \"", name,
                  "\" with a text");
      fields.push_back(value->get<std::string>());
    }
    const std::string key = base::PrintableUtf8(fields[0]);
    RequireData(add(std::move(fields)), "[predictions] ", where, ": ", key, " was predicted before");
  }
}

}  // namespace fovea::eval
