// Which search answers which question, and the two simple ones: by a picture and by words.
#include "library/search.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <map>

#include "base/error.h"
#include "library/relevance.h"
#include "library/word_search.h"

namespace fovea::library {
namespace {

constexpr double kRelevantShare = 0.25;
// What must not be there rules out labels that are at least this likely, and pictures whose z for it one in a hundred
// unrelated pictures would reach.
constexpr double kForbiddingLabel = 0.1, kForbiddingZ = 2.33;

// Files whose labels, names or folders say something that must not be there.
void Forbid(Store& store, const Question& question, Allowed& allowed) {
  for (const std::vector<QueryTerm>& terms : question.without) {
    if (terms.empty()) continue;
    std::unordered_set<int64_t> found;
    WordSearch(store.db(), terms, {}).ForEach(allowed, [&](const WordHit& hit) {
      const bool is_sure = std::all_of(hit.evidence.begin(), hit.evidence.end(), [](const WordEvidence& evidence) {
        return evidence.weight >= kForbiddingLabel;
      });
      if (is_sure) found.insert(hit.file_id);
    });
    allowed.forbidden.merge(found);
  }
}

// The same for what the pictures show. The result refers to its arguments.
std::function<bool(int64_t)> RulesOut(const VectorIndex& index, const Background& background,
                                      const Question& question) {
  std::vector<std::vector<float>> centred;
  for (const std::vector<float>& vector : question.without_vectors) centred.push_back(background.Centred(vector));
  return [&index, &background, centred = std::move(centred)](int64_t content) {
    const std::span<const float> picture = index.RowOf(content);
    return !picture.empty() && std::any_of(centred.begin(), centred.end(), [&](const std::vector<float>& vector) {
      return background.Z(vector, picture) >= kForbiddingZ;
    });
  };
}

// Nothing is asked for but what a filter leaves: the newest first.
std::vector<SearchHit> List(Store& store, const Allowed& allowed, const SearchOptions& options) {
  std::vector<SearchHit> hits;
  if (options.limit <= 0) return hits;
  ForEachNewest(store, allowed, [&](const DatedFile& file) {
    hits.push_back({.path = file.path, .score = 1, .why = "date: " + file.date.substr(0, 10)});
    return static_cast<int64_t>(hits.size()) < options.limit;
  });
  return hits;
}

// Both rankings in one: reciprocal ranks summed (Cormack et al. 2009), scaled so that first in both is 1. For models
// that cannot compare pictures with words.
std::vector<SearchHit> Fused(const std::vector<SearchHit>& by_image, const std::vector<SearchHit>& by_words,
                             int64_t limit) {
  constexpr double kDamping = 60;
  std::map<std::string, SearchHit> by_path;
  for (const auto* hits : {&by_image, &by_words}) {
    for (size_t rank = 0; rank < hits->size(); ++rank) {
      SearchHit& hit = by_path[(*hits)[rank].path];
      hit.path = (*hits)[rank].path;
      hit.score += 0.5 * (kDamping + 1) / (kDamping + 1 + static_cast<double>(rank));
      hit.why += (hit.why.empty() ? "" : "; ") + (*hits)[rank].why;
    }
  }
  std::vector<SearchHit> fused;
  for (auto& [path, hit] : by_path) fused.push_back(std::move(hit));
  std::stable_sort(fused.begin(), fused.end(),
                   [](const SearchHit& a, const SearchHit& b) { return a.score > b.score; });
  if (static_cast<int64_t>(fused.size()) > limit) fused.resize(static_cast<size_t>(limit));
  return fused;
}

}  // namespace

std::string TwoDigits(double score) {
  char text[16];
  std::snprintf(text, sizeof(text), "%.2f", score);
  return text;
}

Question AskInWords(const std::string& words, const std::vector<std::string>& without) {
  Question question;
  for (QueryTerm& term : ParseQuery(words)) {
    if (!term.is_negative) {
      question.terms.push_back(std::move(term));
      continue;
    }
    term.is_negative = false;
    term.is_whole = true;
    question.without.push_back({std::move(term)});
  }
  question.terms = ContentTerms(std::move(question.terms));
  for (const std::string& text : without) {
    std::vector<QueryTerm> terms = ContentTerms(ParseQuery(text));
    for (QueryTerm& term : terms) {
      term.is_negative = false;
      term.is_whole = true;
    }
    if (!terms.empty()) question.without.push_back(std::move(terms));
  }
  return question;
}

const VectorIndex* EmbeddingCache::Refresh(Store& store, const std::string& fingerprint, int64_t dim) {
  const Snapshot snapshot(store.db());
  const int64_t model_id = store.FindModel(fingerprint);
  if (model_id == 0) return nullptr;
  const int64_t epoch = store.EmbeddingEpoch();
  if (index_ == nullptr || index_->dim() != dim || model_id != model_id_ || epoch != epoch_) {
    index_ = std::make_unique<VectorIndex>(dim, options_);
    model_id_ = model_id;
    epoch_ = epoch;
    last_seq_ = 0;
  }
  store.ForEachEmbedding(model_id, dim, last_seq_,
                         [&](int64_t seq, int64_t content_id, std::span<const float> embedding) {
                           index_->Add(content_id, embedding);
                           last_seq_ = seq;
                         });
  return index_.get();
}

std::vector<SearchHit> SearchFor(Store& store, const VectorIndex* index, const Background* background,
                                 const Question& question, Allowed allowed, const SearchOptions& options) {
  const Snapshot snapshot(store.db());
  Forbid(store, question, allowed);
  if (index != nullptr && background != nullptr && !question.without_vectors.empty())
    allowed.rules_out = RulesOut(*index, *background, question);
  if (index != nullptr && background != nullptr && !question.text.empty())
    return SearchByMeaning(store, *index, *background, question, allowed, options);
  const bool has_image = index != nullptr && !question.image.empty();
  if (!has_image && question.terms.empty()) return List(store, allowed, options);
  if (!has_image) return SearchByWords(store, question.terms, allowed, options);
  const std::vector<SearchHit> by_image = SearchByVector(store, *index, question.image, allowed, options);
  if (question.terms.empty()) return by_image;
  return Fused(by_image, SearchByWords(store, question.terms, allowed, options), options.limit);
}

std::vector<SearchHit> SearchByVector(Store& store, const VectorIndex& index, std::span<const float> query,
                                      const Allowed& allowed, const SearchOptions& options) {
  constexpr int64_t kSample = 4096;
  // The picture itself or a copy of it says nothing of how near the others could be.
  constexpr float kSamePicture = 0.97f;
  std::vector<SearchHit> hits;
  if (options.limit <= 0 || index.size() == 0) return hits;
  // Some contents have no file any more, or none that is allowed: ask for more until there are enough.
  for (int64_t k = std::min(options.limit, index.size()) + 16;; k *= 4) {
    hits.clear();
    const std::vector<VectorHit> found =
        allowed.is_all ? index.Search(query, k)
                       : index.SearchAmong(query, k, [&](int64_t id) { return allowed.HasContent(id); });
    if (found.empty()) return hits;
    const auto best =
        std::find_if(found.begin(), found.end(), [](const VectorHit& hit) { return hit.score < kSamePicture; });
    const float floor =
        RelevanceFloor(index.SampleScores(query, kSample), (best != found.end() ? *best : found[0]).score);
    bool has_stopped = k >= index.size() || static_cast<int64_t>(found.size()) < k;
    for (const VectorHit& hit : found) {
      const bool is_weak = hit.score < floor;
      has_stopped |= is_weak && !options.all;
      if (has_stopped && is_weak && !options.all) break;
      const double score = std::clamp(static_cast<double>(hit.score), 0.0, 1.0);
      for (Store::PathOfFile& file : store.FilesOfContent(hit.id, std::numeric_limits<int64_t>::max())) {
        if (!allowed.HasFileOf(file.file_id, hit.id)) continue;
        if (static_cast<int64_t>(hits.size()) >= options.limit) return hits;
        hits.push_back({.path = std::move(file.path),
                        .score = score,
                        .why = "similar picture (" + TwoDigits(score) + ")",
                        .is_weak = is_weak});
      }
    }
    if (has_stopped) return hits;
  }
}

std::vector<SearchHit> SearchByWords(Store& store, const std::vector<QueryTerm>& terms, const Allowed& allowed,
                                     const SearchOptions& options) {
  std::vector<SearchHit> hits;
  if (terms.empty() || options.limit <= 0) return hits;
  WordSearch search(store.db(), terms, {.limit = options.limit});
  const std::vector<WordHit> found = search.Run(allowed);
  for (const WordHit& hit : found) {
    const bool is_weak = hit.score < kRelevantShare * found[0].score;
    if (!options.all && is_weak) break;
    if (allowed.rules_out && allowed.rules_out(hit.content_id)) continue;
    auto row = store.db().Query("SELECT path FROM file WHERE id = ?", hit.file_id);
    row.Next();
    hits.push_back({.path = std::string(row.Bytes(0)), .score = hit.score, .why = search.Why(hit), .is_weak = is_weak});
  }
  return hits;
}

}  // namespace fovea::library
