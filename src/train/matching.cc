#include "train/matching.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "ops/loss.h"
#include "ops/shape.h"
#include "train/data/random.h"

namespace fovea::train {
namespace {

// One of the candidates, in proportion to exp(score).
int64_t Draw(std::span<const float> scores, std::span<const bool> is_candidate, Random& random) {
  double largest = -INFINITY;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (is_candidate[i]) largest = std::max<double>(largest, scores[i]);
  }
  std::vector<double> sums(scores.size());
  double sum = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (is_candidate[i]) sum += std::exp(scores[i] - largest);
    sums[i] = sum;
  }
  const double place = random.Uniform() * sum;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (is_candidate[i] && place < sums[i]) return static_cast<int64_t>(i);
  }
  return static_cast<int64_t>(std::find(is_candidate.rbegin(), is_candidate.rend(), true).base() -
                              is_candidate.begin()) -
         1;
}

}  // namespace

HardNegatives SampleHardNegatives(const Tensor& similarities, uint64_t seed, std::span<const int64_t> same) {
  const auto [N, M] = similarities.Dims<2>("similarities");
  Require(N == M && N >= 2 && (same.empty() || static_cast<int64_t>(same.size()) == N),
          "[matching] expected similarities [N,N] of at least 2 pairs, got ", similarities.shape());
  const Tensor values = similarities.Contiguous().To(DType::kF32);
  for (const float value : values.values<float>())
    Require(std::isfinite(value), "[matching] expected finite similarities, got ", value);
  Random random(seed);
  HardNegatives negatives;
  std::vector<float> scores(static_cast<size_t>(N));
  const auto is_candidate = std::make_unique<bool[]>(static_cast<size_t>(N));
  for (const bool is_text : {true, false}) {
    for (int64_t i = 0; i < N; ++i) {
      int64_t candidates = 0;
      for (int64_t j = 0; j < N; ++j) {
        const auto at = static_cast<size_t>(j);
        scores[at] = values.data<float>()[is_text ? i * N + j : j * N + i];
        is_candidate[at] = i != j && (same.empty() || same[static_cast<size_t>(i)] != same[at]);
        candidates += is_candidate[at] ? 1 : 0;
      }
      for (int64_t j = 0; candidates == 0 && j < N; ++j) is_candidate[static_cast<size_t>(j)] = i != j;
      const std::span<const bool> allowed(is_candidate.get(), static_cast<size_t>(N));
      (is_text ? negatives.texts : negatives.images).push_back(Draw(scores, allowed, random));
    }
  }
  return negatives;
}

Tensor MatchingLoss(
    const HardNegatives& negatives,
    const std::function<Tensor(std::span<const int64_t> images, std::span<const int64_t> texts)>& score) {
  const size_t N = negatives.texts.size();
  Require(N > 0 && negatives.images.size() == N, "[matching] expected as many wrong texts as pictures");
  std::vector<int64_t> own(N);
  std::iota(own.begin(), own.end(), 0);
  const Tensor logits =
      Concat({score(own, own), score(own, negatives.texts), score(negatives.images, own)}, 0);  // [3N,2]
  Require(logits.rank() == 2 && logits.dim(0) == static_cast<int64_t>(3 * N) && logits.dim(1) == 2,
          "[matching] expected two scores for each of ", 3 * N, " pairs, got ", logits.shape());
  Tensor labels = Tensor::Zeros({static_cast<int64_t>(3 * N)}, DType::kI64);
  std::fill_n(labels.mutable_data<int64_t>(), N, 1);
  return CrossEntropy(logits, labels);
}

}  // namespace fovea::train
