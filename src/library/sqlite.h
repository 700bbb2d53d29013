// A thin door to SQLite: connections, cached prepared statements, cursors and transactions that clean up after
// themselves.
//
//   for (auto rows = db.Query("SELECT id, path FROM file WHERE id > ?", last); rows.Next();) Use(rows.Int(0),
//   rows.Bytes(1));
//
// Errors of SQLite become fovea::Error naming the file: kCorruptData for damaged files or files of another kind, kIo
// for what the operating system refuses and for a file that stays locked, kInternal for wrong SQL. A connection belongs
// to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace fovea::library {

// A parameter that is bound as BLOB; a plain string_view is bound as TEXT.
struct Blob {
  std::string_view bytes;
};

class Database;

// The rows of one running statement. Ends the statement (and with it the read transaction) when the scope ends.
class Cursor {
 public:
  Cursor(Cursor&& other) noexcept;
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  ~Cursor();

  // Steps to the next row; false after the last.
  bool Next();

  // Columns of the current row, from 0. Views hold until the next step.
  int64_t Int(int column) const;
  double Double(int column) const;
  bool IsNull(int column) const;
  std::string_view Text(int column) const;
  std::string_view Bytes(int column) const;

 private:
  friend class Database;
  Cursor(Database& db, sqlite3_stmt* statement) : db_(&db), statement_(statement) {}

  Database* db_;
  sqlite3_stmt* statement_;
};

class Database {
 public:
  enum class Mode { kReadOnly, kReadWrite, kCreate };

  // Opens the file without reading it. Waits up to `busy_ms` for locks of other connections.
  Database(const std::string& file, Mode mode, int busy_ms = 15'000);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs statements that return nothing of interest (schema, pragmas).
  void Execute(const std::string& sql);

  // Starts a statement, prepared once for each text and kept. The same text must not be running already.
  template <typename... Values>
  Cursor Query(std::string_view sql, const Values&... values) {
    sqlite3_stmt* statement = Prepare(sql);
    Cursor cursor(*this, statement);
    [[maybe_unused]] int position = 0;
    (Bind(statement, ++position, values), ...);
    return cursor;
  }

  // Runs a statement to its end; returns the number of rows it changed.
  template <typename... Values>
  int64_t Run(std::string_view sql, const Values&... values) {
    Cursor cursor = Query(sql, values...);
    while (cursor.Next()) {
    }
    return ChangedRows();
  }

  // First column of the first row, `fallback` when there is none or it is NULL.
  template <typename... Values>
  int64_t Scalar(std::string_view sql, int64_t fallback, const Values&... values) {
    Cursor cursor = Query(sql, values...);
    return cursor.Next() && !cursor.IsNull(0) ? cursor.Int(0) : fallback;
  }

  int64_t LastInsertId() const;
  int64_t ChangedRows() const;
  bool InTransaction() const;
  const std::string& file() const { return file_; }

 private:
  friend class Cursor;
  sqlite3_stmt* Prepare(std::string_view sql);
  void Bind(sqlite3_stmt* statement, int position, int64_t value);
  void Bind(sqlite3_stmt* statement, int position, double value);
  void Bind(sqlite3_stmt* statement, int position, std::string_view text);
  void Bind(sqlite3_stmt* statement, int position, const std::string& text) {
    Bind(statement, position, std::string_view(text));
  }
  void Bind(sqlite3_stmt* statement, int position, const char* text) {
    Bind(statement, position, std::string_view(text));
  }
  void Bind(sqlite3_stmt* statement, int position, Blob blob);
  void Bind(sqlite3_stmt* statement, int position, std::nullptr_t);
  void Bind(sqlite3_stmt* statement, int position, const std::optional<double>& value);
  void Check(int code, std::string_view action) const;
  [[noreturn]] void FailSqlite(int code, std::string_view action) const;

  std::string file_;
  sqlite3* handle_ = nullptr;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

// All reads inside see one state of the file.
class Snapshot {
 public:
  explicit Snapshot(Database& db) : db_(db) { db_.Run("BEGIN"); }
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

 private:
  Database& db_;
};

// Rolls back unless Commit was called. Takes the write lock at once, so that a later step cannot fail for it.
class Transaction {
 public:
  explicit Transaction(Database& db);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  // Returns when the changes are on disk.
  void Commit();

 private:
  Database& db_;
  bool open_ = true;
};

}  // namespace fovea::library
