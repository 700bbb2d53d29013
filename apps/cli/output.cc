// Terminal, JSON lines and .npy files. Colours only on a terminal and never with NO_COLOR; block characters only in a
// UTF-8 locale. SIGPIPE is ignored by main, so a closed pipe is seen here as EPIPE and ends the work quietly.
#include "output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "fovea/error.h"

namespace fovea::cli {
namespace {

constexpr auto kBarInterval = std::chrono::milliseconds(100);
constexpr auto kLineInterval = std::chrono::seconds(5);

bool LocaleIsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string lower(value);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    return lower.find("utf-8") != std::string::npos || lower.find("utf8") != std::string::npos;
  }
  return false;
}

int TerminalColumns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// printf into a string.
template <typename... Values>
std::string Format(const char* format, Values... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof(buffer), format, values...);
  return buffer;
}

// Length of the well-formed UTF-8 sequence that `bytes` starts with, 0 when there is none.
size_t SequenceLength(std::string_view bytes) {
  const auto at = [&](size_t i) { return i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : 0u; };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : (lead & 0xF0) == 0xE0        ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  const bool is_overlong = (lead == 0xE0 && at(1) < 0xA0) || (lead == 0xF0 && at(1) < 0x90);
  const bool is_no_character = (lead == 0xED && at(1) > 0x9F) || (lead == 0xF4 && at(1) > 0x8F);
  return is_overlong || is_no_character ? 0 : length;
}

}  // namespace

Console::Console(const Options& options)
    : command_(options.command),
      is_quiet_(options.quiet),
      out_is_terminal_(::isatty(STDOUT_FILENO) != 0),
      err_is_terminal_(::isatty(STDERR_FILENO) != 0),
      is_utf8_(LocaleIsUtf8()) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool is_dumb = terminal != nullptr && std::string_view(terminal) == "dumb";
  has_colour_ = out_is_terminal_ && (no_colour == nullptr || *no_colour == '\0') && !is_dumb;
}

Console::~Console() { EndProgress(); }

void Console::Write(std::string_view text) {
  if (is_closed_ || has_write_error_) return;
  const bool was_drawn = bar_is_drawn_;
  if (was_drawn && out_is_terminal_) EraseBar();
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    const int error = errno;
    if (error == EPIPE) {
      is_closed_ = true;
    } else {
      has_write_error_ = true;
      std::fprintf(stderr, "fovea %s: cannot write to standard output: %s\n", command_.c_str(), std::strerror(error));
    }
  }
  if (was_drawn && out_is_terminal_) DrawProgress(false);
}

void Console::Line(std::string_view text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Write(std::string(text) + "\n");
}

void Console::Text(std::string_view text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Write(text);
}

void Console::Json(const nlohmann::ordered_json& object) {
  Line(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void Console::Failure(const std::string& subject, const std::string& reason) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const bool was_drawn = bar_is_drawn_;
  EraseBar();
  const std::string name = Printable(subject), text = Printable(reason);
  const bool is_named = name.empty() || text.find(name) != std::string::npos;
  std::fprintf(stderr, "fovea %s: %s%s%s\n", command_.c_str(), is_named ? "" : name.c_str(), is_named ? "" : ": ",
               text.c_str());
  if (was_drawn) DrawProgress(false);
}

void Console::Note(std::string_view text) {
  if (is_quiet_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  EraseBar();
  std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

void Console::BeginProgress(int64_t total, Unit unit) {
  const std::lock_guard<std::mutex> lock(mutex_);
  unit_ = unit;
  first_done_ = -1;
  is_active_ = !is_quiet_ && total != 1;
  total_ = total;
  done_ = failed_ = 0;
  begin_ = last_drawn_ = Clock::now();
}

void Console::Progress(int64_t done, int64_t total, int64_t failed) {
  const std::lock_guard<std::mutex> lock(mutex_);
  done_ = done;
  if (first_done_ < 0) first_done_ = unit_ == Unit::kBytes ? done : 0;
  total_ = total;
  failed_ = failed;
  if (!is_active_) return;
  const auto interval = err_is_terminal_ ? Clock::duration(kBarInterval) : Clock::duration(kLineInterval);
  if (Clock::now() - last_drawn_ >= interval) DrawProgress(false);
}

void Console::EndProgress() {
  const std::lock_guard<std::mutex> lock(mutex_);
  EraseBar();
  is_active_ = false;
}

void Console::EraseBar() {
  if (!bar_is_drawn_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  bar_is_drawn_ = false;
}

void Console::DrawProgress(bool is_last) {
  last_drawn_ = Clock::now();
  const double seconds = std::chrono::duration<double>(last_drawn_ - begin_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_ - std::max<int64_t>(first_done_, 0)) / seconds : 0;
  const bool is_bytes = unit_ == Unit::kBytes;
  std::string text = is_bytes ? Bytes(done_) : Count(done_);
  if (total_ > 0) text += " of " + (is_bytes ? Bytes(total_) : Count(total_));
  text += is_bytes ? "  " + Bytes(std::llround(rate)) + "/s" : Format("  %.1f/s", rate);
  if (total_ > 0 && rate > 0 && !is_last) text += "  " + Duration(static_cast<double>(total_ - done_) / rate) + " left";
  if (failed_ > 0) text += "  " + Count(failed_) + " failed";
  if (!err_is_terminal_) {
    std::fprintf(stderr, "%s: %s\n", command_.c_str(), text.c_str());
    return;
  }
  const int room = std::clamp(TerminalColumns() - static_cast<int>(command_.size() + text.size()) - 6, 0, 30);
  std::string bar;
  if (total_ > 0 && room >= 8) bar = Cells(static_cast<double>(done_) / static_cast<double>(total_), room, true) + "  ";
  std::fprintf(stderr, "\r\033[K%s  %s%s", command_.c_str(), bar.c_str(), text.c_str());
  std::fflush(stderr);
  bar_is_drawn_ = true;
}

std::string Console::Styled(const char* code, std::string_view text) const {
  if (!has_colour_) return std::string(text);
  return std::string("\033[") + code + "m" + std::string(text) + "\033[0m";
}

std::string Console::Cells(double fraction, int width, bool pad) const {
  const int filled = static_cast<int>(std::lround(std::clamp(fraction, 0.0, 1.0) * width));
  std::string cells;
  for (int i = 0; i < filled; ++i) cells += is_utf8_ ? "█" : "#";
  for (int i = filled; pad && i < width; ++i) cells += is_utf8_ ? "░" : ".";
  return cells;
}

std::string Console::Bar(double fraction, int width) const {
  return out_is_terminal_ ? Cells(fraction, width, false) : "";
}

std::string Printable(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t length = SequenceLength(bytes);
    const auto first = static_cast<uint8_t>(bytes[0]);
    // U+0080..U+009F are control characters too: C2 80..9F.
    const bool is_control =
        first < 0x20 || first == 0x7F || (first == 0xC2 && length == 2 && static_cast<uint8_t>(bytes[1]) < 0xA0);
    text += length == 0 || is_control ? std::string_view("\xEF\xBF\xBD") : bytes.substr(0, length);
    bytes.remove_prefix(std::max<size_t>(length, 1));
  }
  return text;
}

std::string PrintableText(std::string_view bytes) {
  std::string text;
  size_t begin = 0;
  for (size_t i = 0; i <= bytes.size(); ++i) {
    if (i < bytes.size() && bytes[i] != '\n' && bytes[i] != '\t') continue;
    text += Printable(bytes.substr(begin, i - begin));
    if (i < bytes.size()) text += bytes[i];
    begin = i + 1;
  }
  return text;
}

bool IsUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = SequenceLength(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

nlohmann::ordered_json PathObject(const std::string& path) {
  nlohmann::ordered_json object{{"path", path}};
  if (IsUtf8(path)) return object;
  std::string hex;
  for (const char c : path) hex += Format("%02x", static_cast<unsigned>(static_cast<uint8_t>(c)));
  object["path_bytes"] = hex;
  return object;
}

double ShortestDouble(float value) {
  char text[32];
  const auto written = std::to_chars(text, text + sizeof(text), value);
  double wide = value;
  std::from_chars(text, written.ptr, wide);
  return wide;
}

std::string Percent(double fraction) { return Format("%5.1f %%", 100.0 * fraction); }

std::string Count(int64_t value) {
  std::string digits = std::to_string(value);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string Bytes(int64_t bytes) {
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 999.95 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? Format("%lld bytes", static_cast<long long>(bytes)) : Format("%.1f %s", value, units[unit]);
}

std::string Duration(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::min(std::max(seconds, 0.0), 1e9)));
  if (whole >= 3600) return Format("%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  return Format("%lld:%02lld", whole / 60, whole % 60);
}

std::string PadRight(std::string text, int width) {
  const auto characters =
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
  if (characters < width) text.append(static_cast<size_t>(width - characters), ' ');
  return text;
}

NpyWriter::NpyWriter(const std::string& path, int64_t rows, int64_t columns)
    : path_(path),
      partial_path_(path + ".part"),
      file_(std::fopen(partial_path_.c_str(), "wb")),
      columns_(columns),
      rows_announced_(rows) {
  if (file_ == nullptr) FailWithErrno("create");
  WriteHeader(rows);
}

NpyWriter::~NpyWriter() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  std::remove(partial_path_.c_str());
}

void NpyWriter::WriteHeader(int64_t rows) {
  // Version 1.0: magic, length of the rest, a Python dict padded with spaces so that the data starts at byte 128.
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                       std::to_string(columns_) + "), }";
  header.resize(117, ' ');
  header = std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n";
  if (std::fwrite(header.data(), 1, header.size(), file_) != header.size()) FailWithErrno("write");
}

void NpyWriter::Append(const std::vector<float>& row) {
  const std::vector<float> missing(row.empty() ? static_cast<size_t>(columns_) : 0,
                                   std::numeric_limits<float>::quiet_NaN());
  const std::vector<float>& values = row.empty() ? missing : row;
  if (std::fwrite(values.data(), sizeof(float), values.size(), file_) != values.size()) FailWithErrno("write");
  ++rows_written_;
}

void NpyWriter::Finish() {
  if (rows_written_ != rows_announced_) {
    std::rewind(file_);
    WriteHeader(rows_written_);
  }
  if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) FailWithErrno("write");
  std::fclose(file_);
  file_ = nullptr;
  if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) FailWithErrno("create");
}

void NpyWriter::FailWithErrno(const char* action) const {
  const int error = errno;
  throw Error(ErrorCode::kIo, std::string("cannot ") + action + " " + Printable(path_) + ": " + std::strerror(error));
}

}  // namespace fovea::cli
