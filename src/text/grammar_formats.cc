// The formats of JSON Schema that can be written. What is written is usual: years of this century and the last, host
// names with a dot, addresses without quotes. Every text of a pattern is valid, not every valid text is one of it.
#include "text/grammar_builder.h"

namespace fovea::text {

std::string FormatPattern(std::string_view format) {
  const std::string date =
      "(20[0-9]{2}|19[0-9]{2})-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
      "02-(0[1-9]|1[0-9]|2[0-8]))";
  const std::string zone = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
  const std::string time = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?" + zone;
  const std::string label = "[a-z0-9]{1,20}(-[a-z0-9]{1,20}){0,2}";
  const std::string host = "(" + label + "\\.){1,4}[a-z]{2,10}";
  const std::string byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  const std::string hex = "[0-9a-f]";
  if (format == "date") return date;
  if (format == "time") return time;
  if (format == "date-time") return date + "T" + time;
  if (format == "email") return "[a-z0-9]{1,20}([._-][a-z0-9]{1,20}){0,2}@" + host;
  if (format == "hostname") return host;
  if (format == "uri") return "https?://" + host + "(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~-]{1,40}){0,8}/?";
  if (format == "ipv4") return "(" + byte + "\\.){3}" + byte;
  if (format == "ipv6") return "(" + hex + "{1,4}:){7}" + hex + "{1,4}";
  if (format == "uuid") return hex + "{8}(-" + hex + "{4}){3}-" + hex + "{12}";
  return "";
}

}  // namespace fovea::text
