// kill -9 at random moments: nothing that was reported done is lost, the file stays whole, and the next run completes
// the same library.
//
// The index job runs in a child that executes this test program again (a fork alone would share half-dead threads) and
// writes the number of files reported done to a pipe.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "library/library_testing.h"
#include "testing/testing.h"

namespace fovea::library {
namespace {

constexpr int kPictures = 400;

JobOptions SlowJob() {
  JobOptions options = TestOptions();
  options.commit_seconds = 0.004;  // many commits, so that many kills fall into one
  options.commit_files = 16;
  options.progress_seconds = 0;
  return options;
}

// Does its work in the child alone, where the environment names a library.
TEST(CrashChild, Index) {
  const char* db = std::getenv("FOVEA_TEST_DB");
  if (db == nullptr) return;
  const char* photos = std::getenv("FOVEA_TEST_PHOTOS");
  const int pipe = std::atoi(std::getenv("FOVEA_TEST_PIPE"));
  JobOptions options = SlowJob();
  options.index.on_progress = [&](const IndexProgress& progress) {
    if (::write(pipe, &progress.done, sizeof(progress.done)) < 0) std::abort();
  };
  CheapModel model;
  model.fingerprint = std::getenv("FOVEA_TEST_MODEL");
  RunIndexJob(db, {photos}, model.analyzer(), options);
}

struct ChildResult {
  bool was_killed;
  int64_t reported;  // the last number of files the child called done
};

// Starts the child and kills it after `delay`.
ChildResult RunChild(const std::string& db, const std::string& photos, std::chrono::microseconds delay,
                     const std::string& model = "cheap-1") {
  int pipe[2];
  EXPECT_EQ(::pipe(pipe), 0);
  const std::string settings[] = {"FOVEA_TEST_DB=" + db, "FOVEA_TEST_PHOTOS=" + photos,
                                  "FOVEA_TEST_PIPE=" + std::to_string(pipe[1]), "FOVEA_TEST_MODEL=" + model};
  char* environment[] = {const_cast<char*>(settings[0].c_str()), const_cast<char*>(settings[1].c_str()),
                         const_cast<char*>(settings[2].c_str()), const_cast<char*>(settings[3].c_str()), nullptr};
  char* arguments[] = {const_cast<char*>("child"), const_cast<char*>("--gtest_filter=CrashChild.Index"), nullptr};
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::execve("/proc/self/exe", arguments, environment);
    ::_exit(127);
  }
  ::close(pipe[1]);
  ChildResult result{false, 0};
  std::thread killer([&] {
    std::this_thread::sleep_for(delay);
    ::kill(child, SIGKILL);
  });
  for (int64_t done; ::read(pipe[0], &done, sizeof(done)) == sizeof(done);) result.reported = done;
  ::close(pipe[0]);
  killer.join();
  int status = 0;
  ::waitpid(child, &status, 0);
  result.was_killed = WIFSIGNALED(status);
  EXPECT_TRUE(result.was_killed || WEXITSTATUS(status) == 0);
  return result;
}

TEST(Crash, NothingReportedIsLost) {
  fovea::testing::TemporaryFolder folder;
  const std::string photos = folder.File("photos"), db = folder.File("library.db");
  for (int i = 0; i < kPictures; ++i) {
    const std::string path = photos + "/" + std::to_string(i % 9) + "/" + std::to_string(i) + ".bmp";
    WriteFile(path, i % 40 == 7 ? "broken" : Bmp(6, 5, static_cast<uint32_t>(i % 350)));  // some broken, some copies
  }
  const std::string expected_db = folder.File("expected.db");
  const auto start = std::chrono::steady_clock::now();
  RunIndexJob(expected_db, {photos}, CheapModel().analyzer(), SlowJob());
  const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
  const std::string expected = Contents(expected_db);

  std::mt19937 random(std::random_device{}());
  int kills = 0, kills_midway = 0;
  for (int round = 0; kills < 40 && round < 400; ++round) {
    // From before the file exists until after the end; the start of the process takes some 20 ms.
    const std::chrono::microseconds delay(random() % static_cast<uint32_t>(whole.count() + 60'000));
    const ChildResult result = RunChild(db, photos, delay);
    kills += result.was_killed;
    if (std::filesystem::exists(db) && std::filesystem::file_size(db) > 0) {
      int64_t rows = 0;
      {
        Store store(db, Database::Mode::kCreate);
        auto check = store.db().Query("PRAGMA integrity_check(1)");
        ASSERT_TRUE(check.Next());
        ASSERT_EQ(check.Text(0), "ok");
        auto foreign = store.db().Query("PRAGMA foreign_key_check");
        ASSERT_FALSE(foreign.Next());
        store.db().Execute("INSERT INTO words(words) VALUES('integrity-check')");
        rows = store.db().Scalar("SELECT count(*) FROM file", 0);
      }
      ASSERT_GE(rows, result.reported);
      kills_midway += result.was_killed && rows > 0 && rows < kPictures;
      if (!result.was_killed || rows == kPictures) {
        ASSERT_EQ(FirstDifference(Contents(db), expected), "");
        for (const char* tail : {"", "-wal", "-shm"}) std::filesystem::remove(db + tail);  // begin again
      }
    } else {
      ASSERT_EQ(result.reported, 0);
    }
  }
  EXPECT_GE(kills, 40);
  EXPECT_GE(kills_midway, 5);
  std::printf("%d kills, %d of them midway\n", kills, kills_midway);
  const IndexReport rest = RunIndexJob(db, {photos}, CheapModel().analyzer(), SlowJob());
  EXPECT_EQ(rest.removed, 0);
  EXPECT_EQ(FirstDifference(Contents(db), expected), "");
}

// Killed while a new model works through a library, or while the old vectors are removed: at every moment some model
// has seen every picture, and what was computed is not computed again.
TEST(Crash, AModelThatAnswersIsAlwaysComplete) {
  fovea::testing::TemporaryFolder folder;
  const std::string photos = folder.File("photos"), db = folder.File("library.db");
  constexpr int64_t kFew = 250;
  for (int64_t i = 0; i < kFew; ++i)
    WriteFile(photos + "/" + std::to_string(i) + ".bmp", Bmp(6, 5, static_cast<uint32_t>(i)));
  RunIndexJob(db, {photos}, CheapModel().analyzer(), SlowJob());
  std::mt19937 random(std::random_device{}());
  int kills = 0, kills_midway = 0, changes = 0;
  std::string model = "cheap-2";
  int64_t seen_before = 0;
  double longest_us = 120'000;  // follows how fast this machine is just now
  for (int round = 0; kills_midway < 12 && round < 300; ++round) {
    const auto delay = static_cast<int64_t>(random() % static_cast<uint32_t>(longest_us));
    const ChildResult result = RunChild(db, photos, std::chrono::microseconds(delay), model);
    kills += result.was_killed;
    Store store(db, Database::Mode::kReadWrite);
    auto check = store.db().Query("PRAGMA integrity_check(1)");
    ASSERT_TRUE(check.Next());
    ASSERT_EQ(check.Text(0), "ok");
    const std::vector<ModelCoverage> models = store.Models();
    ASSERT_FALSE(models.empty());
    ASSERT_TRUE(store.IsComplete(models[0].id));
    ASSERT_EQ(models[0].contents, kFew);
    const int64_t id = store.FindModel(model);
    const int64_t seen = store.db().Scalar("SELECT count(*) FROM analysis WHERE model_id = ?", 0, id);
    ASSERT_GE(seen, seen_before);
    longest_us *= !result.was_killed ? 0.7 : seen == seen_before ? 1.3 : 1;
    longest_us = std::clamp(longest_us, 1e4, 1e7);
    seen_before = seen;
    kills_midway += result.was_killed && seen > 0 && models.size() > 1;
    if (seen == kFew && models.size() == 1) {  // through: on to the next one
      model = "cheap-" + std::to_string(3 + changes++);
      seen_before = 0;
    }
  }
  EXPECT_GE(kills_midway, 12);
  std::printf("%d kills, %d of them midway, %d changes of models\n", kills, kills_midway, changes);
}

}  // namespace
}  // namespace fovea::library
