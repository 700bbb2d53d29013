// The training loop: data in, steps, log lines, validation, checkpoints, a model folder out.
//
// Everything that a step depends on is in the checkpoint or computed from the step number, so a run that was killed
// continues bit for bit. Nothing here knows what is trained: that is the Objective's.
//
// Several processes (processes.h) run the same loop, each on its rows of every batch; after the gradients are summed
// they all do the same. The first one alone logs, validates and writes.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "fovea/train.h"
#include "kernels/matmul/matmul.h"
#include "runtime/loaded_model.h"
#include "runtime/model_folder.h"
#include "train/checkpoint.h"
#include "train/data/grid_cache.h"
#include "train/objective.h"
#include "train/report.h"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr size_t kKeysShown = 8;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The classes that the recipe names, or those of the data: the model's own where they suffice, so that its head stays.
std::vector<std::string> ChooseClasses(const Recipe& recipe, const SampleFilter& filter) {
  if (!recipe.classes.empty()) return recipe.classes;
  std::vector<std::pair<int64_t, std::string>> found;
  for (const auto& [name, count] : CountLabels(filter)) found.emplace_back(-count, name);
  Require(!found.empty(), "[train] no sample in ", base::Join(filter.paths), " has a class",
          recipe.label_field.empty() ? "; hint: data.label names the field of the JSON files that holds it" : "");
  std::sort(found.begin(), found.end());
  if (recipe.top_classes > 0 && static_cast<size_t>(recipe.top_classes) < found.size())
    found.resize(static_cast<size_t>(recipe.top_classes));
  std::vector<std::string> names;
  for (const auto& [count, name] : found) names.push_back(name);
  const std::vector<std::string> own = ModelClasses(recipe);
  const auto is_own = [&](const std::string& name) { return std::ranges::find(own, name) != own.end(); };
  if (std::ranges::all_of(names, is_own)) return own;
  std::sort(names.begin(), names.end());
  return names;
}

class Run {
 public:
  Run(const Recipe& recipe, const TrainOptions& options) : recipe_(recipe), options_(options) {}

  TrainReport Execute() {
    Prepare();
    const auto start = Clock::now();
    const std::unique_ptr<BatchSource> source = TrainingBatches();
    BatchSource& loader = *source;
    const int64_t first_step = state_.step;
    double paused = 0;  // in validation, which is no training
    while (state_.step < total_steps_ && !report_.interrupted) {
      Batch batch;
      loader.Next(recipe_.batch_size / processes_.size(), batch);
      Step(batch);
      state_.position = loader.position();
      const auto step_end = Clock::now();
      const double seconds = SecondsSince(start) - paused;
      const double rate = static_cast<double>((state_.step - first_step) * recipe_.batch_size) / seconds;
      report_.wait_share = loader.seconds_waited() / seconds;
      TrainProgress progress{.step = state_.step, .total_steps = total_steps_, .samples_per_second = rate};
      progress.seconds_left = static_cast<double>((total_steps_ - state_.step) * recipe_.batch_size) / rate;
      if (state_.step % recipe_.log_every == 0 || state_.step == total_steps_)
        progress.metrics = Log(rate, report_.wait_share);
      Show(progress);
      const bool is_last = state_.step == total_steps_;
      if (has_validation_ && (state_.step % validate_every_ == 0 || is_last)) {
        if (processes_.is_first()) progress.metrics = Validate();
        Show(progress);
      }
      report_.interrupted = IsCancelled() && !is_last;
      if (state_.step % recipe_.checkpoint_every == 0 || is_last || report_.interrupted) SaveAndPrune();
      paused += SecondsSince(step_end);
    }
    if (processes_.is_first()) {
      if (!report_.interrupted) Finish();
      WriteReport();
    }
    report_.steps = state_.step;
    report_.seconds = SecondsSince(start);
    report_.process = processes_.rank();
    processes_.Finish();
    return report_;
  }

 private:
  std::string CheckpointFile() const { return recipe_.output + "/checkpoint.safetensors"; }
  std::string MetricsFile() const { return recipe_.output + "/metrics.jsonl"; }
  std::string BestFolder(int64_t step) const { return recipe_.output + "/best/step-" + std::to_string(step); }
  void Note(const std::string& text) const {
    if (options_.on_note && processes_.is_first()) options_.on_note(text);
  }
  void Show(const TrainProgress& progress) const {
    if (options_.on_progress && processes_.is_first()) options_.on_progress(progress);
  }
  // Asked in every process: all stop after the same step.
  bool IsCancelled() const {
    std::vector<double> cancelled = {options_.cancel != nullptr && *options_.cancel ? 1.0 : 0.0};
    processes_.Sum(cancelled);
    return cancelled[0] > 0;
  }

  void Prepare() {
    Require(recipe_.batch_size % processes_.size() == 0, "[train] expected a batch_size that ", processes_.size(),
            " processes can share evenly, got ", recipe_.batch_size);
    if (recipe_.computes_bf16 && !kernels::MultipliesBf16()) {
      Fail(ErrorCode::kUnimplemented,
           "[train] precision bf16: this CPU does not multiply bf16 itself (AVX512-BF16 or AMX), so it would only be "
           "slower; hint: precision f32");
    }
    CheckOutput();
    processes_.Barrier();
    train_filter_ = {.paths = recipe_.train_paths,
                     .label_field = recipe_.label_field,
                     .needs_label = recipe_.task == Task::kClassify,
                     .needs_caption = recipe_.task != Task::kClassify && recipe_.task != Task::kDistill &&
                                      recipe_.weak_labels.model.empty(),
                     .target_field = recipe_.target_field,
                     .prompt = recipe_.prompt,
                     .prompt_field = recipe_.prompt_field,
                     .validation_share = recipe_.validation_share,
                     .takes_questions = recipe_.questions.per_picture > 0,
                     .question_validation_share = recipe_.questions.validation_share};
    std::vector<std::string> classes;
    if (train_filter_.needs_label) {
      classes = ChooseClasses(recipe_, train_filter_);
      for (size_t i = 0; i < classes.size(); ++i) train_filter_.classes[classes[i]] = static_cast<int64_t>(i);
    }
    network_ = BuildNetwork(recipe_, classes);
    objective_ = MakeObjective(recipe_, network_, processes_);
    trainable_ = std::make_unique<Trainable>(*network_.model, recipe_, network_.head);
    trainable_->Refresh();
    if (recipe_.caches_towers) {
      objective_->CacheFeatures({.folder = recipe_.output + "/features",
                                 .loader = TrainingLoader(),
                                 .is_writer = processes_.is_first(),
                                 .barrier = [this] { processes_.Barrier(); },
                                 .on_note = [this](const std::string& text) { Note(text); }},
                                *trainable_);
    }
    if (recipe_.grids.blocks > 0) BuildGrids();
    const int64_t samples =
        grids_ != nullptr ? static_cast<int64_t>(grids_->samples().size()) : CountSamples(train_filter_);
    Require(samples > 0, "[train] no sample in ", base::Join(recipe_.train_paths), " can be used for this task");
    const double steps_an_epoch = static_cast<double>(samples) / static_cast<double>(recipe_.batch_size);
    total_steps_ = recipe_.steps > 0
                       ? recipe_.steps
                       : std::max<int64_t>(1, static_cast<int64_t>(std::ceil(recipe_.epochs * steps_an_epoch)));
    validate_every_ = recipe_.validate_every > 0
                          ? recipe_.validate_every
                          : std::max<int64_t>(1, static_cast<int64_t>(std::ceil(steps_an_epoch)));
    has_validation_ = !recipe_.validation_paths.empty() || recipe_.validation_share > 0;
    report_.folder = recipe_.output;
    report_.metric = has_validation_ ? objective_->metric() : "";
    if (recipe_.ema_decay > 0) {
      // What is frozen needs no average; statistics move unless they are frozen, too.
      std::set<std::string> moving;
      for (const Slot& slot : trainable_->slots()) moving.insert(slot.name);
      const bool has_all = recipe_.lora.rank > 0 || !recipe_.has_frozen_statistics;
      for (const auto& [name, value] : Values(*network_.model)) {
        if (value.dtype() == DType::kF32 && (has_all || moving.contains(name)))
          state_.averages.emplace(name, value.Clone());
      }
    }
    if (processes_.size() > 1) Note(base::StrCat(processes_.size(), " processes share every batch"));
    Note(base::StrCat(samples, " samples", classes.empty() ? "" : base::StrCat(" of ", classes.size(), " classes"),
                      ", ", total_steps_, " steps of ", recipe_.batch_size,
                      network_.fresh.empty() ? "" : "; starting from random numbers: " + Shown(network_.fresh)));
    Resume();
  }

  static std::string Shown(const std::vector<std::string>& names) {
    const std::span<const std::string> first(names.data(), std::min(names.size(), kKeysShown));
    return base::Join(first) +
           (names.size() > kKeysShown ? base::StrCat(" and ", names.size() - kKeysShown, " more") : "");
  }

  void CheckOutput() const {
    std::error_code error;
    const bool is_used = fs::exists(MetricsFile(), error) || fs::exists(CheckpointFile(), error);
    Require(options_.resume || !is_used, "[train] ", base::PrintableUtf8(recipe_.output),
            " already holds a run; hint: --resume goes on with it, another output starts a new one");
    Require(!fs::exists(recipe_.output + "/config.json", error) || is_used, "[train] ",
            base::PrintableUtf8(recipe_.output), " holds a model that is no training run; hint: give another output");
    fs::create_directories(recipe_.output, error);
    if (error)
      Fail(ErrorCode::kIo, "[train] cannot create ", base::PrintableUtf8(recipe_.output), ": ", error.message());
  }

  void Resume() {
    std::string kept;
    if (options_.resume && fs::exists(CheckpointFile())) {
      LoadCheckpoint(CheckpointFile(), recipe_.text, state_, *trainable_);
      TakeOwnPosition();
      Note(base::StrCat("resumed after step ", state_.step));
      // What was logged after the checkpoint will be logged again.
      std::error_code ignored;
      if (fs::exists(MetricsFile(), ignored)) {
        for (const std::string& line : base::Split(base::ReadTextFile(MetricsFile(), int64_t{1} << 30), '\n')) {
          const auto object = nlohmann::json::parse(line, nullptr, false);
          if (object.is_object() && object.value("step", int64_t{-1}) <= state_.step) kept += line + "\n";
        }
      }
    }
    metrics_ = kept;
    processes_.Barrier();  // all have read
    if (!processes_.is_first()) return;
    base::WriteTextFileAtomically(MetricsFile(), metrics_);
    base::WriteTextFileAtomically(recipe_.output + "/recipe.json", nlohmann::json::parse(recipe_.text).dump(2) + "\n");
  }

  // Each process has its own place in the data: they differ once a picture cannot be read.
  void TakeOwnPosition() {
    const auto count = static_cast<int64_t>(state_.positions.size());
    Require(count == processes_.size(), "[train] the checkpoint was made by ", count, " processes, now there are ",
            processes_.size(), "; hint: resume with as many");
    state_.position = state_.positions[static_cast<size_t>(processes_.rank())];
  }
  void GatherPositions() {
    const auto size = static_cast<size_t>(processes_.size()), rank = static_cast<size_t>(processes_.rank());
    std::vector<double> places(2 * size);
    places[2 * rank] = static_cast<double>(state_.position.epoch);
    places[2 * rank + 1] = static_cast<double>(state_.position.taken);
    processes_.Sum(places);
    state_.positions.clear();
    for (size_t i = 0; i < size; ++i) {
      state_.positions.push_back(
          {.epoch = static_cast<int64_t>(places[2 * i]), .taken = static_cast<int64_t>(places[2 * i + 1])});
    }
  }

  LoaderOptions TrainingLoader() const {
    const int threads =
        recipe_.loader_threads > 0 ? static_cast<int>(recipe_.loader_threads) : std::max(1, base::MaxThreads() / 2);
    return {.filter = train_filter_,
            .preprocess = network_.preprocess,
            .augment = recipe_.augment,
            .shuffle_buffer = recipe_.shuffle_buffer,
            .seed = recipe_.seed,
            .threads = threads,
            .ahead = 2 * recipe_.batch_size,
            .on_failure = [this](const std::string& key, const std::string& reason) { Note(key + ": " + reason); }};
  }

  // Whatever stands in front of the grids must stay as it is.
  void CheckFrozen(const models::Model& model) const {
    Tape tape({.is_training = false});
    trainable_->Bind(tape);
    const int64_t side = 64;
    const Tensor grid = model.EncodeTrunk(Tensor::Zeros({1, side, side, 3}), recipe_.grids.blocks);
    Require(!tape.IsTracked(grid) && recipe_.has_frozen_statistics, "[train] data.cache_grids keeps what the first ",
            recipe_.grids.blocks,
            " blocks of the picture tower give, so these must be frozen; hint: a group with \"frozen\": true whose "
            "\"match\" lists them, and \"frozen_statistics\": true");
  }

  void BuildGrids() {
    const models::Model& model = *network_.model;
    if (processes_.size() > 1)
      Fail(ErrorCode::kUnimplemented, "[train] data.cache_grids is not shared among processes; hint: run one");
    Require(recipe_.grids.blocks <= model.TrunkBlocks(), "[train] expected data.cache_grids.blocks of at most ",
            model.TrunkBlocks(), ", which is what the picture tower of ", recipe_.model, " has, got ",
            recipe_.grids.blocks);
    CheckFrozen(model);
    GridCache::Options options{.filter = train_filter_,
                               .preprocess = network_.preprocess,
                               .grids = recipe_.grids,
                               .weak_labels = recipe_.weak_labels,
                               .model = &model,
                               .teacher = nullptr,
                               .class_names = {},
                               .on_note = [this](const std::string& note) { Note(note); }};
    std::shared_ptr<const runtime::LoadedModel> teacher;
    if (!recipe_.weak_labels.model.empty()) {
      teacher =
          runtime::LoadedModel::Load(runtime::ResolveModelFolder(recipe_.weak_labels.model), recipe_.weak_labels.model);
      Require(teacher->network().TrunkBlocks() >= recipe_.grids.blocks && !teacher->class_names().empty(),
              "[train] expected weak_labels.model to be a classifier with the picture tower of the trained model");
      options.teacher = &teacher->network();
      options.class_names = teacher->class_names();
    }
    grids_ = std::make_unique<GridCache>(options);
  }

  std::unique_ptr<BatchSource> TrainingBatches() const {
    if (grids_ == nullptr) {
      LoaderOptions options = TrainingLoader();
      options.needs_pixels = objective_->NeedsPixels();
      options.process = processes_.rank();
      options.processes = processes_.size();
      return std::make_unique<Loader>(std::move(options), state_.position);
    }
    return std::make_unique<GridBatches>(*grids_,
                                         GridBatches::Options{.grids = recipe_.grids,
                                                              .weak_labels = recipe_.weak_labels,
                                                              .captions_per_picture = recipe_.captions_per_picture,
                                                              .has_texts = recipe_.task == Task::kCaption,
                                                              .questions = recipe_.questions,
                                                              .keeps_end_marks = recipe_.keeps_end_marks,
                                                              .seed = recipe_.seed},
                                         state_.position);
  }

  void Step(const Batch& batch) {
    const double rate =
        recipe_.optimizer.learning_rate * LearningRateFactor(recipe_.schedule, state_.step, total_steps_);
    trainable_->DropGradients();
    std::vector<double> sum = {
        objective_->Accumulate(batch, *trainable_, MixSeeds(recipe_.seed + 2, static_cast<uint64_t>(state_.step)))};
    processes_.Sum(sum);
    const double loss = sum[0];
    processes_.SumGradients(trainable_->slots());
    const double limit = recipe_.clip_norm > 0 ? recipe_.clip_norm : INFINITY;
    const double norm = ClipGradients(limit, trainable_->slots());
    if (!std::isfinite(loss) || !std::isfinite(norm)) FailDiverged(batch, "is no longer finite", loss);
    OptimizerStep(recipe_.optimizer, rate, trainable_->slots());
    trainable_->Refresh();
    ++state_.step;
    if (!state_.averages.empty()) {
      const double decay = EmaDecay(recipe_.ema_decay, state_.step);
      for (const auto& [name, value] : Values(*network_.model)) {
        const auto average = state_.averages.find(name);
        if (average != state_.averages.end()) MoveAverage(value, decay, average->second);
      }
    }
    state_.window_loss += loss;
    state_.window_norm += norm;
    ++state_.window_steps;
    rate_ = rate;
    if (state_.first_loss > 0 && loss > std::max(10 * state_.first_loss, state_.first_loss + 20))
      FailDiverged(batch, "has grown to more than ten times what it was at first", loss);
  }

  [[noreturn]] void FailDiverged(const Batch& batch, const char* what, double loss) {
    if (processes_.is_first()) WriteReport();
    Fail(ErrorCode::kInvalidArgument, "[train] the loss ", what, " (", loss, ") at step ", state_.step,
         ", batch: ", Shown(batch.keys),
         "; hint: lower optimizer.learning_rate, add schedule.warmup_steps or clip_norm, and look at these pictures; "
         "the "
         "last checkpoint is still there");
  }

  std::string Append(const Json& line) {
    const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (!processes_.is_first()) return text;
    metrics_ += text + "\n";
    std::ofstream file(MetricsFile(), std::ios::app);
    if (!(file << text << std::endl)) Fail(ErrorCode::kIo, "[train] cannot write ", base::PrintableUtf8(MetricsFile()));
    return text;
  }

  std::string Log(double samples_per_second, double wait_share) {
    const double steps = static_cast<double>(std::max<int64_t>(1, state_.window_steps));
    const double loss = state_.window_loss / steps;
    if (state_.first_loss == 0) state_.first_loss = loss;
    const std::string text = Append({{"step", state_.step},
                                     {"epoch", state_.position.epoch},
                                     {"loss", loss},
                                     {"learning_rate", rate_},
                                     {"gradient_norm", state_.window_norm / steps},
                                     {"samples_per_second", std::round(samples_per_second * 100) / 100},
                                     {"wait_share", std::round(wait_share * 1e4) / 1e4}});
    state_.window_loss = state_.window_norm = 0;
    state_.window_steps = 0;
    return text;
  }

  // Gives the network its averaged weights, when there are some, for the time of `function`.
  template <typename Function>
  void WithAverages(Function&& function) {
    const std::map<std::string, Tensor> own = Values(*network_.model);
    const auto assign = [&](const std::map<std::string, Tensor>& values) {
      nn::ForEachParameter(*network_.model, [&](const std::string& path, nn::Parameter& parameter) {
        const auto found = values.find(path);
        if (found != values.end()) parameter.Assign(found->second);
      });
    };
    if (!state_.averages.empty()) assign(state_.averages);
    function();
    if (!state_.averages.empty()) assign(own);
  }

  std::string Validate() {
    Json metrics = Json::object();
    WithAverages([&] {
      LoaderOptions options = TrainingLoader();
      options.augment.is_on = false;
      options.filter.needs_caption = recipe_.task != Task::kClassify && recipe_.task != Task::kDistill;
      options.shuffle_buffer = 0;
      options.is_endless = false;
      options.takes_all_captions = recipe_.task == Task::kContrastive || recipe_.self_critical.samples > 0;
      options.needs_pixels = recipe_.task != Task::kLanguage;
      if (recipe_.validation_paths.empty()) {
        options.filter.takes_validation = true;
      } else {
        options.filter.paths = recipe_.validation_paths;
      }
      Loader loader(std::move(options), {});
      const double score = objective_->Validate(loader, metrics);
      KeepIfBest(score);
    });
    return Append({{"step", state_.step}, {"validation", metrics}});
  }

  void KeepIfBest(double score) {
    std::vector<BestModel>& best = state_.best;
    const auto place = std::ranges::find_if(best, [&](const BestModel& model) { return model.score < score; });
    if (place - best.begin() >= recipe_.keep_best) return;
    best.insert(place, {.score = score, .step = state_.step});
    WriteModelFolder(network_, Values(*network_.model), BestFolder(state_.step), Card());
    if (static_cast<int64_t>(best.size()) > recipe_.keep_best) best.pop_back();
  }

  // A folder that is no longer among the best goes only now that no checkpoint counts on it.
  void SaveAndPrune() {
    GatherPositions();
    if (!processes_.is_first()) return;
    SaveCheckpoint(CheckpointFile(), recipe_.text, state_, *trainable_);
    std::error_code ignored;
    std::vector<fs::path> dropped;
    for (const auto& folder : fs::directory_iterator(recipe_.output + "/best", ignored)) {
      const auto is_this = [&](const BestModel& model) { return folder.path() == fs::path(BestFolder(model.step)); };
      if (std::ranges::none_of(state_.best, is_this)) dropped.push_back(folder.path());
    }
    for (const fs::path& folder : dropped) fs::remove_all(folder, ignored);
  }

  std::string Card() const {
    std::string card = "---\n";
    if (const std::string licence = runtime::CardLicence(network_.base_folder); !licence.empty())
      card += "license: " + licence + "\n";
    card += "base_model: " + recipe_.model + "\n---\n\nTrained with `fovea train`; recipe.json says how.\n";
    return card;
  }

  // The output folder becomes the best model, or the last one when nothing was validated.
  void Finish() {
    if (!state_.best.empty()) {
      report_.best = state_.best[0].score;
      report_.best_step = state_.best[0].step;
      std::error_code error;
      for (const auto& file : fs::directory_iterator(BestFolder(report_.best_step), error)) {
        const std::string target = recipe_.output + "/" + file.path().filename().string();
        fs::copy_file(file.path(), target + ".partial", fs::copy_options::overwrite_existing, error);
        if (!error) fs::rename(target + ".partial", target, error);
        if (error) Fail(ErrorCode::kIo, "[train] cannot write ", base::PrintableUtf8(target), ": ", error.message());
      }
      if (error) Fail(ErrorCode::kIo, "[train] cannot read ", BestFolder(report_.best_step), ": ", error.message());
      return;
    }
    WithAverages([&] { WriteModelFolder(network_, Values(*network_.model), recipe_.output, Card()); });
  }

  void WriteReport() const {
    base::WriteTextFileAtomically(recipe_.output + "/report.html",
                                  ReportHtml("Training of " + fs::path(recipe_.output).filename().string(), metrics_,
                                             objective_ ? objective_->ExamplesHtml() : ""));
  }

  const Recipe& recipe_;
  const TrainOptions& options_;
  const Processes processes_;
  SampleFilter train_filter_;
  Network network_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<Trainable> trainable_;
  std::unique_ptr<GridCache> grids_;
  RunState state_;
  TrainReport report_;
  std::string metrics_;  // the content of metrics.jsonl
  int64_t total_steps_ = 0, validate_every_ = 0;
  bool has_validation_ = false;
  double rate_ = 0;
};

}  // namespace
}  // namespace fovea::train

namespace fovea {

TrainReport Train(const std::string& recipe_file, const TrainOptions& options) {
  const train::Recipe recipe = train::ReadRecipe(recipe_file, options.overrides);
  return train::Run(recipe, options).Execute();
}

}  // namespace fovea
