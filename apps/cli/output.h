// How the program speaks: results on stdout, everything else on stderr, and a progress bar that never garbles either.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::cli {

class Console {
 public:
  struct Options {
    std::string command;  // "classify"; opens each message on stderr
    bool quiet = false;   // no progress, no notes; failures are always told
  };
  explicit Console(const Options& options);
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  // ---- stdout. A line ends with "\n", added here. After the reader has gone away (closed pipe) they do nothing.
  void Line(std::string_view text);
  void Text(std::string_view text);                 // as it is, at once: a part of a line
  void Json(const nlohmann::ordered_json& object);  // one line; invalid UTF-8 becomes U+FFFD
  // The reader of stdout has gone away: stop quietly.
  bool is_closed() const { return is_closed_; }
  // Writing stdout failed for another reason (disk full); told on stderr once.
  bool has_write_error() const { return has_write_error_; }

  // ---- stderr
  // "fovea classify: cat.jpg: reason"; the subject is left out when the reason already names it, or when empty.
  void Failure(const std::string& subject, const std::string& reason);
  void Note(std::string_view text);  // not with --quiet

  // ---- progress: a bar on a terminal, else a line every few seconds
  enum class Unit { kItems, kBytes };
  void BeginProgress(int64_t total, Unit unit = Unit::kItems);  // 0: not known yet
  void Progress(int64_t done, int64_t total, int64_t failed);
  void EndProgress();

  // ---- looks; text is returned unchanged when stdout is no terminal or NO_COLOR is set
  std::string Bold(std::string_view text) const { return Styled("1", text); }
  std::string Dim(std::string_view text) const { return Styled("2", text); }
  std::string Green(std::string_view text) const { return Styled("32", text); }
  std::string Yellow(std::string_view text) const { return Styled("33", text); }
  // A bar of at most `width` cells for a fraction 0..1; empty when stdout is no terminal.
  std::string Bar(double fraction, int width) const;

 private:
  using Clock = std::chrono::steady_clock;
  std::string Styled(const char* code, std::string_view text) const;
  std::string Cells(double fraction, int width, bool pad) const;
  void Write(std::string_view text);  // stdout, with the mutex held
  void EraseBar();
  void DrawProgress(bool is_last);

  std::string command_;
  bool is_quiet_, out_is_terminal_, err_is_terminal_, has_colour_, is_utf8_;
  bool is_closed_ = false, has_write_error_ = false;
  std::mutex mutex_;
  // progress
  bool is_active_ = false, bar_is_drawn_ = false;
  int64_t done_ = 0, total_ = 0, failed_ = 0;
  Unit unit_ = Unit::kItems;
  int64_t first_done_ = -1;  // what was there before the work began counts for no rate
  Clock::time_point begin_{}, last_drawn_{};
};

// Text that cannot change the state of a terminal: control characters and bytes that are no UTF-8 become U+FFFD.
std::string Printable(std::string_view bytes);
// The same for text of several lines: line ends and tabs stay.
std::string PrintableText(std::string_view bytes);
bool IsUtf8(std::string_view bytes);

// {"path": ...}, with "path_bytes" in hexadecimal beside it when the path is no UTF-8 (JSON cannot hold it then).
nlohmann::ordered_json PathObject(const std::string& path);

// The double with the same shortest decimal form as `value`: 0.1f prints as 0.1 and still reads back as the same float.
double ShortestDouble(float value);

std::string Percent(double fraction);               // " 62.1 %", 7 wide
std::string Count(int64_t value);                   // "1,234,567"
std::string Bytes(int64_t bytes);                   // "12.3 MB"
std::string Duration(double seconds);               // "0:08", "1:02:03"
std::string PadRight(std::string text, int width);  // by characters, not bytes

// Writes float rows as one .npy file [N,D], row by row, so that nothing is held in memory. The file appears under its
// name only in Finish(); without it the partial file is removed.
class NpyWriter {
 public:
  NpyWriter(const std::string& path, int64_t rows, int64_t columns);  // throws kIo
  ~NpyWriter();
  NpyWriter(const NpyWriter&) = delete;
  NpyWriter& operator=(const NpyWriter&) = delete;
  void Append(const std::vector<float>& row);  // `columns` values; an empty row is stored as NaN
  void Finish();                               // also after fewer rows than announced: the header is corrected

 private:
  void WriteHeader(int64_t rows);
  [[noreturn]] void FailWithErrno(const char* action) const;

  std::string path_, partial_path_;
  std::FILE* file_;
  int64_t columns_, rows_written_ = 0, rows_announced_;
};

}  // namespace fovea::cli
