// The data pipeline: what comes out depends on the seed alone, everything comes once an epoch, and damage is survived.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "testing/golden.h"
#include "train/data/loader.h"
#include "train/training_testing.h"

namespace fovea::train {
namespace {

class Data : public ::testing::Test {
 protected:
  Data() { WriteColourPictures(folder_.File("pictures"), 20); }
  LoaderOptions Options() const {
    LoaderOptions options;
    options.filter = {
        .paths = {folder_.File("pictures")}, .needs_label = true, .classes = {{"blue", 0}, {"green", 1}, {"red", 2}}};
    options.preprocess.size = {.height = 16, .width = 16};
    options.augment = {.operations = 2};
    options.shuffle_buffer = 13;
    options.seed = 5;
    return options;
  }
  static std::vector<Batch> Take(const LoaderOptions& options, int batches, int64_t size,
                                 const DataPosition& start = {}) {
    Loader loader(options, start);
    std::vector<Batch> taken(static_cast<size_t>(batches));
    for (Batch& batch : taken) loader.Next(size, batch);
    return taken;
  }
  testing::TemporaryFolder folder_;
};

TEST_F(Data, OrderAndPixelsDependOnTheSeedAlone) {
  LoaderOptions options = Options();
  const auto one = Take(options, 20, 7);
  options.threads = 4;
  options.ahead = 3;
  const auto four = Take(options, 20, 7);
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].keys, four[i].keys);
    testing::ExpectClose(one[i].pixels, four[i].pixels, 0.0f);
  }
  options.seed = 6;
  EXPECT_NE(Take(options, 1, 7)[0].keys, one[0].keys);
}

TEST_F(Data, EverySampleComesOnceAnEpochAndLabelsBelong) {
  const auto batches = Take(Options(), 4, 30);  // two epochs of 60
  for (const size_t epoch : {size_t{0}, size_t{2}}) {
    std::set<std::string> keys;
    for (size_t b = epoch; b < epoch + 2; ++b) {
      keys.insert(batches[b].keys.begin(), batches[b].keys.end());
      for (size_t i = 0; i < 30; ++i) {
        const int64_t label = batches[b].labels.data<int64_t>()[i];
        EXPECT_EQ(batches[b].keys[i].substr(0, 3), label == 0 ? "blu" : label == 1 ? "gre" : "red");
      }
    }
    EXPECT_EQ(keys.size(), 60u);
  }
  EXPECT_NE(batches[0].keys, batches[2].keys) << "another epoch, another order";
}

TEST_F(Data, GoesOnWhereItStopped) {
  const auto all = Take(Options(), 12, 8);
  Loader first(Options(), {});
  Batch batch;
  for (int i = 0; i < 9; ++i) first.Next(8, batch);
  EXPECT_EQ(first.position().epoch, 1);
  EXPECT_EQ(first.position().taken, 12);
  const auto rest = Take(Options(), 3, 8, first.position());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(rest[i].keys, all[9 + i].keys);
    testing::ExpectClose(rest[i].pixels, all[9 + i].pixels, 0.0f);
  }
}

TEST_F(Data, ValidationAndTrainingShareNothing) {
  LoaderOptions options = Options();
  options.filter.validation_share = 0.3;
  const int64_t training = CountSamples(options.filter);
  options.filter.takes_validation = true;
  const int64_t validation = CountSamples(options.filter);
  EXPECT_EQ(training + validation, 60);
  EXPECT_GT(validation, 8);
  EXPECT_LT(validation, 30);
}

TEST_F(Data, DamagedPicturesAreLeftOutAndNamed) {
  std::ofstream(folder_.File("pictures/red/3.png")) << "no picture";
  LoaderOptions options = Options();
  options.is_endless = false;
  std::vector<std::string> failed;
  options.on_failure = [&](const std::string& key, const std::string&) { failed.push_back(key); };
  Loader loader(options, {});
  Batch batch;
  int64_t count = 0;
  while (loader.Next(16, batch)) count += batch.pixels.dim(0);
  EXPECT_EQ(count, 59);
  EXPECT_EQ(failed, (std::vector<std::string>{"red/3.png"}));
  EXPECT_FALSE(loader.Next(16, batch));
}

TEST_F(Data, NothingReadableIsAnError) {
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder_.File("pictures")))
    if (file.is_regular_file()) std::ofstream(file.path()) << "no picture";
  Loader loader(Options(), {});
  Batch batch;
  testing::ExpectError([&] { loader.Next(4, batch); }, "no picture could be read");
}

TEST(Augment, CropsStayInsideAndWithinTheirRanges) {
  Random random(3);
  AugmentOptions options{.crop_scale_low = 0.2, .crop_scale_high = 0.6};
  for (int i = 0; i < 500; ++i) {
    const media::Rectangle part = RandomCrop(90, 60, options, random);
    ASSERT_GE(part.left, 0);
    ASSERT_GE(part.top, 0);
    ASSERT_LE(part.left + part.width, 90);
    ASSERT_LE(part.top + part.height, 60);
    const double share = static_cast<double>(part.width * part.height) / (90 * 60);
    EXPECT_GT(share, 0.18);
    EXPECT_LT(share, 0.63);
    const double ratio = static_cast<double>(part.width) / static_cast<double>(part.height);
    EXPECT_GT(ratio, 0.70);
    EXPECT_LT(ratio, 1.42);
  }
}

TEST(Augment, FlipMirrorsAndColourKeepsItsRange) {
  Image image = Image::Allocate(8, 8);
  for (int64_t i = 0; i < image.size_bytes(); ++i) image.rgb.get()[i] = static_cast<uint8_t>(i);
  Random random(1);
  const AugmentOptions only_flip{
      .crop_scale_low = 1, .crop_scale_high = 1, .crop_ratio_low = 1, .crop_ratio_high = 1, .flip = 1};
  const Image flipped = Augment(image, 8, 8, media::Filter::kBilinear, only_flip, random);
  for (int64_t x = 0; x < 8; ++x) EXPECT_EQ(flipped.row(3)[x * 3 + 1], image.row(3)[(7 - x) * 3 + 1]);
  AugmentOptions grey = only_flip;
  grey.flip = 0;
  grey.saturation = 1;
  bool changed = false;
  for (int i = 0; i < 5; ++i) {
    const Image other = Augment(image, 8, 8, media::Filter::kBilinear, grey, random);
    changed |= !std::equal(other.data(), other.data() + other.size_bytes(), image.data());
  }
  EXPECT_TRUE(changed);
}

TEST(ProductShard, LabelsAndCaptionsAreRead) {
  const std::string shard = testing::ShardPath("products-train.tar");
  if (shard.empty()) GTEST_SKIP() << "needs ../shared/data/products-train.tar";
  const auto samples = OpenSamples(shard);
  EXPECT_EQ(samples->size(), 2000);
  EXPECT_EQ(samples->Label(0, "articleType"), "Casual Shoes");
  EXPECT_EQ(samples->Captions(0), (std::vector<std::string>{"Black Casual Shoes for men"}));
  EXPECT_EQ(samples->Picture(0).width, 160);
}

}  // namespace
}  // namespace fovea::train
