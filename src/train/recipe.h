// A recipe: everything that decides a training run, read from one JSON file.
//
// Strict: a key that is not known is refused together with the nearest one that is, a value of the wrong type or out of
// range is refused by name, and what Fovea does not do yet is refused as such. docs/training.md lists all keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "train/data/augment.h"
#include "train/optimizer.h"
#include "train/schedule.h"

namespace fovea::train {

// Parameters whose name contains one of `matches`; the first group that matches counts.
struct GroupRule {
  std::vector<std::string> matches;
  double rate_scale = 1.0;
  double weight_decay = -1.0;  // negative: as without a rule
  bool is_frozen = false;
};

struct LoraOptions {
  int64_t rank = 0;                  // 0: none
  double alpha = 0;                  // the update is scaled by alpha / rank
  std::vector<std::string> targets;  // parts of names; empty: every matrix and convolution
};

// data.cache_grids: what the first blocks of the picture tower give is computed once.
struct GridRecipe {
  int64_t blocks = 0;                   // 0: no cache
  int64_t crop_low = 0, crop_high = 0;  // places: the side of a random crop, in steps of 2; 0: none
  bool has_flips = false;
  std::string file;  // where it is kept for another run; "": nowhere
};

// data.weak_labels: names of classes that a classifier sees in the pictures stand beside their captions.
struct WeakLabelRecipe {
  std::string model;               // "": none
  double share = 0.5;              // of the captions beyond the first
  double least_probability = 0.2;  // of the best class, for pictures that have captions
  std::vector<std::string> prompts = {"a photo of a {}"};
};

// data.questions: what was asked about pictures stands beside their captions.
struct QuestionRecipe {
  int64_t per_picture = 0;                      // at most, an epoch; 0: no questions
  std::string prompt = "question: {} answer:";  // what is read before the answer, which is learnt
  double validation_share = 0;                  // of the samples, whose questions are held back
};

// loss.self_critical: captions that the model writes itself are rewarded (self_critical.h).
struct SelfCriticalRecipe {
  int64_t samples = 0;         // of each picture; 0: cross-entropy alone
  int64_t max_tokens = 24;     // of a sample
  double temperature = 1;      // of the draw
  int64_t least_captions = 1;  // pictures with fewer captions are not written about
  double cross_entropy = 0;    // weight of the cross-entropy beside it
};

enum class Task : uint8_t { kClassify, kContrastive, kDistill, kCaption, kLanguage };

struct Recipe {
  // ---- what
  std::string output, model;             // folders (model: also a name)
  std::string vision_model, text_model;  // where the towers of a two-tower model start from, instead of its weights
  Task task = Task::kClassify;
  bool is_from_scratch = false;
  uint64_t seed = 0;

  // ---- data
  std::vector<std::string> train_paths, validation_paths;
  double validation_share = 0;
  std::string label_field;
  std::vector<std::string> classes;          // empty: all that occur
  int64_t top_classes = 0;                   // 0: all; else the most frequent ones
  std::vector<std::string> label_templates;  // classes are told by their names in these sentences; empty: by a head
  int64_t image_size = 0;                    // px; 0: as the model's preprocessing says
  int64_t shuffle_buffer = 10'000;
  int64_t loader_threads = 0;  // 0: half of the cores
  AugmentOptions augment;
  GridRecipe grids;  // of a frozen beginning of the picture tower
  WeakLabelRecipe weak_labels;
  int64_t captions_per_picture = 1;
  QuestionRecipe questions;
  bool keeps_end_marks = true;                     // false: captions lose the full stop at their end
  std::string prompt, prompt_field, target_field;  // caption, language: see SampleFilter
  int64_t max_tokens = 0;                          // of prompt and target; 0: what the model takes
  bool caches_towers = false;                      // of frozen towers

  // ---- optimisation
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  std::vector<GroupRule> groups;
  double layer_decay = 1.0;  // of the learning rate, from each block to the one before it
  bool has_frozen_statistics = false;
  bool recomputes = false;  // gradient checkpointing
  bool computes_bf16 = false;
  LoraOptions lora;
  int64_t batch_size = 32, micro_batch_size = 0;  // 0: the whole batch at once
  double epochs = 0;
  int64_t steps = 0;     // exactly one of the two is set
  double clip_norm = 0;  // 0: none
  double ema_decay = 0;  // 0: none
  double label_smoothing = 0;
  SelfCriticalRecipe self_critical;
  std::string contrastive_loss = "infonce";  // "sigmoid", "max_of_hinges"
  double margin = 0.2;
  std::string teacher;
  double temperature = 1.0;
  double distillation = 0.5;  // contrastive with a teacher: its share of the loss

  // ---- bookkeeping
  int64_t log_every = 10, validate_every = 0, checkpoint_every = 200;  // steps; validate 0: once an epoch
  int64_t keep_best = 1;

  std::string text;  // canonical JSON of all that was given
};

// Reads `file` with `overrides` ("optimizer.learning_rate=1e-4") applied on top. Paths in it are relative to the file's
// folder. Throws kNotFound, kCorruptData (no JSON), kInvalidArgument (keys, types, ranges), kUnimplemented.
Recipe ReadRecipe(const std::string& file, const std::vector<std::string>& overrides);

// The known word nearest to `word` by edit distance, "" when none is near.
std::string NearestWord(const std::string& word, const std::vector<std::string>& known);

}  // namespace fovea::train
