// The door to SQLite. Statements are cached by their text: an index job runs the same dozen for every picture, and
// preparing one costs more than running it.
#include "library/sqlite.h"

#include <sqlite3.h>

#include "base/error.h"

namespace fovea::library {
namespace {

ErrorCode CodeOf(int code) {
  switch (code & 0xFF) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT: return ErrorCode::kCorruptData;
    case SQLITE_NOMEM: return ErrorCode::kResourceExhausted;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY: return ErrorCode::kIo;
    default: return ErrorCode::kInternal;
  }
}

}  // namespace

Cursor::Cursor(Cursor&& other) noexcept : db_(other.db_), statement_(other.statement_) { other.statement_ = nullptr; }

Cursor::~Cursor() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

bool Cursor::Next() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  db_->FailSqlite(code, "use");
}

int64_t Cursor::Int(int column) const { return sqlite3_column_int64(statement_, column); }
double Cursor::Double(int column) const { return sqlite3_column_double(statement_, column); }
bool Cursor::IsNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

std::string_view Cursor::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return {};
  return {text, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

std::string_view Cursor::Bytes(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

Database::Database(const std::string& file, Mode mode, int busy_ms) : file_(file) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |= mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (mode == Mode::kCreate) flags |= SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(file.c_str(), &handle_, flags, nullptr);
  if (code != SQLITE_OK) {
    const std::string reason = handle_ != nullptr ? sqlite3_errmsg(handle_) : "out of memory";
    sqlite3_close_v2(handle_);
    Fail(CodeOf(code), "[library] cannot open ", base::PrintableUtf8(file), ": ", reason);
  }
  sqlite3_busy_timeout(handle_, busy_ms);
}

Database::~Database() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(handle_);
}

void Database::Execute(const std::string& sql) {
  Check(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr), "use");
}

sqlite3_stmt* Database::Prepare(std::string_view sql) {
  std::string key(sql);
  const auto found = statements_.find(key);
  if (found != statements_.end()) {
    FOVEA_DCHECK(!sqlite3_stmt_busy(found->second));
    return found->second;
  }
  sqlite3_stmt* statement = nullptr;
  Check(sqlite3_prepare_v3(handle_, key.c_str(), static_cast<int>(key.size()) + 1, SQLITE_PREPARE_PERSISTENT,
                           &statement, nullptr),
        "read");
  statements_.emplace(std::move(key), statement);
  return statement;
}

void Database::Bind(sqlite3_stmt* statement, int position, int64_t value) {
  Check(sqlite3_bind_int64(statement, position, value), "bind to");
}

void Database::Bind(sqlite3_stmt* statement, int position, double value) {
  Check(sqlite3_bind_double(statement, position, value), "bind to");
}

void Database::Bind(sqlite3_stmt* statement, int position, std::string_view text) {
  const char* data = text.data() != nullptr ? text.data() : "";
  Check(sqlite3_bind_text64(statement, position, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8), "bind to");
}

void Database::Bind(sqlite3_stmt* statement, int position, Blob blob) {
  const char* data = blob.bytes.data() != nullptr ? blob.bytes.data() : "";
  Check(sqlite3_bind_blob64(statement, position, data, blob.bytes.size(), SQLITE_TRANSIENT), "bind to");
}

void Database::Bind(sqlite3_stmt* statement, int position, std::nullptr_t) {
  Check(sqlite3_bind_null(statement, position), "bind to");
}

void Database::Bind(sqlite3_stmt* statement, int position, const std::optional<double>& value) {
  value.has_value() ? Bind(statement, position, *value) : Bind(statement, position, nullptr);
}

int64_t Database::LastInsertId() const { return sqlite3_last_insert_rowid(handle_); }
int64_t Database::ChangedRows() const { return sqlite3_changes64(handle_); }
bool Database::InTransaction() const { return sqlite3_get_autocommit(handle_) == 0; }

void Database::Check(int code, std::string_view action) const {
  if (code != SQLITE_OK) FailSqlite(code, action);
}

void Database::FailSqlite(int code, std::string_view action) const {
  const char* hint = "";
  if ((code & 0xFF) == SQLITE_BUSY || (code & 0xFF) == SQLITE_LOCKED)
    hint = "; hint: another program is writing to this library";
  if ((code & 0xFF) == SQLITE_CORRUPT) hint = "; hint: delete the file and index again, no photograph is lost";
  Fail(CodeOf(code), "[library] cannot ", action, " ", base::PrintableUtf8(file_), ": ", sqlite3_errmsg(handle_), hint);
}

Snapshot::~Snapshot() {
  try {
    db_.Run("COMMIT");
  } catch (const Error&) {  // nothing was written: nothing is lost
  }
}

Transaction::Transaction(Database& db) : db_(db) { db_.Run("BEGIN IMMEDIATE"); }

Transaction::~Transaction() {
  if (!open_ || !db_.InTransaction()) return;
  try {
    db_.Run("ROLLBACK");
  } catch (const Error&) {  // the connection closes without committing, which is what was asked for
  }
}

void Transaction::Commit() {
  db_.Run("COMMIT");
  open_ = false;
}

}  // namespace fovea::library
