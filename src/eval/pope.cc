// POPE: which questions are asked, and how the answers are counted.
#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "eval/bootstrap.h"
#include "eval/samples.h"
#include "fovea/eval_pope.h"
#include "fovea/grounding.h"
#include "runtime/calibration.h"

namespace fovea {
namespace {

constexpr size_t kPerPicture = 3;

// What a sample says about its picture.
struct Things {
  std::vector<std::string> there;   // sorted
  std::set<std::string> mentioned;  // neither there for certain nor absent for certain
};

Things ThingsOf(const eval::Sample& sample) {
  Things things;
  const auto listed = sample.notes.find("objects");
  if (listed != sample.notes.end() && listed->is_array()) {
    std::set<std::string> names;
    for (const auto& name : *listed) {
      if (name.is_string()) names.insert(name.get<std::string>());
    }
    things.there.assign(names.begin(), names.end());
    return things;
  }
  std::map<std::string, int> captions_with;
  for (const std::string& caption : eval::CaptionsOf(sample)) {
    std::set<std::string> names;
    for (const Mention& thing : ThingsIn(caption)) {
      if (thing.kind == "animal" || thing.kind == "plant" || thing.kind == "food" || thing.kind == "object")
        names.insert(thing.name);
    }
    for (const std::string& name : names) ++captions_with[name];
  }
  for (const auto& [name, count] : captions_with) {
    things.mentioned.insert(name);
    if (count >= 2) things.there.push_back(name);
  }
  return things;
}

// How often each thing is there, alone and with each other thing.
struct Frequencies {
  std::map<std::string, int64_t> pictures;
  std::map<std::pair<std::string, std::string>, int64_t> together;
};

class Questions {
 public:
  explicit Questions(Frequencies frequencies, uint64_t seed) : frequencies_(std::move(frequencies)), seed_(seed) {
    for (const auto& [name, count] : frequencies_.pictures) popular_.push_back(name);
    std::ranges::stable_sort(popular_, [&](const auto& a, const auto& b) { return Count(a) > Count(b); });
  }

  // Up to three that are there.
  std::vector<std::string> Present(const std::string& key, const Things& things) const {
    std::vector<std::string> names = Shuffled(key, things.there);
    names.resize(std::min(names.size(), kPerPicture));
    return names;
  }

  // As many as `count` that are not there, by the rule of split 0, 1 or 2.
  std::vector<std::string> Absent(const std::string& key, const Things& things, size_t split, size_t count) const {
    std::vector<std::string> names = popular_;
    std::erase_if(names, [&](const std::string& name) {
      return std::ranges::binary_search(things.there, name) || things.mentioned.contains(name);
    });
    if (split == 0) names = Shuffled(key, names);
    if (split == 2) {
      const auto together = [&](const std::string& name) {
        int64_t sum = 0;
        for (const std::string& there : things.there) {
          const auto found = frequencies_.together.find(std::minmax(there, name));
          sum += found == frequencies_.together.end() ? 0 : found->second;
        }
        return sum;
      };
      std::map<std::string, int64_t> sums;
      for (const std::string& name : names) sums[name] = together(name);
      std::ranges::stable_sort(names, [&](const auto& a, const auto& b) { return sums[a] > sums[b]; });
    }
    names.resize(std::min(names.size(), count));
    return names;
  }

 private:
  int64_t Count(const std::string& name) const { return frequencies_.pictures.at(name); }

  // By hashes of picture and name, so that a choice does not depend on the rest of the data.
  std::vector<std::string> Shuffled(const std::string& key, const std::vector<std::string>& names) const {
    std::vector<std::pair<std::string, std::string>> order;
    for (const std::string& name : names)
      order.emplace_back(base::ContentHasher().Add(base::StrCat(seed_, ':', key, ':', name)).Hex(), name);
    std::ranges::sort(order);
    std::vector<std::string> shuffled;
    for (auto& [hash, name] : order) shuffled.push_back(std::move(name));
    return shuffled;
  }

  Frequencies frequencies_;
  uint64_t seed_;
  std::vector<std::string> popular_;  // the most frequent first
};

Frequencies Counted(const std::vector<std::string>& shards) {
  Frequencies frequencies;
  const auto accept = [&](eval::Sample& sample) {
    const Things things = ThingsOf(sample);
    for (size_t i = 0; i < things.there.size(); ++i) {
      ++frequencies.pictures[things.there[i]];
      for (size_t j = i + 1; j < things.there.size(); ++j) ++frequencies.together[{things.there[i], things.there[j]}];
    }
    return false;
  };
  eval::WalkShards(shards, {}, false, accept, [](std::span<eval::Sample>) {});
  return frequencies;
}

// The answers of one split, picture by picture.
struct Answers {
  std::vector<double> probability;
  std::vector<uint8_t> is_there;
  std::vector<double> right;  // share of each picture's questions
};

// The share of pairs, one there and one not, that are in order; ties count half.
double RocAuc(const Answers& answers) {
  std::vector<std::pair<double, uint8_t>> order;
  for (size_t i = 0; i < answers.probability.size(); ++i)
    order.emplace_back(answers.probability[i], answers.is_there[i]);
  std::ranges::sort(order);
  double in_order = 0, below = 0, there = 0;
  for (size_t i = 0; i < order.size();) {
    size_t end = i;
    double yes = 0, no = 0;
    for (; end < order.size() && order[end].first == order[i].first; ++end) (order[end].second != 0 ? yes : no) += 1;
    in_order += yes * (below + no / 2);
    below += no;
    there += yes;
    i = end;
  }
  return there * below > 0 ? in_order / (there * below) : 0;
}

void Count(const Answers& answers, const EvaluateOptions& options, PopeMetrics::Split& split) {
  double yes = 0, right_yes = 0, there = 0, right = 0;
  for (size_t i = 0; i < answers.probability.size(); ++i) {
    const bool says_yes = answers.probability[i] >= 0.5, is_there = answers.is_there[i] != 0;
    yes += says_yes;
    there += is_there;
    right_yes += says_yes && is_there;
    right += says_yes == is_there;
  }
  const auto n = static_cast<double>(answers.probability.size());
  split.n = static_cast<int64_t>(answers.probability.size());
  if (split.n == 0) return;
  split.accuracy = right / n;
  split.precision = yes > 0 ? right_yes / yes : 0;
  split.recall = there > 0 ? right_yes / there : 0;
  split.f1 = right_yes > 0 ? 2 * split.precision * split.recall / (split.precision + split.recall) : 0;
  split.yes_share = yes / n;
  split.roc_auc = RocAuc(answers);
  split.calibration_error =
      runtime::ExpectedCalibrationError(runtime::Reliability({answers.probability, answers.is_there}));
  const std::vector<double> weights(answers.right.size(), 1.0);
  split.accuracy_interval = eval::BootstrapMeans(answers.right, weights, 1, options)[0];
}

}  // namespace

PopeMetrics EvaluatePope(const PresenceJudge& judge, const std::vector<std::string>& shards,
                         const EvaluateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const Questions questions(Counted(shards), options.seed);
  PopeMetrics metrics;
  std::array<Answers, 3> answers;
  const auto accept = [&](eval::Sample& sample) { return !ThingsOf(sample).there.empty(); };
  const auto use = [&](std::span<eval::Sample> batch) {
    for (const eval::Sample& sample : batch) {
      const Things things = ThingsOf(sample);
      const std::vector<std::string> present = questions.Present(sample.key, things);
      std::vector<std::string> asked = present;
      std::array<std::vector<std::string>, 3> absent;
      for (size_t split = 0; split < absent.size(); ++split) {
        absent[split] = questions.Absent(sample.key, things, split, present.size());
        asked.insert(asked.end(), absent[split].begin(), absent[split].end());
      }
      const std::vector<double> said = judge(sample.image, asked);
      Require(said.size() == asked.size(), "[pope] expected ", asked.size(), " answers, got ", said.size());
      size_t next = present.size();
      for (size_t split = 0; split < absent.size(); ++split) {
        Answers& own = answers[split];
        double right = 0;
        const auto add = [&](double probability, bool is_there) {
          own.probability.push_back(probability);
          own.is_there.push_back(is_there);
          right += (probability >= 0.5) == is_there;
        };
        for (size_t i = 0; i < absent[split].size(); ++i) add(said[i], true);
        for (size_t i = 0; i < absent[split].size(); ++i) add(said[next++], false);
        if (!absent[split].empty()) own.right.push_back(right / static_cast<double>(2 * absent[split].size()));
      }
    }
  };
  const eval::WalkReport walk = eval::WalkShards(shards, options, true, accept, use);
  Require(walk.used > 0, "[pope] the shards name nothing that could be asked about");
  metrics.pictures = walk.used;
  metrics.failed = walk.failed;
  metrics.without = walk.passed_over;
  for (size_t split = 0; split < answers.size(); ++split) Count(answers[split], options, metrics.splits[split]);
  metrics.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return metrics;
}

}  // namespace fovea
