#include "train/data/grid_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/hash.h"
#include "formats/safetensors.h"
#include "ops/softmax.h"

namespace fovea::train {
namespace {

constexpr int64_t kChunk = 32, kNoteEvery = 2048;
constexpr int64_t kClassesKept = 10;

// Each row of pixels or of a grid from right to left. [B,Y,X,C]
Tensor Mirrored(const Tensor& x) {
  auto [B, Y, X, C] = x.Dims<4>("pictures");
  Tensor y = Tensor::Empty(x.shape());
  const float* from = x.data<float>();
  float* to = y.mutable_data<float>();
  for (int64_t row = 0; row < B * Y; ++row) {
    for (int64_t i = 0; i < X; ++i)
      std::memcpy(to + (row * X + i) * C, from + (row * X + X - 1 - i) * C, static_cast<size_t>(C) * sizeof(float));
  }
  return y;
}

double LargestDifference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i)
    largest = std::max<double>(largest, std::fabs(a.data<float>()[i] - b.data<float>()[i]));
  return largest;
}

std::string Prompt(const std::string& prompt, const std::string& name) {
  std::string text = prompt;
  if (const size_t place = text.find("{}"); place != std::string::npos) text.replace(place, 2, name);
  return text;
}

}  // namespace

// Up to kChunk pictures on their way.
struct GridCache::Chunk {
  std::vector<Sample> samples;
  Tensor pixels;  // [B,Y,X,3]
};

Tensor GridCache::Grid(int64_t view, int64_t index) const {
  const Tensor& chunk = grids_[static_cast<size_t>(view)][static_cast<size_t>(index / kChunk)];
  const Tensor row = chunk.Sliced(0, index % kChunk, index % kChunk + 1);
  return row.View({chunk.dim(1), chunk.dim(2), chunk.dim(3)});
}

void GridCache::Compute(const Options& options, const Chunk& chunk) {
  for (int64_t view = 0; view < views(); ++view) {
    const Tensor pixels = view == 0 ? chunk.pixels : Mirrored(chunk.pixels);
    const Tensor grid = options.model->EncodeTrunk(pixels, options.grids.blocks);  // [B,P,Q,C]
    grids_[static_cast<size_t>(view)].push_back(grid.To(DType::kF16));
    if (view > 0 || options.teacher == nullptr) continue;
    if (samples_.empty()) {
      const Tensor other = options.teacher->EncodeTrunk(pixels, options.grids.blocks);
      Require(other.shape() == grid.shape() && LargestDifference(other, grid) < 1e-3,
              "[train] expected weak_labels.model to begin with the same ", options.grids.blocks,
              " blocks as the trained model; hint: start the picture tower from it (vision_model)");
    }
    const Tensor scores = Softmax(options.teacher->EncodeFromTrunk(grid, options.grids.blocks).logits);  // [B,V]
    const int64_t V = scores.dim(1), kept = std::min(V, kClassesKept);
    std::vector<int64_t> order(static_cast<size_t>(V));
    for (int64_t b = 0; b < scores.dim(0); ++b) {
      const float* row = scores.data<float>() + b * V;
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + kept, order.end(),
                        [&](int64_t i, int64_t j) { return row[i] > row[j]; });
      Sample sample = chunk.samples[static_cast<size_t>(b)];
      for (int64_t i = 0; i < kept; ++i) {
        const auto v = static_cast<size_t>(order[static_cast<size_t>(i)]);
        sample.classes.emplace_back(options.class_names[v], row[v]);
      }
      samples_.push_back(std::move(sample));
    }
  }
  if (options.teacher == nullptr) samples_.insert(samples_.end(), chunk.samples.begin(), chunk.samples.end());
}

GridCache::GridCache(const Options& options) {
  grids_.resize(options.grids.has_flips ? 2 : 1);
  Chunk chunk;
  std::vector<Tensor> pictures;
  bool is_first = true;
  // Returns true when everything was read from the file.
  const auto flush = [&] {
    chunk.pixels = Tensor::Empty(pictures[0].shape().Inserted(0, static_cast<int64_t>(pictures.size())));
    for (size_t i = 0; i < pictures.size(); ++i) {
      Require(pictures[i].shape() == pictures[0].shape(),
              "[train] the preparation leaves pictures of different sizes; hint: "
              "data.image_size");
      std::memcpy(chunk.pixels.mutable_raw() + static_cast<int64_t>(i) * pictures[i].size_bytes(), pictures[i].raw(),
                  static_cast<size_t>(pictures[i].size_bytes()));
    }
    if (std::exchange(is_first, false) && Load(options, chunk)) return true;
    const size_t before = samples_.size();
    Compute(options, chunk);
    if (options.on_note && before / kNoteEvery != samples_.size() / kNoteEvery)
      options.on_note(base::StrCat("grids of ", samples_.size(), " pictures"));
    chunk.samples.clear();
    pictures.clear();
    return false;
  };
  for (const std::string& path : options.filter.paths) {
    SampleRef ref{.set = OpenSamples(path)};
    for (ref.index = 0; ref.index < ref.set->size(); ++ref.index) {
      const bool is_accepted = Accepts(options.filter, ref);
      std::vector<Question> questions = QuestionsOf(options.filter, *ref.set, ref.index);
      if (!is_accepted && questions.empty()) continue;
      try {
        pictures.push_back(media::Preprocess(ref.set->Picture(ref.index), options.preprocess));
      } catch (const Error& error) {
        if (options.on_note) options.on_note(ref.set->Key(ref.index) + ": " + error.message());
        continue;
      }
      chunk.samples.push_back({.key = ref.set->Key(ref.index),
                               .captions = is_accepted ? ref.set->Captions(ref.index) : std::vector<std::string>(),
                               .questions = std::move(questions),
                               .classes = {}});
      if (static_cast<int64_t>(pictures.size()) == kChunk && flush()) return;
    }
  }
  if (!pictures.empty() && flush()) return;
  Require(!samples_.empty(), "[train] no sample in ", base::Join(options.filter.paths), " can be used for this task");
  Save(options);
}

// ---- the file: "grid.<view>.<chunk>" f16, "classes" and "captions" as JSON lines in the metadata would be large, so
// the samples are kept as bytes of text.

std::string GridCache::Fingerprint(const Options& options) const {
  base::ContentHasher hasher;
  for (const std::string& path : options.filter.paths) {
    std::error_code ignored;
    hasher.Add(path).Add(std::to_string(std::filesystem::file_size(path, ignored)));
  }
  return hasher.Add(options.preprocess.ToString())
      .Add(base::StrCat(options.filter.validation_share, " ", options.filter.needs_caption, " ", options.grids.blocks,
                        " ", options.grids.has_flips, " ", options.teacher != nullptr, " ",
                        options.filter.takes_questions, " ", options.filter.question_validation_share))
      .Hex();
}

void GridCache::Save(const Options& options) const {
  if (options.grids.file.empty()) return;
  std::vector<NamedTensor> tensors;
  for (size_t view = 0; view < grids_.size(); ++view) {
    for (size_t i = 0; i < grids_[view].size(); ++i)
      tensors.push_back({base::StrCat("grid.", view, ".", i), grids_[view][i]});
  }
  std::string text;  // key, captions, questions and classes, apart by bytes that no text holds
  for (const Sample& sample : samples_) {
    text += sample.key;
    for (const std::string& caption : sample.captions) text += "\x02" + caption;
    for (const Question& question : sample.questions) {
      text += "\x02\x05" + question.text;
      for (const std::string& answer : question.answers) text += "\x05" + answer;
    }
    for (const auto& [name, probability] : sample.classes) text += base::StrCat("\x03", name, "\x04", probability);
    text += "\x01";
  }
  Tensor bytes = Tensor::Empty({static_cast<int64_t>(text.size())}, DType::kU8);
  std::memcpy(bytes.mutable_raw(), text.data(), text.size());
  tensors.push_back({"samples", bytes});
  formats::WriteSafetensors(options.grids.file, tensors,
                            {{"fovea", "grid-cache-2"}, {"made_of", Fingerprint(options)}});
}

bool GridCache::Load(const Options& options, const Chunk& first) {
  std::error_code ignored;
  if (options.grids.file.empty() || !std::filesystem::exists(options.grids.file, ignored)) return false;
  const auto file = formats::SafetensorsFile::Open(options.grids.file);
  const auto found = file.metadata().find("made_of");
  if (found == file.metadata().end() || found->second != Fingerprint(options) || !file.Has("grid.0.0")) return false;
  const Tensor now = options.model->EncodeTrunk(first.pixels, options.grids.blocks);  // [B,P,Q,C]
  const Tensor then = file.Get("grid.0.0").To(DType::kF32);
  if (then.shape() != now.shape() || LargestDifference(then, now) > 0.05) return false;
  const Tensor bytes = file.Get("samples");
  const std::string text(reinterpret_cast<const char*>(bytes.raw()), static_cast<size_t>(bytes.numel()));
  for (const std::string& line : base::Split(text, '\x01')) {
    if (line.empty()) continue;
    std::vector<std::string> parts = base::Split(line, '\x03');
    std::vector<std::string> captions = base::Split(parts[0], '\x02');
    Sample sample{.key = captions[0], .captions = {}, .questions = {}, .classes = {}};
    for (size_t i = 1; i < captions.size(); ++i) {
      if (!captions[i].starts_with('\x05')) {
        sample.captions.push_back(std::move(captions[i]));
        continue;
      }
      const std::vector<std::string> question = base::Split(captions[i], '\x05');  // "", the question, its answers
      Require(question.size() >= 3, "[train] ", options.grids.file, " is damaged; hint: delete it");
      sample.questions.push_back({question[1], {question.begin() + 2, question.end()}});
    }
    for (size_t i = 1; i < parts.size(); ++i) {
      const std::vector<std::string> pair = base::Split(parts[i], '\x04');
      Require(pair.size() == 2, "[train] ", options.grids.file, " is damaged; hint: delete it");
      sample.classes.emplace_back(pair[0], std::strtof(pair[1].c_str(), nullptr));
    }
    samples_.push_back(std::move(sample));
  }
  const auto chunks = (static_cast<int64_t>(samples_.size()) + kChunk - 1) / kChunk;
  for (size_t view = 0; view < grids_.size(); ++view) {
    for (int64_t i = 0; i < chunks; ++i) grids_[view].push_back(file.Get(base::StrCat("grid.", view, ".", i)).Clone());
  }
  if (options.on_note)
    options.on_note(base::StrCat("grids of ", samples_.size(), " pictures from ", options.grids.file));
  return true;
}

// ---- batches

GridBatches::GridBatches(const GridCache& cache, Options options, const DataPosition& start)
    : cache_(cache), options_(std::move(options)), position_(start), order_(cache.samples().size()) {
  Shuffle();
}

void GridBatches::Shuffle() {
  std::iota(order_.begin(), order_.end(), 0);
  Random random(MixSeeds(options_.seed, static_cast<uint64_t>(position_.epoch)));
  for (size_t i = order_.size(); i > 1; --i)
    std::swap(order_[i - 1], order_[static_cast<size_t>(random.Below(static_cast<int64_t>(i)))]);
}

// Different ones, beginning anywhere.
void GridBatches::AddTexts(const GridCache::Sample& sample, Random& random, Batch& batch) const {
  const auto picture = static_cast<int64_t>(batch.keys.size()) - 1;
  const auto draw = [&](size_t count, int64_t most, const auto& add) {
    if (count == 0) return;
    const auto first = static_cast<size_t>(random.Below(static_cast<int64_t>(count)));
    for (size_t i = 0; i < std::min(count, static_cast<size_t>(most)); ++i) add((first + i) % count);
  };
  draw(sample.captions.size(), options_.captions_per_picture, [&](size_t which) {
    std::string caption = sample.captions[which];
    while (!options_.keeps_end_marks && caption.ends_with('.')) {
      caption.pop_back();
      caption.resize(caption.find_last_not_of(' ') + 1);
    }
    batch.texts.push_back({.picture = picture, .prompt = "", .target = std::move(caption)});
  });
  draw(sample.questions.size(), options_.questions.per_picture, [&](size_t which) {
    const Question& question = sample.questions[which];
    const auto answer = static_cast<size_t>(random.Below(static_cast<int64_t>(question.answers.size())));
    batch.texts.push_back({.picture = picture,
                           .prompt = Prompt(options_.questions.prompt, question.text) + " ",
                           .target = question.answers[answer]});
  });
}

void GridBatches::AddCaptions(const GridCache::Sample& sample, Random& random, Batch& batch) const {
  const auto captions = static_cast<int64_t>(sample.captions.size());
  const int64_t first = captions > 0 ? random.Below(captions) : 0;
  const WeakLabelRecipe& weak = options_.weak_labels;
  for (size_t set = 0; set < batch.caption_sets.size(); ++set) {
    // The first caption is a real one where there is any.
    const bool is_sure = !sample.classes.empty() && sample.classes[0].second >= weak.least_probability;
    const bool takes_class =
        !sample.classes.empty() && (captions == 0 || (set > 0 && is_sure && random.Uniform() < weak.share));
    if (!takes_class) {
      const auto which = static_cast<size_t>((first + static_cast<int64_t>(set)) % captions);
      batch.caption_sets[set].push_back(sample.captions[which]);
      continue;
    }
    float sum = 0;
    for (const auto& [name, probability] : sample.classes) sum += probability;
    auto rest = static_cast<float>(random.Uniform()) * sum;
    size_t which = 0;
    while (which + 1 < sample.classes.size() && rest >= sample.classes[which].second)
      rest -= sample.classes[which++].second;
    const auto prompt = static_cast<size_t>(random.Below(static_cast<int64_t>(weak.prompts.size())));
    batch.caption_sets[set].push_back(Prompt(weak.prompts[prompt], sample.classes[which].first));
  }
}

bool GridBatches::Next(int64_t size, Batch& batch) {
  batch = {};
  const Shape shape = cache_.Grid(0, 0).shape();  // [P,Q,C]
  const int64_t P = shape[0], Q = shape[1], C = shape[2];
  Random common(MixSeeds(MixSeeds(options_.seed + 3, static_cast<uint64_t>(position_.epoch)),
                         static_cast<uint64_t>(position_.taken)));
  const GridRecipe& cache = options_.grids;
  const int64_t side =
      cache.crop_high > 0 ? cache.crop_low + 2 * common.Below((cache.crop_high - cache.crop_low) / 2 + 1) : P;
  const int64_t rows = std::min(P, side), columns = std::min(Q, side);
  Tensor grids = Tensor::Empty({size, rows, columns, C}, DType::kF16);
  if (!options_.has_texts) batch.caption_sets.resize(static_cast<size_t>(options_.captions_per_picture));
  for (int64_t b = 0; b < size; ++b) {
    if (position_.taken == static_cast<int64_t>(order_.size())) {
      position_ = {.epoch = position_.epoch + 1, .taken = 0};
      Shuffle();
    }
    const int64_t index = order_[static_cast<size_t>(position_.taken++)];
    Random random(MixSeeds(MixSeeds(options_.seed + 1, static_cast<uint64_t>(position_.epoch)),
                           static_cast<uint64_t>(position_.taken)));
    const Tensor grid = cache_.Grid(random.Below(cache_.views()), index);
    const int64_t top = random.Below(P - rows + 1), left = random.Below(Q - columns + 1);
    const int64_t item = ItemSize(DType::kF16);
    for (int64_t y = 0; y < rows; ++y) {
      std::memcpy(grids.mutable_raw() + ((b * rows + y) * columns) * C * item,
                  grid.raw() + ((top + y) * Q + left) * C * item, static_cast<size_t>(columns * C * item));
    }
    const GridCache::Sample& sample = cache_.samples()[static_cast<size_t>(index)];
    batch.keys.push_back(sample.key);
    if (options_.has_texts) {
      batch.all_captions.push_back(sample.captions);
      AddTexts(sample, random, batch);
    } else {
      AddCaptions(sample, random, batch);
    }
  }
  batch.grids = grids.To(DType::kF32);
  return true;
}

}  // namespace fovea::train
