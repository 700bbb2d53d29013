// Times the parts that bench/run.sh compares with other engines; prints one JSON object.
//
//   fovea_bench model --model DIR --batch N [--seconds S]    the network alone, on pixels that are already there
//   fovea_bench encoder --model DIR --tower image|text --batch N   one tower of an encoder, on 224 x 224 pixels or 77
//   tokens fovea_bench index --data SHARD.tar [--model DIR]         from JPEG bytes to L2-normalised embeddings,
//   without a
//                                                            database
//   fovea_bench resize [--seconds S]                         resizing on one thread, as Pillow does
//   fovea_bench train --model DIR --inputs FILE [--bf16]     steps of training (bench/train.py compares them)
//
// Calls are timed one by one after a third of the time as warm-up; the rate comes from the median, so a neighbour's
// burst on the machine does not count. It compares nothing itself and has no opinion on what is fast.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "formats/webdataset.h"
#include "fovea/error.h"
#include "fovea/image.h"
#include "fovea/model.h"
#include "media/resize.h"
#include "runtime/loaded_model.h"
#include "train_bench.h"

namespace fovea {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double ProcessorSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

struct Timing {
  double min_s, median_s, processor_s;  // processor_s: median of the processor time of all threads
  int64_t runs;
};

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// At least three calls of each, warm-up and measurement.
Timing Measure(const std::function<void()>& work, double seconds) {
  const auto warm_up = Clock::now();
  for (int calls = 0; calls < 3 || SecondsSince(warm_up) < seconds / 3; ++calls) work();
  std::vector<double> times, processor_times;
  const auto start = Clock::now();
  while (times.size() < 3 || SecondsSince(start) < seconds) {
    const auto before = Clock::now();
    const double processor_before = ProcessorSeconds();
    work();
    processor_times.push_back(ProcessorSeconds() - processor_before);
    times.push_back(SecondsSince(before));
  }
  return {.min_s = *std::min_element(times.begin(), times.end()),
          .median_s = Median(times),
          .processor_s = Median(processor_times),
          .runs = static_cast<int64_t>(times.size())};
}

// Noise in the shape of a picture.
Image NoisePicture(int64_t width, int64_t height) {
  Image image = Image::Allocate(width, height);
  std::mt19937 random(1);
  for (int64_t i = 0; i < image.size_bytes(); ++i) image.rgb.get()[i] = static_cast<uint8_t>(random());
  return image;
}

nlohmann::json BenchModel(const std::string& name, int64_t batch, double seconds) {
  const Model model = Model::Load(name);
  const std::vector<Image> pictures(static_cast<size_t>(batch), NoisePicture(300, 300));
  const Tensor pixels = model.impl().Prepare(pictures);
  double sum = 0;  // read back, so that no work can be left out
  const Timing timing =
      Measure([&] { sum += model.impl().network().EncodeImages(pixels).logits.data<float>()[0]; }, seconds);
  return {{"engine", "fovea"},
          {"batch", batch},
          {"threads", base::MaxThreads()},
          {"images_per_s", static_cast<double>(batch) / timing.median_s},
          {"min_ms", 1e3 * timing.min_s},
          {"median_ms", 1e3 * timing.median_s},
          {"runs", timing.runs},
          {"mean_first_logit", sum / static_cast<double>(timing.runs)}};
}

// Pixels or tokens in, features out.
nlohmann::json BenchEncoder(const std::string& name, const std::string& precision, const std::string& tower,
                            int64_t batch, int threads, double seconds) {
  const base::ThreadLimit limit(threads > 0 ? threads : base::MaxThreads());
  constexpr int64_t kSize = 224, kTokens = 77, kWords = 49405;
  const Model model = Model::Load(name, {.precision = precision});
  std::mt19937 random(1);
  const Tensor pixels = Tensor::Empty({batch, kSize, kSize, 3}), ids = Tensor::Empty({batch, kTokens}, DType::kI64);
  for (int64_t i = 0; i < pixels.numel(); ++i)
    pixels.mutable_data<float>()[i] = static_cast<float>(random()) / 2147483648.0f - 1.0f;
  for (int64_t i = 0; i < ids.numel(); ++i)
    ids.mutable_data<int64_t>()[i] = i % kTokens == kTokens - 1 ? kWords + 2 : 1 + random() % kWords;
  double sum = 0;
  const Timing timing = Measure(
      [&] {
        const Tensor features = tower == "image" ? model.impl().network().EncodeImages(pixels).features
                                                 : model.impl().network().EncodeTexts({.ids = ids}).features;
        sum += features.Contiguous().data<float>()[0];
      },
      seconds);
  return {{"engine", "fovea"},
          {"tower", tower},
          {"batch", batch},
          {"threads", base::MaxThreads()},
          {"items_per_s", static_cast<double>(batch) / timing.median_s},
          {"min_ms", 1e3 * timing.min_s},
          {"median_ms", 1e3 * timing.median_s},
          {"processor_ms", 1e3 * timing.processor_s},
          {"runs", timing.runs},
          {"mean_first_feature", sum / static_cast<double>(timing.runs)}};
}

nlohmann::json BenchIndex(const std::string& shard, const std::string& name, int64_t batch) {
  const Model model = Model::Load(name);
  model.EmbedImages(std::vector<Image>(static_cast<size_t>(batch), NoisePicture(300, 300)));  // warm up
  const auto start = Clock::now();
  const formats::WebDatasetIndex index = formats::WebDatasetIndex::Open(shard);
  std::vector<std::span<const uint8_t>> encoded;
  for (const auto& sample : index.samples()) {
    if (const auto* file = sample.Find("jpg")) encoded.push_back(index.Bytes(*file));
  }
  double sum = 0;
  for (size_t begin = 0; begin < encoded.size(); begin += static_cast<size_t>(batch)) {
    const size_t count = std::min(static_cast<size_t>(batch), encoded.size() - begin);
    std::vector<Image> pictures(count);
    base::ParallelFor(static_cast<int64_t>(count), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        pictures[static_cast<size_t>(i)] = DecodeImage(encoded[begin + static_cast<size_t>(i)], shard);
    });
    for (const auto& vector : model.EmbedImages(pictures)) sum += std::abs(vector[0]);
  }
  const double seconds = SecondsSince(start);
  const double images = static_cast<double>(encoded.size());
  return {{"engine", "fovea"},
          {"threads", base::MaxThreads()},
          {"batch", batch},
          {"images", encoded.size()},
          {"seconds", seconds},
          {"images_per_s", images / seconds},
          {"mean_abs_first", sum / images}};
}

nlohmann::json BenchResize(double seconds) {
  struct Size {
    int64_t width, height;
  };
  const base::ThreadLimit one_thread(1);
  nlohmann::json results;
  for (const Size from : {Size{4000, 3000}, Size{1920, 1280}, Size{500, 375}, Size{224, 224}}) {
    const Image image = NoisePicture(from.width, from.height);
    for (const media::Filter filter : {media::Filter::kBilinear, media::Filter::kBicubic, media::Filter::kLanczos}) {
      const media::ResizeOptions options = {.width = 260, .height = 260, .filter = filter};
      const Timing timing = Measure([&] { media::Resize(image, options); }, seconds);
      const std::string key = std::to_string(from.width) + "x" + std::to_string(from.height) + "->260x260 ";
      results[key + std::string(media::FilterName(filter))] = 1e3 * timing.median_s;
    }
  }
  return {{"engine", "fovea"}, {"threads", 1}, {"resize", results}};
}

int Run(int argc, char** argv) {
  CLI::App app("Times parts of Fovea for bench/run.sh");
  app.require_subcommand(1);
  std::string model = DefaultModelName(), shard, tower = "image", precision = "f32";
  int64_t batch = 0;
  int threads = 0;
  double seconds = 3;
  auto* network = app.add_subcommand("model", "the network alone");
  network->add_option("--model", model, "name or folder");
  network->add_option("--batch", batch, "pictures a forward")->required()->check(CLI::Range(1, 1024));
  network->add_option("--seconds", seconds, "of measuring")->check(CLI::PositiveNumber);
  auto* encoder = app.add_subcommand("encoder", "one tower of an encoder");
  encoder->add_option("--model", model, "name or folder")->required();
  encoder->add_option("--tower", tower, "image or text")->check(CLI::IsMember({"image", "text"}));
  encoder->add_option("--precision", precision, "f32 or bf16")->check(CLI::IsMember({"f32", "bf16"}));
  encoder->add_option("--batch", batch, "items a forward")->required()->check(CLI::Range(1, 1024));
  encoder->add_option("--threads", threads, "default: all cores")->check(CLI::Range(1, 1024));
  encoder->add_option("--seconds", seconds, "of measuring")->check(CLI::PositiveNumber);
  auto* index = app.add_subcommand("index", "from JPEG to embedding");
  index->add_option("--model", model, "name or folder");
  index->add_option("--data", shard, "WebDataset shard")->required();
  index->add_option("--batch", batch, "pictures a forward; default 8")->check(CLI::Range(1, 1024));
  TrainBenchOptions train;
  auto* training = app.add_subcommand("train", "steps of training");
  training->add_option("--model", train.model, "folder")->required();
  training->add_option("--inputs", train.inputs, "safetensors file with pixels and labels or ids")->required();
  training->add_option("--steps", train.steps, "timed steps")->check(CLI::Range(1, 1000));
  training->add_option("--part", train.part, "micro batch");
  training->add_flag("--bf16", train.computes_bf16, "products in bf16");
  training->add_flag("--checkpointing", train.recomputes, "gradient checkpointing");
  auto* resize = app.add_subcommand("resize", "resizing on one thread");
  resize->add_option("--seconds", seconds, "of measuring, all sizes and filters together")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  nlohmann::json result;
  if (network->parsed()) {
    result = BenchModel(model, batch, seconds);
  } else if (encoder->parsed()) {
    result = BenchEncoder(model, precision, tower, batch, threads, seconds);
  } else if (index->parsed()) {
    result = BenchIndex(shard, model, batch > 0 ? batch : 8);
  } else if (training->parsed()) {
    result = TrainBench(train);
  } else {
    result = BenchResize(seconds / 12);
  }
  std::cout << result.dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace fovea

int main(int argc, char** argv) {
  try {
    return fovea::Run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "fovea_bench: " << error.what() << "\n";
    return 1;
  }
}
