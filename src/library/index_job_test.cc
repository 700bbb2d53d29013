// Index jobs over small folders: what is computed, what is kept, what is reported, and what happens to bad files.
#include "library/index_job.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <thread>

#include "base/error.h"
#include "library/library_testing.h"
#include "library/search.h"
#include "testing/testing.h"

namespace fovea::library {
namespace {

namespace fs = std::filesystem;

class IndexJobTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return photos_ + "/" + name; }
  void Write(const std::string& name, std::string_view bytes) const { WriteFile(Path(name), bytes); }

  IndexReport Index() { return Index({photos_}); }
  IndexReport Index(const std::vector<std::string>& folders) {
    failures_.clear();
    options_.index.on_failure = [this](const IndexFailure& failure) { failures_[failure.path] = failure.reason; };
    const IndexReport report = RunIndexJob(db_, folders, model_.analyzer(), options_);
    computed_ = model_.seen->exchange(0);
    return report;
  }

  fovea::testing::TemporaryFolder folder_;
  const std::string photos_ = folder_.File("photos"), db_ = folder_.File("library.db");
  CheapModel model_;
  JobOptions options_ = TestOptions();
  std::map<std::string, std::string> failures_;
  int64_t computed_ = 0;
};

TEST_F(IndexJobTest, TouchesOnlyWhatChanged) {
  for (uint32_t i = 0; i < 20; ++i) Write("a/" + std::to_string(i) + ".bmp", Bmp(4, 3, i));
  IndexReport report = Index();
  EXPECT_EQ(report.added, 20);
  EXPECT_EQ(computed_, 20);

  report = Index();
  EXPECT_EQ(report.unchanged, 20);
  EXPECT_EQ(report.added + report.updated + report.removed + report.failed + report.moved, 0);
  EXPECT_EQ(computed_, 0);

  Write("a/3.bmp", Bmp(4, 3, 1003));  // same size: the times tell
  Write("b/new.bmp", Bmp(5, 5, 77));
  fs::remove(Path("a/4.bmp"));
  report = Index();
  EXPECT_EQ(report.added, 1);
  EXPECT_EQ(report.updated, 1);
  EXPECT_EQ(report.removed, 1);
  EXPECT_EQ(report.unchanged, 18);
  EXPECT_EQ(computed_, 2);

  Store store(db_, Database::Mode::kReadOnly);
  EXPECT_EQ(store.CountPictures(), 20);
  EXPECT_FALSE(store.Describe(Path("a/4.bmp")).has_value());
  const std::optional<PhotoRecord> record = store.Describe(Path("b/new.bmp"));
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->width_px, 5);
  EXPECT_EQ(record->content_hash.size(), 32u);
  ASSERT_EQ(record->labels.size(), 1u);
}

TEST_F(IndexJobTest, SameSizeAndModificationTimeIsStillNoticed) {
  Write("a.bmp", Bmp(4, 3, 1));
  Index();
  const auto time = fs::last_write_time(Path("a.bmp"));
  Write("a.bmp", Bmp(4, 3, 2));
  fs::last_write_time(Path("a.bmp"), time);
  EXPECT_EQ(Index().updated, 1);
  EXPECT_EQ(computed_, 1);
}

TEST_F(IndexJobTest, TouchedButEqualFileIsHashedNotComputed) {
  Write("a.bmp", Bmp(4, 3, 1));
  Index();
  Write("a.bmp", Bmp(4, 3, 1));
  IndexReport report = Index();
  EXPECT_EQ(report.unchanged, 1);
  EXPECT_EQ(computed_, 0);
}

TEST_F(IndexJobTest, MovedFileKeepsItsData) {
  for (uint32_t i = 0; i < 5; ++i) Write("old/" + std::to_string(i) + ".bmp", Bmp(4, 3, i));
  Index();
  fs::rename(Path("old"), Path("holiday"));
  const IndexReport report = Index();
  EXPECT_EQ(report.moved, 5);
  EXPECT_EQ(report.added + report.removed, 0);
  EXPECT_EQ(computed_, 0);
  Store store(db_, Database::Mode::kReadOnly);
  EXPECT_EQ(FindWords(store, "holiday").size(), 5u);
  EXPECT_EQ(FindWords(store, "old").size(), 0u);
}

TEST_F(IndexJobTest, DataOfVanishedFilesIsKeptForAWhile) {
  Write("drive/a.bmp", Bmp(4, 3, 1));
  Write("b.bmp", Bmp(4, 3, 2));
  Index();
  fs::rename(Path("drive"), folder_.File("unplugged"));
  EXPECT_EQ(Index().removed, 1);
  fs::rename(folder_.File("unplugged"), Path("drive"));
  EXPECT_EQ(Index().added, 1);
  EXPECT_EQ(computed_, 0);
  fs::remove(Path("b.bmp"));
  options_.keep_unused_seconds = -1;
  Index();
  Store store(db_, Database::Mode::kReadOnly);
  EXPECT_EQ(store.db().Scalar("SELECT count(*) FROM content", -1), 1);
  EXPECT_EQ(store.db().Scalar("SELECT count(*) FROM analysis", -1), 1);
  EXPECT_EQ(store.db().Scalar("SELECT count(*) FROM picture_label", -1), 1);
}

TEST_F(IndexJobTest, CopiesAreComputedOnce) {
  for (int i = 0; i < 200; ++i) Write("copy" + std::to_string(i) + ".bmp", Bmp(16, 16, static_cast<uint32_t>(i % 4)));
  options_.index.schedule.workers = 4;
  EXPECT_EQ(Index().added, 200);
  EXPECT_EQ(computed_, 4);
  EXPECT_EQ(failures_.size(), 0u);
}

TEST_F(IndexJobTest, EveryScheduleGivesTheSameLibrary) {
  for (uint32_t i = 0; i < 60; ++i)
    Write(std::to_string(i % 7) + "/" + std::to_string(i) + ".bmp", Bmp(3 + i % 5, 4, i % 50));
  Write("broken.bmp", Bmp(9, 9, 9).substr(0, 60));
  Index();
  const std::string expected = Contents(db_);
  EXPECT_EQ(computed_, 50);
  const IndexSchedule schedules[] = {
      {.workers = 1}, {.workers = 3, .batch = 4}, {.workers = 1, .threads_each = 2, .decoders = 2, .batch = 8}};
  for (const IndexSchedule& schedule : schedules) {
    options_.index.schedule = schedule;
    options_.memory_bytes = 100;  // every picture is larger: they go one by one, and nobody waits for ever
    fs::remove(db_);
    Index();
    EXPECT_EQ(FirstDifference(Contents(db_), expected), "")
        << "workers " << schedule.workers << ", decoders " << schedule.decoders;
  }
}

TEST_F(IndexJobTest, BadFilesAreReportedAndRemembered) {
  Write("good.bmp", Bmp(4, 3, 1));
  Write("empty.jpg", "");
  Write("cut.bmp", Bmp(40, 30, 2).substr(0, 100));
  Write("text.png", "this is no picture");
  Write("notes.txt", "neither, but it does not claim to be one");
  Write("picture.dat", Bmp(4, 3, 3));
  fs::create_symlink("nowhere.jpg", Path("dangling.jpg"));
  IndexReport report = Index();
  EXPECT_EQ(report.added, 2);
  EXPECT_EQ(report.failed, 4);
  ASSERT_EQ(failures_.size(), 4u);
  for (const char* name : {"empty.jpg", "cut.bmp", "text.png", "dangling.jpg"})
    EXPECT_TRUE(failures_.contains(Path(name))) << name;
  const std::map<std::string, std::string> first = failures_;

  int64_t decoded = 0;
  const auto decode = options_.decoder.decode;
  options_.decoder.decode = [&](std::span<const uint8_t> bytes, const std::string& name, ImageInfo* info) {
    ++decoded;
    return decode(bytes, name, info);
  };
  report = Index();
  EXPECT_EQ(report.failed, 4);
  EXPECT_EQ(report.unchanged, 2);
  EXPECT_EQ(failures_, first);
  EXPECT_EQ(decoded, 0);

  options_.index.retry_failed = true;
  options_.index.schedule.workers = 1;
  EXPECT_EQ(Index().failed, 4);
  options_.index.retry_failed = false;
  Write("cut.bmp", Bmp(40, 30, 2));  // repaired
  report = Index();
  EXPECT_EQ(report.updated, 1);
  EXPECT_EQ(report.failed, 3);
}

TEST_F(IndexJobTest, AFailingModelCostsOnePictureNotTheJob) {
  for (uint32_t i = 0; i < 12; ++i) Write(std::to_string(i) + ".bmp", Bmp(i == 5 ? 7 : 4, 3, i));
  options_.index.schedule = {.workers = 2, .batch = 4};
  Analyzer analyzer = model_.analyzer();
  analyzer.analyze = [inner = analyzer.analyze](std::span<const Image> images) {
    for (const Image& image : images) {
      if (image.width == 7) throw std::runtime_error("seven is too wide");
    }
    return inner(images);
  };
  std::string failed;
  options_.index.on_failure = [&](const IndexFailure& failure) { failed = failure.path + ": " + failure.reason; };
  const IndexReport report = RunIndexJob(db_, {photos_}, analyzer, options_);
  EXPECT_EQ(report.added, 11);
  EXPECT_EQ(report.failed, 1);
  EXPECT_EQ(failed, Path("5.bmp") + ": seven is too wide");
  EXPECT_EQ(Index().updated, 1);  // the file was not to blame: it is tried again
}

TEST_F(IndexJobTest, UnreadableFoldersAndFilesKeepWhatIsKnown) {
  if (::geteuid() == 0) {
    // Root reads everything; a folder that is not there any more stands for the unreadable one.
    Write("x/a.bmp", Bmp(4, 3, 1));
    Index({Path("x")});
    fs::rename(Path("x"), Path("y"));
    const IndexReport report = Index({Path("x")});
    EXPECT_EQ(report.failed, 1);
    EXPECT_EQ(report.removed, 0);
    Store store(db_, Database::Mode::kReadOnly);
    EXPECT_EQ(store.CountPictures(), 1);
    return;
  }
  Write("locked/a.bmp", Bmp(4, 3, 1));
  Write("b.bmp", Bmp(4, 3, 2));
  Index();
  ::chmod(Path("locked").c_str(), 0);
  ::chmod(Path("b.bmp").c_str(), 0);
  const IndexReport report = Index();
  ::chmod(Path("locked").c_str(), 0755);
  ::chmod(Path("b.bmp").c_str(), 0644);
  EXPECT_EQ(report.failed, 2);
  EXPECT_EQ(report.removed, 0);
  EXPECT_EQ(Index().unchanged, 2);
}

TEST_F(IndexJobTest, NamesThatAreNoUtf8) {
  const std::string name = "caf\xE9_\xFF\xFE dogRun.bmp";
  Write(name, Bmp(4, 3, 1));
  Write("f\xF6lder/x.bmp", Bmp(4, 3, 2));
  EXPECT_EQ(Index().added, 2);
  EXPECT_EQ(Index().unchanged, 2);
  Store store(db_, Database::Mode::kReadOnly);
  EXPECT_TRUE(store.Describe(Path(name)).has_value());
  const std::vector<SearchHit> hits = FindWords(store, "dog run");
  ASSERT_EQ(hits.size(), 1u);
  EXPECT_EQ(hits[0].path, Path(name));
}

TEST_F(IndexJobTest, OtherFoldersStayAsTheyAre) {
  Write("a/1.bmp", Bmp(4, 3, 1));
  Write("ab/2.bmp", Bmp(4, 3, 2));
  Index();
  fs::remove(Path("a/1.bmp"));
  fs::remove(Path("ab/2.bmp"));
  EXPECT_EQ(Index({Path("a")}).removed, 1);
  Store store(db_, Database::Mode::kReadOnly);
  EXPECT_TRUE(store.Describe(Path("ab/2.bmp")).has_value());
}

TEST_F(IndexJobTest, AnotherModelReplacesTheAnalysis) {
  for (uint32_t i = 0; i < 5; ++i) Write(std::to_string(i) + ".bmp", Bmp(4, 3, i));
  Index();
  Store store(db_, Database::Mode::kReadOnly);
  EmbeddingCache cache;
  EXPECT_EQ(cache.Refresh(store, "cheap-1", 12)->size(), 5);
  model_.fingerprint = "cheap-2";
  const IndexReport report = Index();
  EXPECT_EQ(report.updated, 5);
  EXPECT_EQ(computed_, 5);
  EXPECT_EQ(cache.Refresh(store, "cheap-1", 12), nullptr);
  EXPECT_EQ(cache.Refresh(store, "cheap-2", 12)->size(), 5);
}

// A new model works through the library while the old one answers; stopped midway, it goes on where it was.
TEST_F(IndexJobTest, TheOldModelAnswersUntilTheNewOneIsThrough) {
  for (uint32_t i = 0; i < 200; ++i) Write("a/" + std::to_string(i) + ".bmp", Bmp(4, 3, i));
  for (uint32_t i = 0; i < 20; ++i) Write("b/" + std::to_string(i) + ".bmp", Bmp(4, 3, 1000 + i));
  Index();
  model_.fingerprint = "cheap-2";
  std::atomic<bool> cancel = false;
  Analyzer analyzer = model_.analyzer();
  analyzer.analyze = [&, inner = analyzer.analyze](std::span<const Image> images) {
    if (*model_.seen >= 40) cancel = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return inner(images);
  };
  options_.index.cancel = &cancel;
  model_.seen->exchange(0);
  const IndexReport part = RunIndexJob(db_, {Path("a")}, analyzer, options_);
  EXPECT_TRUE(part.cancelled);
  options_.index.cancel = nullptr;
  Store store(db_, Database::Mode::kReadOnly);
  ASSERT_EQ(store.Models().size(), 2u);
  EXPECT_EQ(store.Models()[0].model.fingerprint, "cheap-1");
  EXPECT_EQ(store.Models()[0].contents, 220);
  EXPECT_EQ(store.Models()[1].contents, part.updated);
  EXPECT_TRUE(store.IsComplete(store.Models()[0].id));
  EXPECT_FALSE(store.IsComplete(store.Models()[1].id));
  EmbeddingCache cache;
  EXPECT_EQ(cache.Refresh(store, "cheap-1", 12)->size(), 220);

  // Only folder a: the pictures of b still have the old vectors alone, so those of all pictures stay.
  model_.seen->exchange(0);
  EXPECT_EQ(Index({Path("a")}).updated, 200 - part.updated);
  EXPECT_EQ(computed_, 200 - part.updated);
  EXPECT_EQ(store.Models()[0].model.fingerprint, "cheap-1");
  EXPECT_EQ(cache.Refresh(store, "cheap-1", 12)->size(), 220);

  EXPECT_EQ(Index().updated, 20);
  ASSERT_EQ(store.Models().size(), 1u);
  EXPECT_EQ(store.Models()[0].model.fingerprint, "cheap-2");
  EXPECT_EQ(store.FindModel("cheap-1"), 0);
  EXPECT_EQ(cache.Refresh(store, "cheap-2", 12)->size(), 220);
}

// A picture that only the new model fails on does not keep the old vectors in use for ever.
TEST_F(IndexJobTest, APictureThatTheNewModelFailsOnDoesNotBlockIt) {
  for (uint32_t i = 0; i < 6; ++i) Write(std::to_string(i) + ".bmp", Bmp(i == 5 ? 7 : 4, 3, i));
  Index();
  model_.fingerprint = "cheap-2";
  Analyzer analyzer = model_.analyzer();
  analyzer.analyze = [inner = analyzer.analyze](std::span<const Image> images) {
    for (const Image& image : images) {
      if (image.width == 7) throw std::runtime_error("seven is too wide");
    }
    return inner(images);
  };
  const IndexReport report = RunIndexJob(db_, {photos_}, analyzer, options_);
  EXPECT_EQ(report.failed, 1);
  Store store(db_, Database::Mode::kReadOnly);
  ASSERT_EQ(store.Models().size(), 1u);
  EXPECT_EQ(store.Models()[0].model.fingerprint, "cheap-2");
  EXPECT_EQ(store.CountPictures(), 5);
}

TEST_F(IndexJobTest, CancelKeepsWhatIsDone) {
  for (uint32_t i = 0; i < 300; ++i) Write(std::to_string(i) + ".bmp", Bmp(4, 3, i));
  std::atomic<bool> cancel = false;
  Analyzer analyzer = model_.analyzer();
  analyzer.analyze = [&, inner = analyzer.analyze](std::span<const Image> images) {
    if (*model_.seen >= 50) cancel = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return inner(images);
  };
  options_.index.cancel = &cancel;
  const IndexReport report = RunIndexJob(db_, {photos_}, analyzer, options_);
  EXPECT_TRUE(report.cancelled);
  EXPECT_GE(report.added, 50);
  EXPECT_LT(report.added, 300);
  EXPECT_EQ(report.removed, 0);
  options_.index.cancel = nullptr;
  model_.seen->exchange(0);
  const IndexReport rest = Index();
  EXPECT_EQ(rest.unchanged, report.added);
  EXPECT_EQ(computed_, 300 - report.added);
}

TEST_F(IndexJobTest, AnExceptionOfACallbackEndsTheJob) {
  for (uint32_t i = 0; i < 50; ++i) Write(std::to_string(i) + ".bmp", Bmp(4, 3, i));
  Write("bad.png", "no");
  options_.index.on_failure = [](const IndexFailure&) { Fail(ErrorCode::kCancelled, "enough"); };
  EXPECT_THROW(RunIndexJob(db_, {photos_}, model_.analyzer(), options_), Error);
}

TEST_F(IndexJobTest, ProgressCountsWhatIsOnDiskAndReadersSeeIt) {
  for (uint32_t i = 0; i < 400; ++i) Write(std::to_string(i) + ".bmp", Bmp(4, 3, i));
  options_.progress_seconds = 0;
  options_.commit_files = 20;
  int64_t last = 0, calls = 0, total = 0;
  std::unique_ptr<Store> reader;
  options_.index.on_progress = [&](const IndexProgress& progress) {
    if (reader == nullptr) reader = std::make_unique<Store>(db_, Database::Mode::kReadOnly);
    EXPECT_GE(progress.done, last);
    EXPECT_GE(reader->CountPictures(), progress.done);
    if (progress.done > 0) {
      EXPECT_FALSE(FindWords(*reader, "bmp").empty());
    }
    last = progress.done;
    total = progress.total;
    ++calls;
  };
  Index();
  EXPECT_GE(calls, 20);
  EXPECT_EQ(last, 400);
  EXPECT_EQ(total, 400);
}

int64_t ResidentBytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

TEST_F(IndexJobTest, MemoryDoesNotGrowWithTheFolder) {
  // Small pictures in large files: held all at once they would take 20,000 x 12 KB = 240 MB encoded, and as much
  // decoded.
  const std::string picture = Bmp(64, 64, 1);
  for (int i = 0; i < 20'000; ++i) {
    std::string different = picture;
    std::memcpy(different.data() + 54, &i, sizeof(i));
    if (i % 1000 == 0) fs::create_directories(Path(std::to_string(i / 1000)));
    const std::string path = Path(std::to_string(i / 1000) + "/" + std::to_string(i) + ".bmp");
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ASSERT_EQ(::write(fd, different.data(), different.size()), static_cast<ssize_t>(different.size()));
    ::close(fd);
  }
  int64_t peak = 0;
  const int64_t before = ResidentBytes();
  options_.index.on_progress = [&](const IndexProgress&) { peak = std::max(peak, ResidentBytes() - before); };
  options_.memory_bytes = 4 << 20;
  const IndexReport report = Index();
  EXPECT_EQ(report.added, 20'000);
  EXPECT_LT(peak, int64_t{100} << 20);
  std::printf("20,000 files: %.1f s, %lld MB more at most\n", report.seconds, static_cast<long long>(peak >> 20));
}

}  // namespace
}  // namespace fovea::library
