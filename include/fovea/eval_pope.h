// Does a model say that things are there which are not? POPE (Li et al. 2023, arXiv 2305.10355): "Is there a dog in the
// picture?", asked of things that are there and, as often, of things that are not.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "fovea/eval.h"

namespace fovea {

// How likely each of the things (singular nouns) is in the picture, 0..1; from 0.5 on it counts as "yes".
using PresenceJudge = std::function<std::vector<double>(const Image& image, std::span<const std::string> things)>;

struct PopeMetrics {
  int64_t pictures = 0;  // that were asked about
  int64_t failed = 0;    // that could not be read
  int64_t without = 0;   // that name nothing: passed over
  struct Split {
    const char* name;  // how the things that are not there were chosen
    int64_t n = 0;     // questions, half of them about things that are there
    double accuracy = 0, precision = 0, recall = 0, f1 = 0, yes_share = 0;  // 0..1
    double roc_auc = 0;                                                     // whatever the limit
    double calibration_error = 0;
    Interval accuracy_interval;
  };
  // "random": any that are not there; "popular": those most often there in other pictures; "adversarial": those most
  // often there together with what is there.
  std::array<Split, 3> splits = {Split{"random"}, Split{"popular"}, Split{"adversarial"}};
  double seconds = 0;
};

// Over WebDataset shards. What is in a picture: KEY.json's "objects", a list of nouns that is complete for the things
// it knows; else the animals, plants, food and objects that at least two of its captions name, and then what no caption
// names is not there. Each picture is asked about up to three things that are there and, for each split, as many that
// are not; the choice depends on options.seed alone. Throws kInvalidArgument when there is nothing to ask, kNotFound,
// kCorruptData for a shard, and what `judge` throws.
PopeMetrics EvaluatePope(const PresenceJudge& judge, const std::vector<std::string>& shards,
                         const EvaluateOptions& options = {});

}  // namespace fovea
