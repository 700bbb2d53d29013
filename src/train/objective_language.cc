// A decoder learns texts (task language), or what is said of pictures (task caption).
//
// The parts of a batch are weighted by how many tokens they teach, so that parts and processes add up to the loss of
// the whole batch.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "nn/pictures.h"
#include "ops/shape.h"
#include "runtime/text_encoder.h"
#include "train/language.h"
#include "train/objective_parts.h"
#include "train/self_critical.h"

namespace fovea::train {
namespace {

class Language final : public Objective {
 public:
  Language(const Recipe& recipe, const Network& network, const Processes& processes)
      : recipe_(recipe),
        network_(network),
        processes_(processes),
        texts_(network.base_folder, network.config.Require<std::string>("model_type")),
        sees_pictures_(recipe.task == Task::kCaption) {
    if (recipe.self_critical.samples == 0) return;
    const SampleFilter filter{
        .paths = recipe.train_paths, .needs_caption = true, .validation_share = recipe.validation_share};
    std::vector<std::vector<std::string>> corpus;
    for (const std::string& path : filter.paths) {
      SampleRef ref{.set = OpenSamples(path)};
      for (ref.index = 0; ref.index < ref.set->size(); ++ref.index) {
        if (Accepts(filter, ref)) corpus.push_back(ref.set->Captions(ref.index));
      }
    }
    Require(!corpus.empty(), "[train] loss.self_critical needs pictures with captions");
    reward_.emplace(corpus);
  }

  double Accumulate(const Batch& batch, Trainable& trainable, uint64_t seed) const override {
    if (batch.grids.defined()) return AccumulateGrids(batch, trainable, seed);
    const auto rows = static_cast<int64_t>(batch.keys.size());
    std::vector<double> learnt = {static_cast<double>(Prepare(batch, 0, rows).learnt)};
    processes_.Sum(learnt);
    const int64_t part = recipe_.micro_batch_size > 0 ? std::min(recipe_.micro_batch_size, rows) : rows;
    double sum = 0;
    for (int64_t begin = 0; begin < rows; begin += part) {
      const int64_t end = std::min(rows, begin + part);
      const LanguageInputs inputs = Prepare(batch, begin, end);
      Tape tape(StepOptions(recipe_, processes_, seed, begin));
      trainable.Bind(tape);
      const Tensor loss = Loss(inputs, sees_pictures_ ? RowsOf(batch.pixels, begin, end) : Tensor(),
                               static_cast<float>(recipe_.label_smoothing)) *
                          static_cast<float>(static_cast<double>(inputs.learnt) / learnt[0]);
      RequireRecomputed(recipe_, tape);
      sum += loss.item();
      trainable.Collect(tape.Backward(loss));
    }
    return sum;
  }

  double Validate(Loader& loader, nlohmann::ordered_json& metrics) override {
    double loss = 0;
    int64_t tokens = 0, texts = 0, rewarded = 0;
    double rewards = 0;
    Batch batch;
    while (loader.Next(kValidationBatch, batch)) {
      const auto rows = static_cast<int64_t>(batch.keys.size());
      const LanguageInputs inputs = Prepare(batch, 0, rows);
      loss += Loss(inputs, batch.pixels, 0.0f).item() * static_cast<double>(inputs.learnt);
      tokens += inputs.learnt;
      texts += rows;
      for (const double reward : reward_ ? Rewards(batch) : std::vector<double>()) {
        rewards += reward;
        ++rewarded;
      }
    }
    Require(tokens > 0, "[train] there is no validation text");
    const double mean = loss / static_cast<double>(tokens);
    metrics["n"] = texts;
    metrics["tokens"] = tokens;
    metrics["loss"] = mean;
    metrics["perplexity"] = std::exp(mean);
    if (!reward_) return std::exp(-mean);
    Require(rewarded > 0, "[train] no validation picture has as many captions as loss.self_critical.least_captions");
    metrics["reward"] = rewards / static_cast<double>(rewarded);
    return rewards / static_cast<double>(rewarded);
  }

  std::string metric() const override { return reward_ ? "reward" : "token_probability"; }
  bool NeedsPixels() const override { return sees_pictures_; }

  void CacheFeatures(const TowerCache::Options& /*options*/, Trainable& /*trainable*/) override {
    Fail(ErrorCode::kUnimplemented, "[train] data.cache_features serves the tasks contrastive and distill");
  }

 private:
  // Pictures from a grid cache, each with several texts, which share its one pass through the tower.
  //
  // Two tapes: the picture side computes as in inference (its statistics are frozen), the decoder drops out as its
  // configuration says; the gradient of what it sees goes from the one to the other.
  double AccumulateGrids(const Batch& batch, Trainable& trainable, uint64_t seed) const {
    Tape picture_tape({.is_training = false, .recomputes = recipe_.recomputes, .computes_bf16 = recipe_.computes_bf16});
    trainable.Bind(picture_tape);
    const Tensor grid = network_.model->EncodeFromTrunk(batch.grids, recipe_.grids.blocks).grid;  // [B,P,Q,D]
    Seen seen{.pictures = Reshape(grid, {grid.dim(0), grid.dim(1) * grid.dim(2), grid.dim(3)}),   // [B,N,D]
              .gradient = {}};
    double loss = 0;
    const SelfCriticalRecipe& critical = recipe_.self_critical;
    if (critical.samples > 0) loss += LearnFromOwn(batch, seen, trainable, seed);
    const double weight = critical.samples > 0 ? critical.cross_entropy : 1.0;
    if (weight > 0 && !batch.texts.empty()) loss += LearnTexts(batch.texts, weight, seen, trainable, seed);
    if (seen.gradient.defined()) trainable.Collect(picture_tape.Backward(seen.pictures, seen.gradient));
    return loss;
  }

  // What the decoder sees of a batch, and the gradient of the loss for it.
  struct Seen {
    Tensor pictures, gradient;  // [B,N,D]
  };

  // Adds the gradients of loss(pictures of `rows`) on a tape of its own; returns the loss.
  template <typename Loss>
  double Learn(const std::vector<int64_t>& rows, const Tape::Options& options, Seen& seen, Trainable& trainable,
               Loss&& loss) const {
    const Tensor index =
        Tensor::FromValues<int64_t>({static_cast<int64_t>(rows.size())}, std::span<const int64_t>(rows));
    Tape tape(options);
    trainable.Bind(tape);
    tape.Watch(seen.pictures);
    const Tensor value = loss(IndexSelect(seen.pictures, 0, index));  // []
    const Gradients gradients = tape.Backward(value);
    trainable.Collect(gradients);
    const Tensor own = gradients[seen.pictures];  // [B,N,D]
    seen.gradient = seen.gradient.defined() ? seen.gradient + own : own;
    return value.item();
  }

  // Cross-entropy of captions and answers. They go through the decoder in parts of like length, so that short ones are
  // not padded to the longest.
  double LearnTexts(const std::vector<LearntText>& all, double weight, Seen& seen, Trainable& trainable,
                    uint64_t seed) const {
    std::vector<const LearntText*> texts;
    for (const LearntText& text : all) texts.push_back(&text);
    std::ranges::stable_sort(texts, {}, [](const LearntText* t) { return t->prompt.size() + t->target.size(); });
    std::vector<LanguageInputs> parts;
    double learnt = 0;
    for (size_t begin = 0; begin < texts.size(); begin += kPartTexts) {
      std::vector<std::string> prompts, targets;
      for (size_t i = begin; i < std::min(texts.size(), begin + kPartTexts); ++i) {
        prompts.push_back(texts[i]->prompt);
        targets.push_back(texts[i]->target);
      }
      parts.push_back(PrepareLanguage(network_.model->Decoder(), texts_.tokenizer(), prompts, targets, Limit()));
      learnt += static_cast<double>(parts.back().learnt);
    }
    double sum = 0;
    for (size_t part = 0; part < parts.size(); ++part) {
      std::vector<int64_t> rows;
      for (size_t i = part * kPartTexts; i < std::min(texts.size(), (part + 1) * kPartTexts); ++i)
        rows.push_back(texts[i]->picture);
      Tape::Options options = StepOptions(recipe_, processes_, seed, static_cast<int64_t>(part));
      options.is_training = true;
      const auto share = static_cast<float>(weight * static_cast<double>(parts[part].learnt) / learnt);
      sum += Learn(rows, options, seen, trainable, [&](const Tensor& pictures) {
        return LanguageLoss(*network_.model, parts[part], pictures, static_cast<float>(recipe_.label_smoothing)) *
               share;
      });
    }
    return sum;
  }

  // Self-critical training on the pictures that have captions enough. Returns minus the mean reward. Without dropout,
  // so that what is learnt from is what the model would write.
  double LearnFromOwn(const Batch& batch, Seen& seen, Trainable& trainable, uint64_t seed) const {
    const SelfCriticalRecipe& critical = recipe_.self_critical;
    std::vector<int64_t> written;
    std::vector<std::vector<std::string>> captions;
    for (size_t b = 0; b < batch.all_captions.size(); ++b) {
      if (static_cast<int64_t>(batch.all_captions[b].size()) < critical.least_captions) continue;
      written.push_back(static_cast<int64_t>(b));
      captions.push_back(batch.all_captions[b]);
    }
    if (written.empty()) return 0;
    const auto K = static_cast<size_t>(critical.samples);
    std::vector<SampledText> texts;
    {
      const Tape::Pause pause;
      const Tensor index =
          Tensor::FromValues<int64_t>({static_cast<int64_t>(written.size())}, std::span<const int64_t>(written));
      texts = SampleTexts(*network_.model, IndexSelect(seen.pictures, 0, index),
                          {.samples = critical.samples,
                           .max_tokens = critical.max_tokens,
                           .temperature = critical.temperature,
                           .seed = OwnSeed(seed, processes_)});
    }
    const std::vector<double> rewards = (*reward_)(texts, texts_.tokenizer(), captions);
    const std::vector<double> advantages = Advantages(rewards, critical.samples);
    std::vector<size_t> order(texts.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, {}, [&](size_t i) { return texts[i].ids.size(); });
    const models::DecoderSpec spec = network_.model->Decoder();
    double tokens = 0;
    for (const SampledText& text : texts) tokens += static_cast<double>(text.ids.size()) + (text.has_ended ? 1 : 0);
    for (size_t begin = 0; begin < order.size(); begin += kPartTexts) {
      std::vector<LanguageRow> rows;
      std::vector<int64_t> pictures_of;
      std::vector<double> part_advantages;
      for (size_t i = begin; i < std::min(order.size(), begin + kPartTexts); ++i) {
        const SampledText& text = texts[order[i]];
        LanguageRow row{.ids = {spec.bos}, .first_learnt = 1};
        row.ids.insert(row.ids.end(), text.ids.begin(), text.ids.end());
        if (text.has_ended) row.ids.push_back(spec.eos[0]);
        rows.push_back(std::move(row));
        pictures_of.push_back(written[order[i] / K]);
        part_advantages.push_back(advantages[order[i]]);
      }
      const LanguageInputs inputs = JoinRows(spec, rows);
      const int64_t T = inputs.ids.dim(1);
      Learn(pictures_of, StepOptions(recipe_, processes_, seed, 0), seen, trainable, [&](const Tensor& pictures) {
        const Tensor logits =
            network_.model->Decode(models::JoinPictures(*network_.model, inputs.ids, inputs.mask, pictures)).logits;
        return PolicyLoss(Slice(logits, 1, 0, T - 1), inputs.labels.Sliced(1, 1, T), part_advantages, tokens);
      });
    }
    return -std::accumulate(rewards.begin(), rewards.end(), 0.0) / static_cast<double>(rewards.size());
  }

  // Of the likeliest texts, token by token, about the pictures of a validation batch that have captions enough.
  std::vector<double> Rewards(const Batch& batch) const {
    const std::vector<SampledText> all =
        SampleTexts(*network_.model, network_.model->EmbedImages(batch.pixels),
                    {.samples = 1, .max_tokens = recipe_.self_critical.max_tokens, .temperature = 0});
    std::vector<SampledText> texts;
    std::vector<std::vector<std::string>> captions;
    for (size_t b = 0; b < all.size(); ++b) {
      if (static_cast<int64_t>(batch.all_captions[b].size()) < recipe_.self_critical.least_captions) continue;
      texts.push_back(all[b]);
      captions.push_back(batch.all_captions[b]);
    }
    return texts.empty() ? std::vector<double>() : (*reward_)(texts, texts_.tokenizer(), captions);
  }

  int64_t Limit() const {
    const models::DecoderSpec spec = network_.model->Decoder();
    const int64_t limit = recipe_.max_tokens > 0   ? recipe_.max_tokens
                          : spec.max_positions > 0 ? spec.max_positions
                                                   : kMostTokens;
    return std::min(limit, kMostTokens);
  }

  LanguageInputs Prepare(const Batch& batch, int64_t begin, int64_t end) const {
    const auto part = [&](const std::vector<std::string>& all) {
      return std::span(all).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    };
    return PrepareLanguage(network_.model->Decoder(), texts_.tokenizer(), part(batch.prompts), part(batch.captions),
                           Limit());
  }
  Tensor Loss(const LanguageInputs& inputs, const Tensor& pixels, float label_smoothing) const {
    return LanguageLoss(*network_.model, inputs, sees_pictures_ ? network_.model->EmbedImages(pixels) : Tensor(),
                        label_smoothing);
  }

  static constexpr size_t kPartTexts = 64;      // in one pass of the decoder
  static constexpr int64_t kMostTokens = 1024;  // unless the recipe says so

  const Recipe& recipe_;
  const Network& network_;
  const Processes& processes_;
  runtime::TextEncoder texts_;
  bool sees_pictures_;
  std::optional<CaptionReward> reward_;  // of self-critical training
};

}  // namespace

std::unique_ptr<Objective> MakeLanguage(const Recipe& recipe, const Network& network, const Processes& processes) {
  return std::make_unique<Language>(recipe, network, processes);
}

}  // namespace fovea::train
