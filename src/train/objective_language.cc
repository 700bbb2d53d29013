// A decoder learns texts (task language), or what is said of pictures (task caption).
//
// The parts of a batch are weighted by how many tokens they teach, so that parts and processes add up to the loss of
// the whole batch.
#include <cmath>
#include <nlohmann/json.hpp>

#include "ops/shape.h"
#include "runtime/text_encoder.h"
#include "train/language.h"
#include "train/objective_parts.h"

namespace fovea::train {
namespace {

class Language final : public Objective {
 public:
  Language(const Recipe& recipe, const Network& network, const Processes& processes)
      : recipe_(recipe),
        network_(network),
        processes_(processes),
        texts_(network.base_folder, network.config.Require<std::string>("model_type")),
        sees_pictures_(recipe.task == Task::kCaption) {}

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
    int64_t tokens = 0, texts = 0;
    Batch batch;
    while (loader.Next(kValidationBatch, batch)) {
      const auto rows = static_cast<int64_t>(batch.keys.size());
      const LanguageInputs inputs = Prepare(batch, 0, rows);
      loss += Loss(inputs, batch.pixels, 0.0f).item() * static_cast<double>(inputs.learnt);
      tokens += inputs.learnt;
      texts += rows;
    }
    Require(tokens > 0, "[train] there is no validation text");
    const double mean = loss / static_cast<double>(tokens);
    metrics["n"] = texts;
    metrics["tokens"] = tokens;
    metrics["loss"] = mean;
    metrics["perplexity"] = std::exp(mean);
    return std::exp(-mean);
  }

  std::string metric() const override { return "token_probability"; }
  bool NeedsPixels() const override { return sees_pictures_; }

  void CacheFeatures(const TowerCache::Options& /*options*/, Trainable& /*trainable*/) override {
    Fail(ErrorCode::kUnimplemented, "[train] data.cache_features serves the tasks contrastive and distill");
  }

 private:
  // Pictures from a grid cache, each with several captions, which share its one pass through the tower.
  double AccumulateGrids(const Batch& batch, Trainable& trainable, uint64_t seed) const {
    const std::vector<std::string> no_prompts(batch.keys.size());
    std::vector<LanguageInputs> sets;
    std::vector<double> learnt = {0};
    for (const auto& captions : batch.caption_sets) {
      sets.push_back(PrepareLanguage(network_.model->Decoder(), texts_.tokenizer(), no_prompts, captions, Limit()));
      learnt[0] += static_cast<double>(sets.back().learnt);
    }
    processes_.Sum(learnt);
    Tape tape(StepOptions(recipe_, processes_, seed, 0));
    trainable.Bind(tape);
    const Tensor grid = network_.model->EncodeFromTrunk(batch.grids, recipe_.grids.blocks).grid;   // [B,P,Q,D]
    const Tensor pictures = Reshape(grid, {grid.dim(0), grid.dim(1) * grid.dim(2), grid.dim(3)});  // [B,N,D]
    Tensor loss;
    for (const LanguageInputs& inputs : sets) {
      const auto share = static_cast<float>(static_cast<double>(inputs.learnt) / learnt[0]);
      const Tensor part =
          LanguageLoss(*network_.model, inputs, pictures, static_cast<float>(recipe_.label_smoothing)) * share;
      loss = loss.defined() ? loss + part : part;
    }
    RequireRecomputed(recipe_, tape);
    const double value = loss.item();
    trainable.Collect(tape.Backward(loss));
    return value;
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

  static constexpr int64_t kMostTokens = 1024;  // unless the recipe says so

  const Recipe& recipe_;
  const Network& network_;
  const Processes& processes_;
  runtime::TextEncoder texts_;
  bool sees_pictures_;
};

}  // namespace

std::unique_ptr<Objective> MakeLanguage(const Recipe& recipe, const Network& network, const Processes& processes) {
  return std::make_unique<Language>(recipe, network, processes);
}

}  // namespace fovea::train
