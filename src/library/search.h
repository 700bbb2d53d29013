// Finding photographs in a store: by vector and by words.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "library/store.h"
#include "library/vector_index.h"

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

// Where relevance stops for similarities to a query. `sample`: similarities to pictures from all over the library,
// which are mostly unrelated: their median is what is ordinary for this query, their median absolute deviation how much
// the ordinary varies. A hit is relevant when it lies three such deviations (as standard deviations) above ordinary,
// and in the upper half between ordinary and `best`, the best hit that is no copy of the query. Libraries below 16
// pictures tell nothing of the ordinary: there only the second condition counts.
float RelevanceFloor(std::vector<float> sample, float best);

// See Library::SearchByImage; query [dim], L2-normalised.
std::vector<SearchHit> SearchByVector(Store& store, const VectorIndex& index, std::span<const float> query,
                                      const SearchOptions& options);

// See Library::SearchByWords. For each word the best evidence counts: a label as much as its probability, a file name
// 0.8, a folder 0.6. The score is nine parts the mean of that and one part the rank of FTS5 (bm25).
std::vector<SearchHit> SearchByWords(Store& store, const std::string& words, const SearchOptions& options);

}  // namespace fovea::library
