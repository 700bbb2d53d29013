// Texts beside and inside pictures, and the journal that can take them back.
//
// The journal (SQLite) has one row for each change: the file, what it was before as a delta to what it is now, and
// hashes of both. The row is on disk before the file is replaced; so a file is either what some row says it became,
// which that row turns back, or what it was, and there is nothing to undo. A second change of a file that is still ours
// keeps the delta to the first state: undo always goes back to what was there before Fovea.
//
// Whose a text is, the file itself says: beside dc:description stands a copy of what we wrote. When both are equal the
// text is ours; when somebody has changed a word it is theirs.
#include "fovea/picture_text.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "fovea/image.h"
#include "fovea/model.h"
#include "library/file_change.h"
#include "library/sqlite.h"
#include "library/xmp.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using library::FileState;

constexpr int64_t kApplicationId = 0x46765478;  // "FvTx"
constexpr int64_t kVersion = 1;
// IPTC's word for "made by a trained model". Not as Iptc4xmpExt:DigitalSourceType: that would say it of the picture.
constexpr char kTrainedModel[] = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
constexpr char kCaptionWriter[] = "Xmp.photoshop.CaptionWriter";

const char* PropertyOf(TextKind kind) {
  return kind == TextKind::kDescription ? "Xmp.dc.description" : "Xmp.iptc.AltTextAccessibility";
}

// "Xmp.fovea.DescriptionModel" and its like.
std::string OwnKey(TextKind kind, const char* what) {
  return base::StrCat("Xmp.fovea.", kind == TextKind::kDescription ? "Description" : "AltText", what);
}

std::string Trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

// What cameras write into EXIF's ImageDescription by themselves.
bool IsCamerasDefault(const std::string& text) {
  static constexpr const char* kDefaults[] = {"OLYMPUS DIGITAL CAMERA",
                                              "MINOLTA DIGITAL CAMERA",
                                              "KONICA MINOLTA DIGITAL CAMERA",
                                              "DIGITAL CAMERA",
                                              "SONY DSC",
                                              "SAMSUNG",
                                              "DCIM",
                                              "default"};
  return std::ranges::any_of(kDefaults, [&](const char* known) { return text == known; });
}

// What one file says.
struct Statement {
  std::string text;     // the property itself
  std::string ours;     // our copy of it
  std::string foreign;  // a text of other metadata than XMP
  std::string model, fingerprint, settings;
  double confidence = 0;

  bool IsPersons() const { return !foreign.empty() || (!text.empty() && text != ours); }
};

Statement StatementOf(const library::XmpFile& file, TextKind kind) {
  const std::vector<std::string> keys = {PropertyOf(kind),
                                         OwnKey(kind, "Text"),
                                         OwnKey(kind, "Model"),
                                         OwnKey(kind, "ModelFingerprint"),
                                         OwnKey(kind, "Settings"),
                                         OwnKey(kind, "Confidence"),
                                         "Iptc.Application2.Caption",
                                         "Exif.Image.ImageDescription"};
  const auto found = library::ReadXmp(file, keys);
  const auto text_of = [&](size_t i) {
    const auto place = found.find(keys[i]);
    return place == found.end() ? std::string() : Trimmed(place->second);
  };
  Statement statement{.text = text_of(0),
                      .ours = text_of(1),
                      .foreign = {},
                      .model = text_of(2),
                      .fingerprint = text_of(3),
                      .settings = text_of(4),
                      .confidence = std::strtod(text_of(5).c_str(), nullptr)};
  if (kind == TextKind::kDescription) {
    statement.foreign = text_of(6);
    if (statement.foreign.empty() && !IsCamerasDefault(text_of(7))) statement.foreign = text_of(7);
  }
  return statement;
}

// XMP knows no empty texts.
std::string SettingsOf(const PictureText& text) { return text.settings.empty() ? "default" : text.settings; }

// The path without links in its folders; the last part stays, so that it may be a link or not there.
std::string AbsoluteOf(const std::string& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  const fs::path folder = fs::weakly_canonical(absolute.parent_path(), error);
  return error ? absolute.lexically_normal().native() : (folder / absolute.filename()).native();
}

std::string CanonicalOf(const std::string& path) {
  std::error_code error;
  const fs::path canonical = fs::canonical(path, error);
  return error ? AbsoluteOf(path) : canonical.native();
}

bool IsAtOrBelow(std::string_view path, const std::string& place) {
  return path == place ||
         (path.size() > place.size() && path.starts_with(place) && (place.ends_with('/') || path[place.size()] == '/'));
}

std::string HashOf(const std::vector<uint8_t>& bytes) { return base::ContentHash(bytes); }

bool SamePixels(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b, const std::string& name) {
  ImageInfo of_a, of_b;
  const Image x = DecodeImage(a, name, {}, &of_a), y = DecodeImage(b, name, {}, &of_b);
  return x.width == y.width && x.height == y.height && of_a.orientation == of_b.orientation &&
         of_a.capture_time == of_b.capture_time &&
         std::memcmp(x.data(), y.data(), static_cast<size_t>(x.size_bytes())) == 0;
}

// One process changes files at a time, so that the names of temporary files can be fixed.
class JournalLock {
 public:
  explicit JournalLock(const std::string& journal)
      : fd_(::open((journal + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    if (fd_ < 0 || ::flock(fd_, LOCK_EX) != 0) {
      const int error = errno;
      if (fd_ >= 0) ::close(fd_);
      Fail(ErrorCode::kIo, "[texts] cannot lock ", base::PrintableUtf8(journal), ": ", std::strerror(error));
    }
  }
  ~JournalLock() { ::close(fd_); }
  JournalLock(const JournalLock&) = delete;
  JournalLock& operator=(const JournalLock&) = delete;

 private:
  int fd_;
};

}  // namespace

struct PictureTexts::Impl {
  explicit Impl(const std::string& file) : journal(file), db(file, library::Database::Mode::kCreate) {
    db.Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF");
    const JournalLock lock(file);
    const int64_t application = db.Scalar("PRAGMA application_id", 0), version = db.Scalar("PRAGMA user_version", 0);
    const bool is_new = db.Scalar("SELECT count(*) FROM sqlite_schema", 0) == 0;
    RequireData(is_new || application == kApplicationId, "[texts] ", base::PrintableUtf8(file),
                " is no journal of texts");
    if (!is_new && version != kVersion)
      Fail(ErrorCode::kUnimplemented, "[texts] ", base::PrintableUtf8(file), " has version ", version,
           ", this program knows ", kVersion, "; hint: use a newer Fovea");
    if (!is_new) return;
    db.Execute(base::StrCat(
        "CREATE TABLE change (id INTEGER PRIMARY KEY, path BLOB NOT NULL, picture BLOB NOT NULL, "
        "existed INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, prefix INTEGER NOT NULL, suffix INTEGER NOT NULL, "
        "middle BLOB NOT NULL, before_hash TEXT NOT NULL, after_hash TEXT NOT NULL);"
        "CREATE INDEX change_path ON change (path);"
        "PRAGMA application_id = ",
        kApplicationId, "; PRAGMA user_version = ", kVersion));
  }

  // How the file was before any change of ours that still holds.
  struct Original {
    bool existed;
    int64_t mtime_ns;
    std::vector<uint8_t> bytes;
  };
  Original OriginalOf(const std::string& path, const std::optional<FileState>& now) {
    if (!now) return {false, -1, {}};
    auto rows = db.Query(
        "SELECT existed, mtime_ns, prefix, suffix, middle, before_hash FROM change WHERE path = ? AND after_hash = ? "
        "ORDER BY id DESC",
        library::Blob{path}, HashOf(now->bytes));
    if (!rows.Next()) return {true, now->mtime_ns, now->bytes};
    const std::string_view middle = rows.Bytes(4);
    const library::Delta delta{rows.Int(2), rows.Int(3), {middle.begin(), middle.end()}};
    Original original{rows.Int(0) != 0, rows.Int(1), library::Before(delta, now->bytes)};
    RequireData(HashOf(original.bytes) == rows.Text(5), "[texts] the journal does not fit ", base::PrintableUtf8(path));
    return original;
  }

  void Change(const std::string& path, const std::string& picture, const std::optional<FileState>& now,
              const std::vector<uint8_t>& bytes) {
    const Original original = OriginalOf(path, now);
    const library::Delta delta = library::DeltaOf(original.bytes, bytes);
    const std::string_view middle(reinterpret_cast<const char*>(delta.middle.data()), delta.middle.size());
    int64_t id = 0;
    {
      library::Transaction transaction(db);
      db.Run(
          "INSERT INTO change (path, picture, existed, mtime_ns, prefix, suffix, middle, before_hash, after_hash) "
          "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
          library::Blob{path}, library::Blob{picture}, int64_t{original.existed}, original.mtime_ns, delta.prefix,
          delta.suffix, library::Blob{middle}, HashOf(original.bytes), HashOf(bytes));
      id = db.LastInsertId();
      transaction.Commit();
    }
    library::ReplaceFile(path, now, bytes);
    db.Run("DELETE FROM change WHERE path = ? AND id < ?", library::Blob{path}, id);
  }

  void UndoFile(const std::string& path, UndoReport& report) {
    const std::optional<FileState> now = library::ReadState(path);
    const std::string hash = now ? HashOf(now->bytes) : "";
    const Original original = OriginalOf(path, now);
    const bool is_ours =
        db.Scalar("SELECT count(*) FROM change WHERE path = ? AND after_hash = ?", 0, library::Blob{path}, hash) > 0;
    const bool was_there =
        db.Scalar("SELECT existed FROM change WHERE path = ? ORDER BY id LIMIT 1", 0, library::Blob{path}) != 0;
    if (is_ours && original.existed) {
      library::ReplaceFile(path, now, original.bytes, original.mtime_ns);
      ++report.restored;
    } else if (is_ours) {
      library::RemoveFile(path, *now);
      ++report.removed;
    } else if ((!now && !was_there) || (now && db.Scalar("SELECT count(*) FROM change WHERE path = ? AND existed = 1 "
                                                         "AND before_hash = ?",
                                                         0, library::Blob{path}, hash) > 0)) {
      ++report.unchanged;  // somebody else undid it, or a crash came before the change
    } else {
      Fail(now ? ErrorCode::kInvalidArgument : ErrorCode::kNotFound, "[texts] ",
           now ? "it was changed by somebody else since; left alone" : "it is not there any more");
    }
    db.Run("DELETE FROM change WHERE path = ?", library::Blob{path});
  }

  const std::string journal;
  library::Database db;
};

PictureTexts::PictureTexts(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PictureTexts::~PictureTexts() = default;
PictureTexts::PictureTexts(PictureTexts&&) noexcept = default;
PictureTexts& PictureTexts::operator=(PictureTexts&&) noexcept = default;

PictureTexts PictureTexts::Open(const std::string& journal) {
  std::error_code error;
  const fs::path folder = fs::path(journal).parent_path();
  if (!folder.empty()) fs::create_directories(folder, error);
  if (error)
    Fail(ErrorCode::kIo, "[texts] cannot make the folder of ", base::PrintableUtf8(journal), ": ", error.message());
  return PictureTexts(std::make_unique<Impl>(journal));
}

TextState PictureTexts::Look(const std::string& picture, const PictureText& text) const {
  std::vector<std::pair<std::string, bool>> files = {{CanonicalOf(picture), false}, {picture + ".xmp", true}};
  const std::string short_name = fs::path(picture).replace_extension(".xmp").native();
  if (short_name != files[1].first) files.emplace_back(short_name, true);
  TextState state;
  for (size_t i = 0; i < files.size(); ++i) {
    const auto& [file, is_sidecar] = files[i];
    const std::optional<FileState> now = library::ReadState(file);
    if (!now && !is_sidecar) Fail(ErrorCode::kNotFound, "[texts] no such file: ", base::PrintableUtf8(picture));
    if (!now) continue;
    Statement said;
    try {
      said = StatementOf({now->bytes, is_sidecar, file}, text.kind);
    } catch (const Error& error) {
      // A picture whose metadata cannot be read stays untouched when the text goes beside it.
      if (error.code() != ErrorCode::kCorruptData || is_sidecar || text.place == TextPlace::kEmbedded) throw;
      continue;
    }
    const std::string& shown = is_sidecar ? file : picture;
    if (said.IsPersons()) {
      return {TextState::Kind::kPerson, said.text.empty() || said.text == said.ours ? said.foreign : said.text, 0,
              shown};
    }
    const bool is_place = i == (text.place == TextPlace::kEmbedded ? 0u : 1u);
    if (said.text.empty() || !is_place) continue;
    const bool is_same = said.fingerprint == text.fingerprint && said.settings == SettingsOf(text);
    state = {is_same ? TextState::Kind::kSame : TextState::Kind::kOtherRun, said.text, said.confidence, shown};
  }
  return state;
}

std::string PictureTexts::Write(const std::string& picture, const PictureText& text) {
  Require(!Trimmed(text.text).empty(), "[texts] expected a text, got none");
  const JournalLock lock(impl_->journal);
  const TextState state = Look(picture, text);
  if (state.kind == TextState::Kind::kPerson) {
    Fail(ErrorCode::kInvalidArgument, "[texts] ", base::PrintableUtf8(state.file),
         " holds a text that a person wrote; left alone");
  }
  if (state.kind == TextState::Kind::kSame) return state.file;
  const bool is_sidecar = text.place == TextPlace::kSidecar;
  const std::string path = is_sidecar ? AbsoluteOf(picture + ".xmp") : CanonicalOf(picture);
  const std::optional<FileState> now = library::ReadState(path);
  static const std::vector<uint8_t> kNothing;
  const library::XmpFile file{now ? now->bytes : kNothing, is_sidecar, path};

  const std::string software = base::StrCat("Fovea ", Version());
  char confidence[16];
  std::snprintf(confidence, sizeof confidence, "%.4f", text.confidence);
  std::vector<library::XmpProperty> properties = {
      {PropertyOf(text.kind), Trimmed(text.text), true},
      {OwnKey(text.kind, "Text"), Trimmed(text.text)},
      {OwnKey(text.kind, "Software"), software},
      {OwnKey(text.kind, "Model"), text.model},
      {OwnKey(text.kind, "ModelFingerprint"), text.fingerprint},
      {OwnKey(text.kind, "Confidence"), confidence},
      {OwnKey(text.kind, "Settings"), SettingsOf(text)},
      {OwnKey(text.kind, "SourceType"), kTrainedModel},
  };
  if (text.kind == TextKind::kDescription)
    properties.push_back({kCaptionWriter, base::StrCat(software, " with ", text.model, " (machine-made)")});
  const std::vector<uint8_t> bytes = library::WithXmp(file, properties);
  if (!is_sidecar && !SamePixels(now->bytes, bytes, path)) {
    Fail(ErrorCode::kInternal, "[texts] ", base::PrintableUtf8(picture),
         " would not be the same picture any more; left alone; hint: write beside it");
  }
  impl_->Change(path, CanonicalOf(picture), now, bytes);
  return is_sidecar ? picture + ".xmp" : picture;
}

UndoReport PictureTexts::Undo(const std::vector<std::string>& paths,
                              const std::function<void(const std::string&, const Error&)>& on_failure) {
  const JournalLock lock(impl_->journal);
  std::vector<std::string> places, files;
  for (const std::string& path : paths) {
    places.push_back(CanonicalOf(path));
    places.push_back(AbsoluteOf(path));
  }
  for (auto rows = impl_->db.Query("SELECT DISTINCT path, picture FROM change ORDER BY path"); rows.Next();) {
    const std::string path(rows.Bytes(0)), picture(rows.Bytes(1));
    const auto is_meant = [&](const std::string& place) {
      return IsAtOrBelow(path, place) || IsAtOrBelow(picture, place);
    };
    if (std::ranges::any_of(places, is_meant) && (files.empty() || files.back() != path)) files.push_back(path);
  }
  UndoReport report;
  for (const std::string& file : files) {
    try {
      impl_->UndoFile(file, report);
    } catch (const Error& error) {
      if (on_failure) on_failure(file, error);
    }
  }
  return report;
}

std::string PictureTexts::DefaultFile() {
  const char* data = std::getenv("XDG_DATA_HOME");
  if (data != nullptr && data[0] == '/') return std::string(data) + "/fovea/texts.db";
  const char* home = std::getenv("HOME");
  Require(home != nullptr && home[0] != '\0', "[texts] no HOME in the environment; hint: set XDG_DATA_HOME");
  return std::string(home) + "/.local/share/fovea/texts.db";
}

}  // namespace fovea
