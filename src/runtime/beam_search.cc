#include "runtime/beam_search.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace fovea::runtime {
namespace {

struct Candidate {
  double score;
  int64_t beam, id;
};

}  // namespace

BeamSearch::BeamSearch(const BeamOptions& options) : options_(options) {
  Require(options.beams >= 1 && options.beams <= 256, "[beam search] expected 1 to 256 beams, got ", options.beams);
  Require(options.max_tokens >= 1, "[beam search] expected at least one token, got ", options.max_tokens);
  Require(std::isfinite(options.length_penalty), "[beam search] expected a finite length_penalty");
}

void BeamSearch::Finish(const Beam& beam) {
  const double score = beam.score / std::pow(static_cast<double>(length_), options_.length_penalty);
  const auto place = std::ranges::find_if(finished_, [&](const Hypothesis& h) { return h.score < score; });
  finished_.insert(place, {beam.ids, score});
  if (static_cast<int64_t>(finished_.size()) > options_.beams) finished_.pop_back();
}

void BeamSearch::Advance(const std::vector<std::span<const float>>& rows) {
  Require(!is_done_ && rows.size() == running_.size(), "[beam search] expected ", running_.size(), " rows, got ",
          rows.size());
  const size_t kept = std::max<size_t>(2, 1 + options_.end_ids.size()) * static_cast<size_t>(options_.beams);
  std::vector<Candidate> candidates;
  for (size_t b = 0; b < rows.size(); ++b) {
    for (size_t id = 0; id < rows[b].size(); ++id) {
      if (std::isinf(rows[b][id])) continue;  // hidden by a constraint
      candidates.push_back({running_[b].score + rows[b][id], static_cast<int64_t>(b), static_cast<int64_t>(id)});
    }
  }
  Require(!candidates.empty(), "[beam search] no token is allowed here");
  const size_t count = std::min(kept, candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count), candidates.end(),
                    [](const Candidate& a, const Candidate& b) {
                      if (a.score != b.score) return a.score > b.score;
                      return a.beam != b.beam ? a.beam < b.beam : a.id < b.id;
                    });
  candidates.resize(count);

  ++length_;
  const bool is_full =
      static_cast<int64_t>(finished_.size()) == options_.beams && options_.early_stopping == EarlyStopping::kFirst;
  const bool accepts = can_improve_ && !is_full;
  std::vector<Beam> next;
  bool every_candidate_ended = true;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    Beam beam{running_[c.beam].ids, c.score, c.beam};
    beam.ids.push_back(c.id);
    const bool has_ended =
        length_ >= options_.max_tokens || std::ranges::find(options_.end_ids, c.id) != options_.end_ids.end();
    every_candidate_ended &= has_ended;
    if (has_ended) {
      // Only the best `beams` candidates may finish; the others are there so that enough stay open.
      if (accepts && static_cast<int64_t>(i) < options_.beams) Finish(beam);
    } else if (static_cast<int64_t>(next.size()) < options_.beams) {
      next.push_back(std::move(beam));
    }
  }
  running_ = std::move(next);
  CheckDone(every_candidate_ended);
}

void BeamSearch::CheckDone(bool every_candidate_ended) {
  const bool is_full = static_cast<int64_t>(finished_.size()) == options_.beams;
  if (!running_.empty()) {
    const bool hopes = options_.early_stopping == EarlyStopping::kNever && options_.length_penalty > 0;
    const auto length = static_cast<double>(hopes ? options_.max_tokens : length_);
    const double possible = running_.front().score / std::pow(length, options_.length_penalty);
    can_improve_ = can_improve_ && (!is_full || possible > finished_.back().score);
  }
  is_done_ = !can_improve_ || (is_full && options_.early_stopping == EarlyStopping::kFirst) || every_candidate_ended ||
             running_.empty();
}

}  // namespace fovea::runtime
