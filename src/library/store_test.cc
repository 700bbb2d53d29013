// Opening, refusing and keeping: the library file itself.
#include "library/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "library/library_testing.h"
#include "testing/testing.h"

namespace fovea::library {
namespace {

namespace fs = std::filesystem;

ErrorCode CodeOfOpening(const std::string& file, Database::Mode mode) {
  try {
    Store store(file, mode);
    store.CountPictures();
    store.Describe("/x");
  } catch (const Error& error) {
    EXPECT_NE(error.message().find(file), std::string::npos) << error.message();
    return error.code();
  }
  return ErrorCode::kInternal;  // opened
}

constexpr auto kOpened = ErrorCode::kInternal;

class StoreTest : public ::testing::Test {
 protected:
  fovea::testing::TemporaryFolder folder_;
  const std::string db_ = folder_.File("library.db");

  // One picture with every field set.
  ContentRecord Content() {
    ContentRecord content;
    content.hash = std::string(32, 'a');
    content.info.format = "jpeg";
    content.info.width = 640;
    content.info.height = 480;
    content.info.capture_time = "2023-05-01T12:30:00+02:00";
    content.info.latitude = 48.25;
    content.analysis.labels = {{"golden retriever", 207, 0.75f}, {"tennis ball", 852, 0.125f}};
    content.analysis.embedding = {0.6f, -0.8f};
    return content;
  }
  void Fill(Store& store) {
    Transaction transaction(store.db());
    const int64_t model = store.PutModel({"f1", "m", 2}), root = store.PutRoot("/photos");
    const int64_t content = store.PutContent(Content(), model);
    store.PutFile("/photos/a.jpg", root, {100, 1, 2}, content);
    store.PutFailure("/photos/b.jpg", root, {7, 8, 9}, "broken", "v1");
    transaction.Commit();
  }
};

TEST_F(StoreTest, KeepsEveryField) {
  {
    Store store(db_, Database::Mode::kCreate);
    Fill(store);
  }
  Store store(db_, Database::Mode::kReadOnly);
  const std::optional<PhotoRecord> record = store.Describe("/photos/a.jpg");
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->size_bytes, 100);
  EXPECT_EQ(record->content_hash, std::string(32, 'a'));
  EXPECT_EQ(record->width_px, 640);
  EXPECT_EQ(record->height_px, 480);
  EXPECT_EQ(record->capture_time, "2023-05-01T12:30:00+02:00");
  EXPECT_EQ(record->latitude, 48.25);
  EXPECT_FALSE(record->longitude.has_value());
  ASSERT_EQ(record->labels.size(), 2u);
  EXPECT_EQ(record->labels[1].name, "tennis ball");
  EXPECT_EQ(record->labels[1].index, 852);
  EXPECT_EQ(record->labels[1].score, 0.125f);
  EXPECT_FALSE(store.Describe("/photos/b.jpg").has_value());
  const std::optional<KnownFile> failed = store.FindFile("/photos/b.jpg", 1);
  ASSERT_TRUE(failed.has_value());
  EXPECT_EQ(failed->failure, "broken");
  EXPECT_EQ(failed->stamp, (FileStamp{7, 8, 9}));
  EXPECT_EQ(store.CountPictures(), 1);
  std::vector<float> embedding;
  store.ForEachEmbedding(store.FindModel("f1"), 2, 0, [&](int64_t, int64_t, std::span<const float> row) {
    embedding.assign(row.begin(), row.end());
  });
  EXPECT_EQ(embedding, (std::vector<float>{0.6f, -0.8f}));
  EXPECT_THROW(store.ForEachEmbedding(store.FindModel("f1"), 3, 0, [](int64_t, int64_t, std::span<const float>) {}),
               Error);
}

TEST_F(StoreTest, RefusesWhatIsNoLibrary) {
  EXPECT_EQ(CodeOfOpening(db_, Database::Mode::kReadOnly), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOfOpening(db_, Database::Mode::kReadWrite), ErrorCode::kNotFound);
  EXPECT_FALSE(fs::exists(db_));
  EXPECT_EQ(CodeOfOpening(folder_.File("no/such/folder.db"), Database::Mode::kCreate), ErrorCode::kIo);
  EXPECT_EQ(CodeOfOpening(folder_.path(), Database::Mode::kCreate), ErrorCode::kIo);
  WriteFile(folder_.File("text"), std::string(5000, 'x'));
  EXPECT_EQ(CodeOfOpening(folder_.File("text"), Database::Mode::kCreate), ErrorCode::kCorruptData);
  {
    Database other(folder_.File("other.db"), Database::Mode::kCreate);
    other.Execute("CREATE TABLE t(x)");
  }
  EXPECT_EQ(CodeOfOpening(folder_.File("other.db"), Database::Mode::kCreate), ErrorCode::kCorruptData);
  WriteFile(folder_.File("empty.db"), "");
  EXPECT_EQ(CodeOfOpening(folder_.File("empty.db"), Database::Mode::kReadOnly), ErrorCode::kCorruptData);
  EXPECT_EQ(CodeOfOpening(folder_.File("empty.db"), Database::Mode::kCreate), kOpened);
}

TEST_F(StoreTest, RefusesNewerVersions) {
  {
    Store store(db_, Database::Mode::kCreate);
    store.db().Execute(base::StrCat("PRAGMA user_version = ", Store::kVersion + 1));
  }
  EXPECT_EQ(CodeOfOpening(db_, Database::Mode::kCreate), ErrorCode::kUnimplemented);
  EXPECT_EQ(CodeOfOpening(db_, Database::Mode::kReadOnly), ErrorCode::kUnimplemented);
}

// A library as version 1 wrote it: one embedding a content. Read as it is, and brought up to date when it is opened for
// writing.
TEST_F(StoreTest, OlderVersionsAreReadAndMigrated) {
  {
    Store store(db_, Database::Mode::kCreate);
    Fill(store);
    store.db().Execute(R"sql(
      PRAGMA foreign_keys = OFF;
      DROP TABLE caption;
      DROP TABLE caption_words;
      CREATE TABLE old_analysis(
        seq INTEGER PRIMARY KEY AUTOINCREMENT, content_id INTEGER NOT NULL UNIQUE REFERENCES content(id) ON DELETE CASCADE,
        model_id INTEGER NOT NULL REFERENCES model(id), embedding BLOB NOT NULL);
      INSERT INTO old_analysis SELECT * FROM analysis;
      DROP TABLE analysis;
      ALTER TABLE old_analysis RENAME TO analysis;
      ALTER TABLE model DROP COLUMN path;
      ALTER TABLE model DROP COLUMN reads_text;
      ALTER TABLE model DROP COLUMN started;
      PRAGMA user_version = 1;
    )sql");
  }
  const auto check = [&](Store& store) {
    ASSERT_EQ(store.Models().size(), 1u);
    EXPECT_EQ(store.Models()[0].model.fingerprint, "f1");
    EXPECT_EQ(store.Models()[0].contents, 1);
    std::vector<float> embedding;
    store.ForEachEmbedding(store.FindModel("f1"), 2, 0, [&](int64_t, int64_t, std::span<const float> row) {
      embedding.assign(row.begin(), row.end());
    });
    EXPECT_EQ(embedding, (std::vector<float>{0.6f, -0.8f}));
    EXPECT_TRUE(store.FindFile("/photos/a.jpg", 1)->is_analysed);
  };
  {
    Store store(db_, Database::Mode::kReadOnly);
    check(store);
    EXPECT_EQ(store.db().Scalar("PRAGMA user_version", 0), 1);
  }
  {
    Store store(db_, Database::Mode::kReadWrite);
    check(store);
    EXPECT_EQ(store.db().Scalar("PRAGMA user_version", 0), Store::kVersion);
    EXPECT_EQ(store.db().Scalar("PRAGMA foreign_keys", 0), 1);
  }
  // A second model beside the first, as no library of version 1 could hold.
  Store store(db_, Database::Mode::kReadWrite);
  Transaction transaction(store.db());
  store.PutContent(Content(), store.PutModel({"f2", "m2", 2}));
  transaction.Commit();
  EXPECT_EQ(store.Models().size(), 2u);
  EXPECT_EQ(store.Models()[0].model.fingerprint, "f2");  // as many pictures, and it began later
}

TEST_F(StoreTest, CaptionsAreLookedUpAndGoWithTheirContent) {
  Store store(db_, Database::Mode::kCreate);
  Fill(store);
  const auto missing = [&](const std::string& captioner) {
    std::vector<int64_t> ids;
    store.ForEachWithoutCaption(captioner, 0, 100, [&](int64_t id, std::string_view) { ids.push_back(id); });
    return ids;
  };
  const auto matches = [&](const char* word) {
    return store.db().Scalar("SELECT count(*) FROM words WHERE words MATCH ?", 0, word);
  };
  const std::vector<int64_t> ids = missing("c1");
  ASSERT_EQ(ids.size(), 1u);
  Transaction transaction(store.db());
  store.PutCaption(ids[0], {"a zebra on the moon", 0.5}, "c1");
  transaction.Commit();
  EXPECT_EQ(store.Describe("/photos/a.jpg")->caption, "a zebra on the moon");
  EXPECT_EQ(matches("zebra"), 1);
  EXPECT_TRUE(missing("c1").empty());
  EXPECT_EQ(missing("c2"), ids);  // another captioner writes anew
  Transaction again(store.db());
  store.PutCaption(ids[0], {"a camel", 0.5}, "c2");
  again.Commit();
  EXPECT_EQ(matches("zebra"), 0);
  EXPECT_EQ(matches("camel"), 1);
  Transaction labels(store.db());
  store.PutContent(Content(), store.PutModel({"f1", "m1", 2}));  // new labels keep the caption's words
  labels.Commit();
  EXPECT_EQ(matches("camel"), 1);
  Transaction gone(store.db());
  store.db().Run("DELETE FROM file");
  store.SweepContent(1000, 0);
  store.SweepContent(2000, 0);
  gone.Commit();
  EXPECT_EQ(store.db().Scalar("SELECT count(*) FROM caption_words", 0), 0);
}

// Files that call themselves a library but lack its parts, or hold them in another form.
TEST_F(StoreTest, HostileLibrariesAreErrors) {
  const char* damages[] = {
      "DROP TABLE analysis",
      "DROP TABLE words",
      "DROP TABLE counter",
      "DROP TABLE analysis; CREATE VIEW analysis AS SELECT 1 AS seq, 1 AS content_id, 1 AS model_id, "
      "zeroblob(8) AS embedding",
      "DROP TABLE model; PRAGMA user_version = 1",
      "ALTER TABLE model RENAME TO models; PRAGMA user_version = 1"};
  for (const char* damage : damages) {
    const std::string file = folder_.File("hostile.db");
    {
      Store store(file, Database::Mode::kCreate);
      Fill(store);
      store.db().Execute(std::string("PRAGMA foreign_keys = OFF; ") + damage);
    }
    for (const Database::Mode mode : {Database::Mode::kReadOnly, Database::Mode::kReadWrite})
      EXPECT_EQ(CodeOfOpening(file, mode), ErrorCode::kCorruptData) << damage;
    for (const char* tail : {"", "-wal", "-shm"}) fs::remove(file + tail);
  }
  // Values of other types and sizes than expected.
  Store store(db_, Database::Mode::kCreate);
  Fill(store);
  store.db().Execute("UPDATE analysis SET embedding = 'text'");
  EXPECT_THROW(store.ForEachEmbedding(1, 2, 0, [](int64_t, int64_t, std::span<const float>) {}), Error);
  store.db().Execute("UPDATE model SET embedding_dim = 9223372036854775807, path = x'00FF', reads_text = 'yes'");
  EXPECT_EQ(store.Models().size(), 1u);
}

// Damage anywhere is an error or goes unnoticed; it never takes the program down.
TEST_F(StoreTest, DamagedFilesAreErrors) {
  {
    Store store(db_, Database::Mode::kCreate);
    Fill(store);
  }
  const std::vector<uint8_t> good = base::ReadFile(db_, 1 << 24);
  std::mt19937 random(3);
  int refused = 0;
  for (int round = 0; round < 120; ++round) {
    std::vector<uint8_t> bad = good;
    if (round % 4 == 0) {
      bad.resize(random() % bad.size());
    } else {
      for (int i = 0; i < 200; ++i) bad[random() % bad.size()] = static_cast<uint8_t>(random());
    }
    base::WriteFileAtomically(folder_.File("bad.db"), bad);
    try {
      Store store(folder_.File("bad.db"), Database::Mode::kReadWrite);
      store.Describe("/photos/a.jpg");
      store.ForEachEmbedding(1, 2, 0, [](int64_t, int64_t, std::span<const float>) {});
      Fill(store);
    } catch (const Error& error) {
      ++refused;
    }
    for (const char* tail : {"", "-wal", "-shm"}) fs::remove(folder_.File("bad.db") + tail);
  }
  EXPECT_GT(refused, 30);
}

TEST_F(StoreTest, AnOpenTransactionIsRolledBack) {
  Store store(db_, Database::Mode::kCreate);
  {
    Transaction transaction(store.db());
    store.PutRoot("/x");
  }
  EXPECT_EQ(store.db().Scalar("SELECT count(*) FROM root", -1), 0);
  Fill(store);  // the connection still works
  EXPECT_EQ(store.CountPictures(), 1);
}

TEST_F(StoreTest, ManyMayCreateAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> opened = 0;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      Store store(db_, Database::Mode::kCreate);
      opened += store.CountPictures() == 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(opened, 6);
}

TEST_F(StoreTest, ReadingLeavesTheFileAsItIs) {
  {
    Store store(db_, Database::Mode::kCreate);
    Fill(store);
  }
  const std::vector<uint8_t> before = base::ReadFile(db_, 1 << 24);
  {
    Store store(db_, Database::Mode::kReadOnly);
    EXPECT_EQ(store.CountPictures(), 1);
    EXPECT_THROW(store.PutRoot("/y"), Error);
  }
  EXPECT_EQ(base::ReadFile(db_, 1 << 24), before);
}

}  // namespace
}  // namespace fovea::library
