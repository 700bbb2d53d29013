// Filters: which pictures a search may return at all.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "library/store.h"

namespace fovea::library {

// What a filter leaves, less what must not be there.
struct Allowed {
  bool is_all = true;  // `files` and `contents` are not used
  std::unordered_set<int64_t> files, contents;
  std::unordered_set<int64_t> forbidden;           // files whose labels or names say it
  std::function<bool(int64_t content)> rules_out;  // pictures that show it; asked about candidates only

  bool HasFile(int64_t id) const { return (is_all || files.contains(id)) && !forbidden.contains(id); }
  bool HasContent(int64_t id) const { return is_all || contents.contains(id); }
  bool HasFileOf(int64_t id, int64_t content) const { return HasFile(id) && !(rules_out && rules_out(content)); }
};

// Throws kInvalidArgument for a date that is none ("2024", "2024-05", "2024-05-03", "2024-05-03T12:30[:00]"), an
// interval that ends before it begins, or a size below 0.
Allowed ApplyFilter(Store& store, const SearchFilter& filter);

// The newest files that are allowed, with their date as ISO 8601.
struct DatedFile {
  int64_t id, content_id;
  std::string path, date;
};
void ForEachNewest(Store& store, const Allowed& allowed, const std::function<bool(const DatedFile&)>& file);

}  // namespace fovea::library
