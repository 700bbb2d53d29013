// Dates are compared as text: ISO 8601 sorts by time, and a date that leaves out the day is the beginning of its month.
// A picture's date is the one its camera wrote (local time where it was taken), else the file's, as local time here.
#include "library/filter.h"

#include <ctime>

#include "base/error.h"
#include "library/scan.h"

namespace fovea::library {
namespace {

constexpr char kDate[] =
    "CASE WHEN c.capture_time <> '' THEN substr(c.capture_time, 1, 19) "
    "ELSE strftime('%Y-%m-%dT%H:%M:%S', f.mtime_ns / 1000000000, 'unixepoch', 'localtime') END";

// "0000-00-00T00:00:00" with digits for zeros, cut after the year, month, day, minute or second.
void CheckDate(const std::string& date, const char* name) {
  if (date.empty()) return;
  constexpr std::string_view kForm = "0000-00-00T00:00:00";
  bool is_date = date.size() == 4 || date.size() == 7 || date.size() == 10 || date.size() == 16 || date.size() == 19;
  for (size_t i = 0; is_date && i < date.size(); ++i)
    is_date = kForm[i] == '0' ? date[i] >= '0' && date[i] <= '9' : date[i] == kForm[i];
  const auto number = [&](size_t at) { return date.size() > at + 1 ? (date[at] - '0') * 10 + date[at + 1] - '0' : 1; };
  is_date = is_date && number(5) >= 1 && number(5) <= 12 && number(8) >= 1 && number(8) <= 31;
  is_date = is_date && (date.size() <= 10 || (number(11) <= 23 && number(14) <= 59));
  Require(is_date, "[search] expected ", name, " as 2024, 2024-05 or 2024-05-03, got \"", base::PrintableUtf8(date),
          "\"");
}

void Check(const SearchFilter& filter) {
  CheckDate(filter.after, "the first date");
  CheckDate(filter.before, "the last date");
  Require(filter.after.empty() || filter.before.empty() || filter.after < filter.before,
          "[search] expected dates from ", "earlier to later, got after ", filter.after, " and before ", filter.before);
  Require(filter.min_width_px >= 0 && filter.min_height_px >= 0, "[search] expected sizes of 0 or more, got ",
          filter.min_width_px, " x ", filter.min_height_px);
}

}  // namespace

Allowed ApplyFilter(Store& store, const SearchFilter& filter) {
  Check(filter);
  Allowed allowed;
  if (filter == SearchFilter{}) return allowed;
  allowed.is_all = false;
  const std::string folder = filter.folder.empty() ? "" : AbsolutePath(filter.folder);
  const std::string first = folder.empty() || folder == "/" ? "/" : folder + "/";
  std::string end = first;
  end.back() = '/' + 1;  // the least string that is greater than everything below the folder
  for (auto row =
           store.db().Query(base::StrCat("SELECT f.id, f.content_id FROM file f JOIN content c ON c.id = f.content_id "
                                         "WHERE (?1 = '' OR ",
                                         kDate, " >= ?1) AND (?2 = '' OR ", kDate,
                                         " < ?2) "
                                         "AND c.width_px >= ?3 AND c.height_px >= ?4 "
                                         "AND (?5 = 0 OR f.path = ?6 OR (f.path >= ?7 AND f.path < ?8))"),
                            filter.after, filter.before, filter.min_width_px, filter.min_height_px,
                            int64_t{!folder.empty()}, Blob{folder}, Blob{first}, Blob{end});
       row.Next();) {
    allowed.files.insert(row.Int(0));
    allowed.contents.insert(row.Int(1));
  }
  return allowed;
}

void ForEachNewest(Store& store, const Allowed& allowed, const std::function<bool(const DatedFile&)>& file) {
  for (auto row = store.db().Query(base::StrCat("SELECT f.id, f.path, ", kDate,
                                                ", f.content_id FROM file f JOIN content c ON c.id = f.content_id "
                                                "ORDER BY 3 DESC, f.path"));
       row.Next();) {
    if (!allowed.HasFileOf(row.Int(0), row.Int(3))) continue;
    if (!file({row.Int(0), row.Int(3), std::string(row.Bytes(1)), std::string(row.Text(2))})) return;
  }
}

}  // namespace fovea::library
