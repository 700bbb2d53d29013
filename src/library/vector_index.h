// The nearest vectors by inner product: exactly up to a limit, with FAISS above it.
//
// Up to `exact_limit` rows every row is compared (SIMD, all threads): 100,000 rows of 1,280 floats are 512 MB, read
// once in well under a second. Above it, an inverted file of FAISS names candidates that are then ranked with their
// exact inner products, so scores are the same and only hits may be missing (recall >= 0.95 at 10 hits). Learning that
// index costs more than a few exact searches: it begins with the first search above the limit, in the background, and
// until it is ready, and where the FAISS module is not installed, search stays exact.
//
// Any number of threads may search at once; Add and Clear need the index alone.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace fovea::library {

struct VectorHit {
  int64_t id;
  float score;
};

struct VectorIndexOptions {
  int64_t exact_limit = 100'000;  // rows
  std::string module_path;        // of the FAISS module; "" looks where it is installed
};

class VectorIndex {
 public:
  explicit VectorIndex(int64_t dim, VectorIndexOptions options = {});
  ~VectorIndex();
  VectorIndex(const VectorIndex&) = delete;
  VectorIndex& operator=(const VectorIndex&) = delete;

  int64_t dim() const { return dim_; }
  int64_t size() const { return size_; }

  // row [dim]. Ids need not be ordered, but unique.
  void Add(int64_t id, std::span<const float> row);
  void Clear();

  // The `k` rows with the largest inner product with query [dim], best first, equal scores by id.
  std::vector<VectorHit> Search(std::span<const float> query, int64_t k) const;
  // The same among the rows whose id is allowed; always exact.
  std::vector<VectorHit> SearchAmong(std::span<const float> query, int64_t k,
                                     const std::function<bool(int64_t id)>& is_allowed) const;
  // The row with this id, empty when there is none. Valid until Clear.
  std::span<const float> RowOf(int64_t id) const;
  // At most `count` rows, evenly spread over the index.
  std::vector<std::span<const float>> SampleRows(int64_t count) const;

  // Inner products with at most `count` rows, evenly spread over the index: what is ordinary for this query.
  std::vector<float> SampleScores(std::span<const float> query, int64_t count) const;

  // Builds the approximate index if it is due and not built, and waits for it. False: search is exact.
  bool WaitForApproximate() const;

 private:
  struct Block {
    std::vector<float> rows;  // [<= rows_per_block_,dim], never reallocated
    std::vector<int64_t> ids;
  };
  class Approximate;

  template <typename Row>
  void ForEachScore(std::span<const float> query, int64_t begin, int64_t end, Row&& row) const;
  std::vector<VectorHit> SearchExactly(std::span<const float> query, int64_t begin, int64_t k,
                                       const std::function<bool(int64_t id)>& is_allowed = {}) const;
  std::shared_ptr<const Approximate> CurrentApproximate() const;
  void StartBuilding() const;
  const float* RowAt(int64_t row) const;
  int64_t IdAt(int64_t row) const {
    return blocks_[static_cast<size_t>(row / rows_per_block_)]->ids[static_cast<size_t>(row % rows_per_block_)];
  }

  const int64_t dim_;
  const VectorIndexOptions options_;
  const int64_t rows_per_block_;
  int64_t size_ = 0;
  std::vector<std::shared_ptr<Block>> blocks_;
  std::unordered_map<int64_t, int64_t> row_of_id_;

  mutable std::mutex build_mutex_;
  mutable std::future<std::shared_ptr<const Approximate>> building_;
  mutable std::shared_ptr<const Approximate> approximate_;
  mutable bool cannot_build_ = false;
};

}  // namespace fovea::library
