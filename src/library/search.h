// Finding photographs in a store: by vector, by words, and by both.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "library/background.h"
#include "library/filter.h"
#include "library/store.h"
#include "library/vector_index.h"
#include "library/words.h"

namespace fovea::library {

// The embeddings of one model in memory, read when first asked for and kept up with the library file: new rows are
// appended, anything else (another model, replaced or deleted embeddings) reads them again.
class EmbeddingCache {
 public:
  explicit EmbeddingCache(VectorIndexOptions options = {}) : options_(std::move(options)) {}

  // Brings the cache to what `store` holds for this model. The caller makes sure that nobody searches meanwhile.
  // Returns nullptr when the library holds nothing of the model.
  const VectorIndex* Refresh(Store& store, const std::string& fingerprint, int64_t dim);

 private:
  const VectorIndexOptions options_;
  std::unique_ptr<VectorIndex> index_;
  int64_t model_id_ = 0, epoch_ = 0, last_seq_ = 0;
};

// What is asked for. `terms` and `without` are words as people wrote them; the vectors are what a model makes of them.
struct Question {
  std::vector<QueryTerm> terms;                     // none of them negative
  std::vector<std::vector<QueryTerm>> without;      // each list is one thing that must not be there
  std::vector<float> text;                          // [D] of all the words, empty without a model that reads text
  std::vector<float> image;                         // [D] of the picture to be alike, empty without one
  std::vector<std::vector<float>> without_vectors;  // [D] of each of `without`; empty without such a model
};

// The words of a question: `words` as typed, with "-" before what must not be there, and each of `without`. Words that
// only join others are left out.
Question AskInWords(const std::string& words, const std::vector<std::string>& without);

// See Library::Search. `index` and `background` may be nullptr when the question has no vectors (`background`: none of
// texts). `allowed`: from ApplyFilter. Reads one state of the store.
std::vector<SearchHit> SearchFor(Store& store, const VectorIndex* index, const Background* background,
                                 const Question& question, Allowed allowed, const SearchOptions& options);

// ---- parts of it, which see the store as the caller's Snapshot does

// By a picture alone.
std::vector<SearchHit> SearchByVector(Store& store, const VectorIndex& index, std::span<const float> query,
                                      const Allowed& allowed, const SearchOptions& options);

// By words alone, all of which must match. Relevance stops at a quarter of the best score.
std::vector<SearchHit> SearchByWords(Store& store, const std::vector<QueryTerm>& terms, const Allowed& allowed,
                                     const SearchOptions& options);

// By words that a model has read (question.text), with or without a picture: what of the pictures fits, beside what
// their labels, names and folders say.
std::vector<SearchHit> SearchByMeaning(Store& store, const VectorIndex& index, const Background& background,
                                       const Question& question, const Allowed& allowed, const SearchOptions& options);

// "0.83"
std::string TwoDigits(double score);

}  // namespace fovea::library
