// Rows lie in blocks of about a megabyte: adding never moves what a search or the builder of the approximate index is
// reading.
#include "library/vector_index.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/module.h"
#include "base/parallel.h"
#include "library/dot.h"
#include "library/faiss_module.h"

namespace fovea::library {
namespace {

// Strict order of hits, best first.
bool IsBetter(const VectorHit& a, const VectorHit& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; }

// The k best of what it is offered, as a heap with the worst on top.
class Best {
 public:
  explicit Best(int64_t k) : k_(static_cast<size_t>(k)) {}
  void Offer(VectorHit hit) {
    if (std::isnan(hit.score)) return;
    if (hits_.size() < k_) {
      hits_.push_back(hit);
      std::push_heap(hits_.begin(), hits_.end(), IsBetter);
    } else if (k_ > 0 && IsBetter(hit, hits_.front())) {
      std::pop_heap(hits_.begin(), hits_.end(), IsBetter);
      hits_.back() = hit;
      std::push_heap(hits_.begin(), hits_.end(), IsBetter);
    }
  }
  const std::vector<VectorHit>& hits() const { return hits_; }
  std::vector<VectorHit> Sorted() && {
    std::sort_heap(hits_.begin(), hits_.end(), IsBetter);
    return std::move(hits_);
  }

 private:
  size_t k_;
  std::vector<VectorHit> hits_;
};

// The module, loaded once for each place and never unloaded (its threads live on); nullptr when it is not there.
const FaissModule* LoadFaiss(const std::string& path) {
  const auto entry =
      reinterpret_cast<FaissModuleEntry>(base::FindModuleEntry(kFaissModuleFile, kFaissModuleEntry, path));
  if (entry != nullptr && entry()->version == kFaissModuleVersion) return entry();
  return nullptr;
}

}  // namespace

// Names candidates among the first `rows` rows.
class VectorIndex::Approximate {
 public:
  // A stretch of rows of a block; keeps the block alive.
  struct Stretch {
    std::shared_ptr<const Block> block;
    const float* rows;
    int64_t count;
  };

  // nullptr when FAISS is not there or fails: then search stays exact.
  static std::shared_ptr<const Approximate> Build(const std::string& module_path, int64_t dim,
                                                  const std::vector<Stretch>& stretches) {
    const FaissModule* module = LoadFaiss(module_path);
    if (module == nullptr) return nullptr;
    std::shared_ptr<Approximate> index(new Approximate(module));
    for (const Stretch& stretch : stretches) index->rows_ += stretch.count;
    index->lists_ = std::max<int64_t>(16, static_cast<int64_t>(std::sqrt(static_cast<double>(index->rows_))));
    char error[kFaissErrorBytes] = "";
    const std::vector<float> sample = Sample(stretches, dim, index->rows_, index->lists_ * 48);
    index->handle_ =
        module->create(sample.data(), static_cast<int64_t>(sample.size()) / dim, dim, index->lists_, error);
    if (index->handle_ == nullptr) return nullptr;
    int64_t first = 0;
    for (const Stretch& stretch : stretches) {
      if (!module->add(index->handle_, stretch.rows, stretch.count, first, error)) return nullptr;
      first += stretch.count;
    }
    return index;
  }

  ~Approximate() {
    if (handle_ != nullptr) module_->destroy(handle_);
  }

  int64_t rows() const { return rows_; }

  // Up to `count` candidates, fewer when the lists looked into hold fewer; empty on failure.
  std::vector<int64_t> Candidates(const float* query, int64_t count) const {
    std::vector<int64_t> found(static_cast<size_t>(count), -1);
    char error[kFaissErrorBytes] = "";
    if (!module_->search(handle_, query, count, std::max<int64_t>(4, lists_ / 8), found.data(), error)) return {};
    std::erase_if(found, [&](int64_t row) { return row < 0 || row >= rows_; });
    return found;
  }

 private:
  explicit Approximate(const FaissModule* module) : module_(module) {}

  static std::vector<float> Sample(const std::vector<Stretch>& stretches, int64_t dim, int64_t rows, int64_t wanted) {
    const int64_t stride = std::max<int64_t>(1, rows / wanted);
    std::vector<float> sample;
    sample.reserve(static_cast<size_t>((rows / stride + 1) * dim));
    int64_t first = 0;  // row number of the stretch's first row
    for (const Stretch& stretch : stretches) {
      for (int64_t i = (stride - first % stride) % stride; i < stretch.count; i += stride) {
        sample.insert(sample.end(), stretch.rows + i * dim, stretch.rows + (i + 1) * dim);
      }
      first += stretch.count;
    }
    return sample;
  }

  const FaissModule* module_;
  void* handle_ = nullptr;
  int64_t rows_ = 0, lists_ = 0;
};

VectorIndex::VectorIndex(int64_t dim, VectorIndexOptions options)
    : dim_(dim),
      options_(std::move(options)),
      rows_per_block_(std::max<int64_t>(16, (1 << 18) / std::max<int64_t>(1, dim))) {
  Require(dim > 0, "[vector index] expected a dimension above 0, got ", dim);
}

VectorIndex::~VectorIndex() = default;  // the future waits for the builder

const float* VectorIndex::RowAt(int64_t row) const {
  return blocks_[static_cast<size_t>(row / rows_per_block_)]->rows.data() + row % rows_per_block_ * dim_;
}

void VectorIndex::Add(int64_t id, std::span<const float> row) {
  Require(static_cast<int64_t>(row.size()) == dim_, "[vector index] expected ", dim_, " values, got ", row.size());
  if (size_ % rows_per_block_ == 0) {
    blocks_.push_back(std::make_shared<Block>());
    blocks_.back()->rows.reserve(static_cast<size_t>(rows_per_block_ * dim_));
    blocks_.back()->ids.reserve(static_cast<size_t>(rows_per_block_));
  }
  Block& block = *blocks_.back();
  block.rows.insert(block.rows.end(), row.begin(), row.end());
  block.ids.push_back(id);
  ++size_;
}

void VectorIndex::Clear() {
  const std::lock_guard lock(build_mutex_);
  building_ = {};
  approximate_ = nullptr;
  blocks_.clear();
  size_ = 0;
}

// Calls row(number, score) for rows [begin, end), block by block.
template <typename Row>
void VectorIndex::ForEachScore(std::span<const float> query, int64_t begin, int64_t end, Row&& row) const {
  constexpr int64_t kStep = 256;
  float scores[kStep];
  while (begin < end) {
    const int64_t block_end = (begin / rows_per_block_ + 1) * rows_per_block_;
    const int64_t count = std::min({kStep, end - begin, block_end - begin});
    DotRows(query.data(), RowAt(begin), count, dim_, scores);
    for (int64_t i = 0; i < count; ++i) row(begin + i, scores[i]);
    begin += count;
  }
}

std::vector<VectorHit> VectorIndex::SearchExactly(std::span<const float> query, int64_t begin, int64_t k) const {
  std::mutex mutex;
  Best best(k);
  base::ParallelFor(size_ - begin, std::max<int64_t>(64, (1 << 18) / dim_), [&](int64_t from, int64_t to) {
    Best mine(k);
    ForEachScore(query, begin + from, begin + to, [&](int64_t row, float score) { mine.Offer({IdAt(row), score}); });
    const std::lock_guard lock(mutex);
    for (const VectorHit& hit : mine.hits()) best.Offer(hit);
  });
  return std::move(best).Sorted();
}

std::vector<VectorHit> VectorIndex::Search(std::span<const float> query, int64_t k) const {
  Require(static_cast<int64_t>(query.size()) == dim_, "[vector index] expected a query of ", dim_, " values, got ",
          query.size());
  k = std::clamp<int64_t>(k, 0, size_);
  const int64_t wanted = 8 * k + 64;
  if (size_ <= options_.exact_limit || wanted > size_ / 8) return SearchExactly(query, 0, k);
  const std::shared_ptr<const Approximate> approximate = CurrentApproximate();
  if (approximate == nullptr) return SearchExactly(query, 0, k);
  const std::vector<int64_t> candidates = approximate->Candidates(query.data(), wanted);
  if (static_cast<int64_t>(candidates.size()) < k) return SearchExactly(query, 0, k);
  Best best(k);
  for (const int64_t row : candidates) {
    ForEachScore(query, row, row + 1, [&](int64_t number, float score) { best.Offer({IdAt(number), score}); });
  }
  // What was added since the index was built is few and compared row by row.
  for (const VectorHit& hit : SearchExactly(query, approximate->rows(), k)) best.Offer(hit);
  return std::move(best).Sorted();
}

std::vector<float> VectorIndex::SampleScores(std::span<const float> query, int64_t count) const {
  const int64_t stride = std::max<int64_t>(1, (size_ + count - 1) / std::max<int64_t>(1, count));
  std::vector<float> scores;
  for (int64_t row = 0; row < size_; row += stride) {
    ForEachScore(query, row, row + 1, [&](int64_t, float score) { scores.push_back(score); });
  }
  return scores;
}

// The index if it is ready; begins to build one when there is none or the rows have grown by half since.
std::shared_ptr<const VectorIndex::Approximate> VectorIndex::CurrentApproximate() const {
  const std::lock_guard lock(build_mutex_);
  if (building_.valid() && building_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
    std::shared_ptr<const Approximate> built = building_.get();
    cannot_build_ = built == nullptr;
    if (built != nullptr) approximate_ = std::move(built);
  }
  const bool is_due = approximate_ == nullptr || size_ > approximate_->rows() + approximate_->rows() / 2;
  if (is_due && !building_.valid() && !cannot_build_) StartBuilding();
  return approximate_;
}

void VectorIndex::StartBuilding() const {
  std::vector<Approximate::Stretch> stretches;
  for (const std::shared_ptr<Block>& block : blocks_) {
    stretches.push_back({block, block->rows.data(), static_cast<int64_t>(block->ids.size())});
  }
  building_ =
      std::async(std::launch::async, [path = options_.module_path, dim = dim_, stretches = std::move(stretches)] {
        return Approximate::Build(path, dim, stretches);
      });
}

bool VectorIndex::WaitForApproximate() const {
  if (size_ <= options_.exact_limit) return false;
  CurrentApproximate();
  {
    const std::lock_guard lock(build_mutex_);
    if (building_.valid()) building_.wait();
  }
  return CurrentApproximate() != nullptr;
}

}  // namespace fovea::library
