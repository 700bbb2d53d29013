// Beam search with length penalty: which sequences go on and which one wins, apart from any model.
//
//   BeamSearch search({.beams = 4, .max_tokens = 20, .end_ids = {2}});
//   while (!search.IsDone()) {
//     ... log-probabilities of the next token after each of search.beams() ...
//     search.Advance(rows);      // caches are copied as beams()[i].parent says
//   }
//   search.Best().ids
//
// The rules are those of transformers (GenerationMixin._beam_search, 5.x), so that texts come out the same: (1 + ends,
// at least 2) x beams candidates a step, scores of finished sequences divided by length^length_penalty, and its three
// ways of early stopping.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::runtime {

enum class EarlyStopping : uint8_t {
  kHeuristic,  // when the best open beam, at its present length, cannot beat the worst finished one
  kFirst,      // as soon as as many as `beams` are finished
  kNever,      // only when no open beam can get better, however long
};

struct BeamOptions {
  int64_t beams = 4;
  double length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::kHeuristic;
  int64_t max_tokens = 20;
  std::vector<int64_t> end_ids;
};

class BeamSearch {
 public:
  // Throws kInvalidArgument for options out of range.
  explicit BeamSearch(const BeamOptions& options);

  struct Beam {
    std::vector<int64_t> ids;  // generated so far
    double score;              // sum of log-probabilities
    int64_t parent;            // which of the beams before the last Advance it continues
  };
  // The open beams: one at the beginning, options.beams later (fewer when the vocabulary gives no more).
  const std::vector<Beam>& beams() const { return running_; }

  // `rows`: for each open beam the log-probabilities of all tokens, [V].
  void Advance(const std::vector<std::span<const float>>& rows);
  bool IsDone() const { return is_done_; }

  struct Hypothesis {
    std::vector<int64_t> ids;  // with the end token when it ended by one
    double score;              // divided by length^length_penalty
  };
  // Finished sequences, best first.
  const std::vector<Hypothesis>& Finished() const { return finished_; }

 private:
  void Finish(const Beam& beam);
  void CheckDone(bool every_candidate_ended);

  BeamOptions options_;
  std::vector<Beam> running_ = {{.ids = {}, .score = 0, .parent = 0}};
  std::vector<Hypothesis> finished_;
  int64_t length_ = 0;
  bool can_improve_ = true;
  bool is_done_ = false;
};

}  // namespace fovea::runtime
