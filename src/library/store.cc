// The tables and their statements. Everything that belongs together (file, content, words) changes in the caller's one
// transaction.
#include "library/store.h"

#include <sys/stat.h>
#include <unistd.h>
#include <atomic>

#include <bit>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "library/words.h"

namespace fovea::library {
namespace {

static_assert(std::endian::native == std::endian::little, "embeddings are stored little-endian, as they lie in memory");

constexpr int64_t kApplicationId = 0x466F7661;  // "Fova"

constexpr char kSchema[] = R"sql(
CREATE TABLE root(id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE);
CREATE TABLE model(
  id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL, embedding_dim INTEGER NOT NULL,
  path TEXT NOT NULL, reads_text INTEGER NOT NULL, started INTEGER NOT NULL);
CREATE TABLE content(
  id INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL UNIQUE, format TEXT NOT NULL, width_px INTEGER NOT NULL, height_px INTEGER NOT NULL,
  capture_time TEXT NOT NULL, latitude REAL, longitude REAL, unused_since INTEGER);
CREATE INDEX content_unused ON content(unused_since) WHERE unused_since IS NOT NULL;
CREATE TABLE analysis(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, content_id INTEGER NOT NULL REFERENCES content(id) ON DELETE CASCADE,
  model_id INTEGER NOT NULL REFERENCES model(id), embedding BLOB NOT NULL, UNIQUE(content_id, model_id));
CREATE TABLE label(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE picture_label(
  content_id INTEGER NOT NULL REFERENCES content(id) ON DELETE CASCADE, rank INTEGER NOT NULL, label_id INTEGER NOT NULL REFERENCES label(id),
  class_index INTEGER NOT NULL, score REAL NOT NULL, PRIMARY KEY(content_id, rank)) WITHOUT ROWID;
CREATE TABLE file(
  id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL UNIQUE, root_id INTEGER NOT NULL REFERENCES root(id), size_bytes INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, content_id INTEGER REFERENCES content(id), failure TEXT NOT NULL DEFAULT '',
  failed_by TEXT NOT NULL DEFAULT '');
CREATE INDEX file_content ON file(content_id);
CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counter VALUES('embedding_epoch', 0);
CREATE VIRTUAL TABLE words USING fts5(labels, name, folders, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3');
CREATE VIRTUAL TABLE label_words USING fts5(name, tokenize = 'unicode61 remove_diacritics 2');
)sql";

constexpr char kCaptionSchema[] = R"sql(
CREATE TABLE caption(
  content_id INTEGER PRIMARY KEY REFERENCES content(id) ON DELETE CASCADE, text TEXT NOT NULL, confidence REAL NOT NULL,
  captioner TEXT NOT NULL);
CREATE VIRTUAL TABLE caption_words USING fts5(text, tokenize = 'unicode61 remove_diacritics 2');
)sql";

// From one embedding a content to one a content and model.
constexpr char kFromVersion1[] = R"sql(
ALTER TABLE model ADD COLUMN path TEXT NOT NULL DEFAULT '';
ALTER TABLE model ADD COLUMN reads_text INTEGER NOT NULL DEFAULT 1;
ALTER TABLE model ADD COLUMN started INTEGER NOT NULL DEFAULT 0;
UPDATE model SET started = id;
CREATE TABLE new_analysis(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, content_id INTEGER NOT NULL REFERENCES content(id) ON DELETE CASCADE,
  model_id INTEGER NOT NULL REFERENCES model(id), embedding BLOB NOT NULL, UNIQUE(content_id, model_id));
INSERT INTO new_analysis SELECT seq, content_id, model_id, embedding FROM analysis;
DROP TABLE analysis;
ALTER TABLE new_analysis RENAME TO analysis;
UPDATE counter SET value = value + 1 WHERE name = 'embedding_epoch';
)sql";

std::string_view AsBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::optional<double> OptionalDouble(const Cursor& row, int column) {
  return row.IsNull(column) ? std::nullopt : std::optional<double>(row.Double(column));
}

// Makes an empty library. It is made beside its place and put there whole, so that nobody, another program that
// comes at the same moment or one that opens the file after a crash, ever sees half a library. Who comes second keeps
// the first one's.
void MakeLibrary(const std::string& file) {
  static std::atomic<int> next{0};
  const std::string made = base::StrCat(file, ".new-", ::getpid(), "-", next++);
  try {
    Database db(made, Database::Mode::kCreate);
    db.Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    Transaction transaction(db);
    db.Execute(kSchema);
    db.Execute(kCaptionSchema);
    db.Execute(base::StrCat("PRAGMA application_id = ", kApplicationId, "; PRAGMA user_version = ", Store::kVersion));
    transaction.Commit();
  } catch (const Error&) {
    ::unlink(made.c_str());
    throw;
  }
  // An empty file is replaced, and a file system without hard links gets the file by renaming; there two at once cannot
  // be told apart.
  struct stat there {};
  const bool is_empty = ::stat(file.c_str(), &there) == 0 && there.st_size == 0;
  const bool is_placed = (!is_empty && (::link(made.c_str(), file.c_str()) == 0 || errno == EEXIST)) ||
                         ::rename(made.c_str(), file.c_str()) == 0;
  const int error = errno;
  ::unlink(made.c_str());
  if (!is_placed) {
    Fail(ErrorCode::kIo, "[library] cannot create ", base::PrintableUtf8(file), ": ", std::strerror(error));
  }
}

// The path as given when there is something to open: SQLite's own message does not say that a file is missing.
const std::string& RequireFile(const std::string& file, Database::Mode mode) {
  struct stat info {};
  const bool is_found = ::stat(file.c_str(), &info) == 0;
  const bool is_wanted = is_found ? S_ISREG(info.st_mode) && info.st_size == 0 : errno == ENOENT;
  if (is_wanted && mode == Database::Mode::kCreate) MakeLibrary(file);
  if (::stat(file.c_str(), &info) != 0) {
    Fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "[library] cannot open ", base::PrintableUtf8(file),
         ": ", std::strerror(errno), errno == ENOENT ? "; hint: `fovea index FOLDER` makes a library" : "");
  }
  if (!S_ISREG(info.st_mode)) Fail(ErrorCode::kIo, "[library] ", base::PrintableUtf8(file), " is not a regular file");
  return file;
}

}  // namespace

Store::Store(const std::string& file, Database::Mode mode) : db_(RequireFile(file, mode), mode) {
  // FULL: a commit returns when the log is on the disk, so that even a power cut keeps what was reported done.
  if (mode != Database::Mode::kReadOnly) db_.Execute("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864");
  db_.Execute("PRAGMA cache_size = -16384; PRAGMA trusted_schema = OFF");
  RequireLibrary(mode);
  db_.Execute("PRAGMA foreign_keys = ON");
}

void Store::RequireLibrary(Database::Mode mode) {
  const int64_t application = db_.Scalar("PRAGMA application_id", 0);
  const int64_t version = db_.Scalar("PRAGMA user_version", 0);
  RequireData(application == kApplicationId, "[library] ", base::PrintableUtf8(db_.file()), " is not a Fovea library");
  if (version > kVersion) {
    Fail(ErrorCode::kUnimplemented, "[library] ", base::PrintableUtf8(db_.file()), " has version ", version,
         ", this program knows up to ", kVersion, "; hint: use a newer Fovea");
  }
  RequireData(version >= 1, "[library] ", base::PrintableUtf8(db_.file()), " has unknown version ", version);
  const int64_t tables = version >= 3 ? 12 : 10;
  RequireData(
      db_.Scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('root', 'model', 'content', "
                 "'analysis', 'label', 'picture_label', 'file', 'counter', 'words', 'label_words', 'caption', "
                 "'caption_words')",
                 0) == tables,
      "[library] ", base::PrintableUtf8(db_.file()), " lacks tables of a Fovea library");
  if (version == kVersion || mode == Database::Mode::kReadOnly) return;  // older versions can be read as they are
  Transaction transaction(db_);
  if (db_.Scalar("PRAGMA user_version", 0) == version) {  // nobody else was faster
    if (version < 2) db_.Execute(kFromVersion1);
    db_.Execute(kCaptionSchema);
    db_.Execute(base::StrCat("PRAGMA user_version = ", kVersion));
  }
  transaction.Commit();
}

// ---- reading

std::optional<KnownFile> Store::FindFile(std::string_view path, int64_t model_id) {
  auto row = db_.Query(
      "SELECT f.id, f.size_bytes, f.mtime_ns, f.ctime_ns, f.content_id, a.seq, f.failure, f.failed_by FROM file f "
      "LEFT JOIN analysis a ON a.content_id = f.content_id AND a.model_id = ?2 WHERE f.path = ?1",
      Blob{path}, model_id);
  if (!row.Next()) return std::nullopt;
  return KnownFile{.id = row.Int(0),
                   .stamp = {row.Int(1), row.Int(2), row.Int(3)},
                   .content_id = row.Int(4),
                   .is_analysed = !row.IsNull(5),
                   .failure = std::string(row.Text(6)),
                   .failed_by = std::string(row.Text(7))};
}

int64_t Store::FindContent(const std::string& hash, int64_t model_id) {
  return db_.Scalar(
      "SELECT c.id FROM content c JOIN analysis a ON a.content_id = c.id WHERE c.hash = ? AND a.model_id = ?", 0, hash,
      model_id);
}

std::optional<PhotoRecord> Store::Describe(std::string_view path) {
  PhotoRecord record;
  int64_t content_id = 0;
  {
    auto row = db_.Query(
        "SELECT f.size_bytes, c.hash, c.width_px, c.height_px, c.capture_time, c.latitude, c.longitude, c.id FROM file "
        "f "
        "JOIN content c ON c.id = f.content_id WHERE f.path = ?",
        Blob{path});
    if (!row.Next()) return std::nullopt;
    record.path = path;
    record.size_bytes = row.Int(0);
    record.content_hash = row.Text(1);
    record.width_px = row.Int(2);
    record.height_px = row.Int(3);
    record.capture_time = row.Text(4);
    record.latitude = OptionalDouble(row, 5);
    record.longitude = OptionalDouble(row, 6);
    content_id = row.Int(7);
  }
  for (auto row =
           db_.Query("SELECT l.name, p.class_index, p.score FROM picture_label p JOIN label l ON l.id = p.label_id "
                     "WHERE p.content_id = ? ORDER BY p.rank",
                     content_id);
       row.Next();) {
    record.labels.push_back({std::string(row.Text(0)), row.Int(1), static_cast<float>(row.Double(2))});
  }
  if (HasCaptions()) {
    auto row = db_.Query("SELECT text FROM caption WHERE content_id = ?", content_id);
    if (row.Next()) record.caption = row.Text(0);
  }
  return record;
}

std::vector<Store::PathOfFile> Store::FilesOfContent(int64_t content_id, int64_t limit) {
  std::vector<PathOfFile> files;
  for (auto row = db_.Query("SELECT id, path FROM file WHERE content_id = ? ORDER BY path LIMIT ?", content_id, limit);
       row.Next();) {
    files.push_back({row.Int(0), std::string(row.Bytes(1))});
  }
  return files;
}

std::vector<std::string> Store::PathsOfContent(int64_t content_id, int64_t limit) {
  std::vector<std::string> paths;
  for (PathOfFile& file : FilesOfContent(content_id, limit)) paths.push_back(std::move(file.path));
  return paths;
}

int64_t Store::CountPictures() { return db_.Scalar("SELECT count(*) FROM file WHERE content_id IS NOT NULL", 0); }
int64_t Store::MaxFileId() { return db_.Scalar("SELECT max(id) FROM file", 0); }
int64_t Store::FindModel(const std::string& fingerprint) {
  return db_.Scalar("SELECT id FROM model WHERE fingerprint = ?", 0, fingerprint);
}

std::vector<ModelCoverage> Store::Models() {
  const bool is_old = db_.Scalar("PRAGMA user_version", 0) < 2;  // opened for reading only
  std::vector<ModelCoverage> models;
  for (auto row = db_.Query(base::StrCat(
           "SELECT m.id, m.fingerprint, m.name, m.embedding_dim, ",
           is_old ? "'', 1, m.id" : "m.path, m.reads_text, m.started",
           ", count(*) AS seen FROM analysis a JOIN content c ON c.id = a.content_id JOIN model m ON m.id = a.model_id "
           "WHERE c.unused_since IS NULL GROUP BY m.id ORDER BY seen DESC, 7 DESC"));
       row.Next();) {
    models.push_back({.id = row.Int(0),
                      .model = {.fingerprint = std::string(row.Text(1)),
                                .name = std::string(row.Text(2)),
                                .embedding_dim = row.Int(3),
                                .path = std::string(row.Text(4)),
                                .reads_text = row.Int(5) != 0},
                      .contents = row.Int(7)});
  }
  return models;
}

bool Store::IsComplete(int64_t model_id) {
  return db_.Scalar(
             "SELECT EXISTS(SELECT 1 FROM file f WHERE f.content_id IS NOT NULL AND NOT EXISTS("
             "SELECT 1 FROM analysis a WHERE a.content_id = f.content_id AND a.model_id = ?))",
             0, model_id) == 0;
}

std::vector<std::string> Store::Roots() {
  std::vector<std::string> roots;
  for (auto row = db_.Query("SELECT path FROM root ORDER BY path"); row.Next();) roots.emplace_back(row.Bytes(0));
  return roots;
}

int64_t Store::EmbeddingEpoch() { return db_.Scalar("SELECT value FROM counter WHERE name = 'embedding_epoch'", 0); }

void Store::ForEachEmbedding(int64_t model_id, int64_t dim, int64_t after,
                             const std::function<void(int64_t, int64_t, std::span<const float>)>& row) {
  std::vector<float> values(static_cast<size_t>(dim));  // a BLOB need not be aligned
  for (auto rows =
           // "+" keeps SQLite from gathering the rows by model first and sorting them.
       db_.Query("SELECT seq, content_id, embedding FROM analysis WHERE seq > ? AND +model_id = ? ORDER BY seq", after,
                 model_id);
       rows.Next();) {
    const std::string_view bytes = rows.Bytes(2);
    RequireData(bytes.size() == values.size() * sizeof(float), "[library] ", base::PrintableUtf8(db_.file()),
                ": expected an embedding of ", dim, " floats, got ", bytes.size(), " bytes");
    std::memcpy(values.data(), bytes.data(), bytes.size());
    row(rows.Int(0), rows.Int(1), values);
  }
}

void Store::ForEachFileBelow(std::string_view root, int64_t max_id,
                             const std::function<void(int64_t, std::string_view)>& row) {
  const std::string first = root == "/" ? "/" : std::string(root) + "/";
  std::string end = first;
  end.back() = '/' + 1;  // the least string that is greater than everything below the root
  for (auto rows = db_.Query(
           "SELECT id, path FROM file WHERE (path = ?1 OR (path >= ?2 AND path < ?3)) AND id <= ?4 ORDER BY path",
           Blob{root}, Blob{first}, Blob{end}, max_id);
       rows.Next();) {
    row(rows.Int(0), rows.Bytes(1));
  }
}

// ---- writing

int64_t Store::PutModel(const StoredModel& model) {
  db_.Run(
      "INSERT INTO model(fingerprint, name, embedding_dim, path, reads_text, started) "
      "VALUES(?1, ?2, ?3, ?4, ?5, (SELECT ifnull(max(started), 0) + 1 FROM model)) "
      "ON CONFLICT(fingerprint) DO UPDATE SET name = ?2, path = ?4, reads_text = ?5, started = excluded.started",
      model.fingerprint, model.name, model.embedding_dim, model.path, int64_t{model.reads_text});
  return FindModel(model.fingerprint);
}

int64_t Store::DropOlderModels(int64_t model_id, int64_t most) {
  const int64_t started = db_.Scalar("SELECT started FROM model WHERE id = ?", 0, model_id);
  const int64_t dropped = db_.Run(
      "DELETE FROM analysis WHERE seq IN (SELECT a.seq FROM analysis a JOIN model m ON m.id = a.model_id "
      "WHERE m.started < ? LIMIT ?)",
      started, most);
  if (dropped > 0) {
    db_.Run("UPDATE counter SET value = value + 1 WHERE name = 'embedding_epoch'");
  } else {
    db_.Run("DELETE FROM model WHERE started < ?", started);
  }
  return dropped;
}

int64_t Store::PutRoot(std::string_view path) {
  db_.Run("INSERT INTO root(path) VALUES(?) ON CONFLICT(path) DO NOTHING", Blob{path});
  return db_.Scalar("SELECT id FROM root WHERE path = ?", 0, Blob{path});
}

int64_t Store::PutContent(const ContentRecord& content, int64_t model_id) {
  const ImageInfo& info = content.info;
  db_.Run(
      "INSERT INTO content(hash, format, width_px, height_px, capture_time, latitude, longitude) VALUES(?1, ?2, ?3, "
      "?4, ?5, ?6, ?7) "
      "ON CONFLICT(hash) DO UPDATE SET format = ?2, width_px = ?3, height_px = ?4, capture_time = ?5, latitude = ?6, "
      "longitude = ?7, "
      "unused_since = NULL",
      content.hash, info.format, info.width, info.height, info.capture_time, info.latitude, info.longitude);
  const int64_t id = db_.Scalar("SELECT id FROM content WHERE hash = ?", 0, content.hash);
  if (db_.Run("DELETE FROM analysis WHERE content_id = ? AND model_id = ?", id, model_id) > 0) {
    db_.Run("UPDATE counter SET value = value + 1 WHERE name = 'embedding_epoch'");
  }
  db_.Run("INSERT INTO analysis(content_id, model_id, embedding) VALUES(?, ?, ?)", id, model_id,
          Blob{AsBytes(content.analysis.embedding)});
  PutLabels(id, content.analysis.labels);
  return id;
}

void Store::PutLabels(int64_t content_id, const std::vector<Label>& labels) {
  db_.Run("DELETE FROM picture_label WHERE content_id = ?", content_id);
  int64_t rank = 0;
  for (const Label& label : labels) {
    const std::string name = base::PrintableUtf8(label.name);
    int64_t label_id = db_.Scalar("SELECT id FROM label WHERE name = ?", 0, name);
    if (label_id == 0) {
      db_.Run("INSERT INTO label(name) VALUES(?)", name);
      label_id = db_.LastInsertId();
      db_.Run("INSERT INTO label_words(rowid, name) VALUES(?, ?)", label_id, name);
    }
    db_.Run("INSERT INTO picture_label(content_id, rank, label_id, class_index, score) VALUES(?, ?, ?, ?, ?)",
            content_id, rank++, label_id, label.index, static_cast<double>(label.score));
  }
  RefreshLabelText(content_id);
}

// Other files of the same content may be in the index already, with the labels of an earlier model.
void Store::RefreshLabelText(int64_t content_id) {
  const std::string text = LabelText(content_id);
  std::vector<int64_t> files;
  for (auto row = db_.Query("SELECT id FROM file WHERE content_id = ?", content_id); row.Next();)
    files.push_back(row.Int(0));
  for (const int64_t id : files) db_.Run("UPDATE words SET labels = ? WHERE rowid = ?", text, id);
}

bool Store::HasCaptions() { return db_.Scalar("PRAGMA user_version", 0) >= 3; }

void Store::PutCaption(int64_t content_id, const CaptionRecord& caption, const std::string& captioner) {
  const std::string text = base::PrintableUtf8(caption.text);
  db_.Run(
      "INSERT INTO caption(content_id, text, confidence, captioner) VALUES(?1, ?2, ?3, ?4) "
      "ON CONFLICT(content_id) DO UPDATE SET text = ?2, confidence = ?3, captioner = ?4",
      content_id, text, caption.confidence, captioner);
  db_.Run("DELETE FROM caption_words WHERE rowid = ?", content_id);
  db_.Run("INSERT INTO caption_words(rowid, text) VALUES(?, ?)", content_id, text);
  RefreshLabelText(content_id);
}

void Store::ForEachWithoutCaption(const std::string& captioner, int64_t after, int64_t most,
                                  const std::function<void(int64_t, std::string_view)>& row) {
  for (auto rows =
           db_.Query("SELECT f.content_id, min(f.path) FROM file f LEFT JOIN caption c ON c.content_id = f.content_id "
                     "WHERE f.content_id > ? AND (c.captioner IS NULL OR c.captioner <> ?) GROUP BY f.content_id "
                     "ORDER BY f.content_id LIMIT ?",
                     after, captioner, most);
       rows.Next();) {
    row(rows.Int(0), rows.Bytes(1));
  }
}

std::string Store::LabelText(int64_t content_id) {
  std::string text;
  for (auto row = db_.Query("SELECT l.name FROM picture_label p JOIN label l ON l.id = p.label_id WHERE p.content_id = "
                            "? ORDER BY p.rank",
                            content_id);
       row.Next();) {
    if (!text.empty()) text += '\n';
    text += row.Text(0);
  }
  if (!HasCaptions()) return text;
  auto row = db_.Query("SELECT text FROM caption WHERE content_id = ?", content_id);
  if (row.Next()) text += base::StrCat(text.empty() ? "" : "\n", row.Text(0));
  return text;
}

std::string Store::RootPath(int64_t root_id) {
  auto row = db_.Query("SELECT path FROM root WHERE id = ?", root_id);
  return row.Next() ? std::string(row.Bytes(0)) : std::string();
}

void Store::WriteWords(int64_t file_id, std::string_view path, std::string_view root, const std::string& labels) {
  db_.Run("INSERT OR REPLACE INTO words(rowid, labels, name, folders) VALUES(?, ?, ?, ?)", file_id, labels,
          IndexedText(FileName(path)), IndexedFolders(path, root));
}

void Store::PutFile(std::string_view path, int64_t root_id, const FileStamp& stamp, int64_t content_id) {
  db_.Run(
      "INSERT INTO file(path, root_id, size_bytes, mtime_ns, ctime_ns, content_id) VALUES(?1, ?2, ?3, ?4, ?5, ?6) "
      "ON CONFLICT(path) DO UPDATE SET size_bytes = ?3, mtime_ns = ?4, ctime_ns = ?5, content_id = ?6, failure = '', "
      "failed_by = ''",
      Blob{path}, root_id, stamp.size_bytes, stamp.mtime_ns, stamp.ctime_ns, content_id);
  int64_t id = 0, stored_root = 0;
  {
    auto row = db_.Query("SELECT id, root_id FROM file WHERE path = ?", Blob{path});
    row.Next();
    id = row.Int(0);
    stored_root = row.Int(1);
  }
  WriteWords(id, path, RootPath(stored_root), LabelText(content_id));
}

void Store::PutFailure(std::string_view path, int64_t root_id, const FileStamp& stamp, const std::string& reason,
                       const std::string& failed_by) {
  db_.Run(
      "INSERT INTO file(path, root_id, size_bytes, mtime_ns, ctime_ns, failure, failed_by) VALUES(?1, ?2, ?3, ?4, ?5, "
      "?6, ?7) "
      "ON CONFLICT(path) DO UPDATE SET size_bytes = ?3, mtime_ns = ?4, ctime_ns = ?5, content_id = NULL, failure = ?6, "
      "failed_by = ?7",
      Blob{path}, root_id, stamp.size_bytes, stamp.mtime_ns, stamp.ctime_ns, reason, failed_by);
  db_.Run("DELETE FROM words WHERE rowid = (SELECT id FROM file WHERE path = ?)", Blob{path});
}

void Store::RemoveFile(int64_t id) {
  db_.Run("DELETE FROM words WHERE rowid = ?", id);
  db_.Run("DELETE FROM file WHERE id = ?", id);
}

void Store::SweepContent(int64_t now, int64_t keep_seconds) {
  db_.Run(
      "UPDATE content SET unused_since = NULL WHERE unused_since IS NOT NULL AND EXISTS (SELECT 1 FROM file f WHERE "
      "f.content_id = content.id)");
  db_.Run(
      "UPDATE content SET unused_since = ? WHERE unused_since IS NULL AND NOT EXISTS (SELECT 1 FROM file f WHERE "
      "f.content_id = content.id)",
      now);
  if (db_.Run("DELETE FROM content WHERE unused_since < ?", now - keep_seconds) > 0) {
    db_.Run("DELETE FROM caption_words WHERE rowid NOT IN (SELECT content_id FROM caption)");
    db_.Run("UPDATE counter SET value = value + 1 WHERE name = 'embedding_epoch'");
  }
}

}  // namespace fovea::library
