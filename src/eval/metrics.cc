// Measures on numbers that are already there: classification, retrieval, nearest neighbours. No model, no files.
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "fovea/eval.h"

namespace fovea {
namespace {

// Eight sums at once, which the compiler keeps in vector registers. Equal vectors give equal sums wherever they lie,
// which is what ties need.
float Dot(const float* a, const float* b, int64_t dim) {
  constexpr int64_t kLanes = 8;
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < dim; ++i) sums[i % kLanes] += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

RetrievalDirection Summary(std::vector<int64_t> ranks) {
  RetrievalDirection direction{.ranks = ranks};
  std::sort(ranks.begin(), ranks.end());
  const auto share = [&](int64_t k) {
    return static_cast<double>(std::upper_bound(ranks.begin(), ranks.end(), k) - ranks.begin()) /
           static_cast<double>(ranks.size());
  };
  direction.recall_at_1 = share(1);
  direction.recall_at_5 = share(5);
  direction.recall_at_10 = share(10);
  const size_t middle = ranks.size() / 2;
  direction.median_rank = ranks.size() % 2 == 1 ? static_cast<double>(ranks[middle])
                                                : static_cast<double>(ranks[middle - 1] + ranks[middle]) / 2;
  return direction;
}

void CheckVectors(const LabelledVectors& vectors, int64_t dim, int64_t classes, const char* who) {
  Require(dim >= 1 && classes >= 1 && !vectors.labels.empty() &&
              vectors.values.size() == vectors.labels.size() * static_cast<size_t>(dim),
          "[", who, "] expected values [N,", dim, "] and labels [N] with N above 0, got ", vectors.values.size(),
          " values and ", vectors.labels.size(), " labels");
  for (const int64_t label : vectors.labels)
    Require(label >= 0 && label < classes, "[", who, "] expected labels in [0,", classes, "), got ", label);
}

}  // namespace

ClassificationReport MeasureClassification(std::span<const float> scores, std::span<const int64_t> labels,
                                           int64_t classes) {
  CheckVectors({scores, labels}, classes, classes, "measure");
  ClassificationReport report{.n = static_cast<int64_t>(labels.size()), .classes = classes};
  report.confusion.assign(static_cast<size_t>(classes * classes), 0);
  int64_t top1 = 0, top5 = 0;
  for (int64_t n = 0; n < report.n; ++n) {
    const float* row = scores.data() + n * classes;
    const int64_t label = labels[static_cast<size_t>(n)];
    int64_t better = 0, best = 0;
    for (int64_t v = 0; v < classes; ++v) {
      if (row[v] > row[best] || std::isnan(row[best])) best = v;
      // A score that is no number is never right.
      better += row[v] > row[label] || (v < label && row[v] == row[label]) || std::isnan(row[label]) ? 1 : 0;
    }
    top1 += better < 1 ? 1 : 0;
    top5 += better < 5 ? 1 : 0;
    report.ranks.push_back(better + 1);
    ++report.confusion[static_cast<size_t>(label * classes + best)];
  }
  report.top1 = static_cast<double>(top1) / static_cast<double>(report.n);
  report.top5 = static_cast<double>(top5) / static_cast<double>(report.n);
  for (int64_t v = 0; v < classes; ++v) {
    const auto row = report.confusion.begin() + v * classes;
    const int64_t count = std::accumulate(row, row + classes, int64_t{0});
    report.class_recall.push_back(count == 0 ? std::numeric_limits<double>::quiet_NaN()
                                             : static_cast<double>(row[v]) / static_cast<double>(count));
  }
  return report;
}

RetrievalReport MeasureRetrieval(std::span<const float> images, std::span<const float> texts, int64_t dim,
                                 std::span<const int64_t> picture_of_text) {
  const auto M = static_cast<int64_t>(picture_of_text.size());
  Require(dim >= 1 && !images.empty() && images.size() % static_cast<size_t>(dim) == 0 && M >= 1 &&
              texts.size() == picture_of_text.size() * static_cast<size_t>(dim),
          "[measure] expected images [N,", dim, "] and texts [M,", dim, "] with M = ", M, ", got ", images.size(),
          " and ", texts.size(), " values");
  const int64_t N = static_cast<int64_t>(images.size()) / dim;
  std::vector<bool> has_text(static_cast<size_t>(N));
  for (const int64_t picture : picture_of_text) {
    Require(picture >= 0 && picture < N, "[measure] expected pictures in [0,", N, "), got ", picture);
    has_text[static_cast<size_t>(picture)] = true;
  }
  Require(std::ranges::find(has_text, false) == has_text.end(), "[measure] a picture has no text");

  // The score of each text with its own picture, and of each picture with the best of its texts.
  std::vector<float> own(static_cast<size_t>(M)), best(static_cast<size_t>(N), -std::numeric_limits<float>::infinity());
  for (int64_t m = 0; m < M; ++m) {
    const int64_t n = picture_of_text[static_cast<size_t>(m)];
    const float score = own[static_cast<size_t>(m)] = Dot(images.data() + n * dim, texts.data() + m * dim, dim);
    best[static_cast<size_t>(n)] = std::max(best[static_cast<size_t>(n)], score);
  }
  // A rank is 1 + how many others score at least as much; NaN never wins.
  std::vector<int64_t> image_ranks(static_cast<size_t>(N), 1), text_ranks(static_cast<size_t>(M), 1);
  std::mutex mutex;
  base::ParallelFor(N, 16, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> others(static_cast<size_t>(M));
    for (int64_t n = begin; n < end; ++n) {
      int64_t& rank = image_ranks[static_cast<size_t>(n)];
      for (size_t m = 0; m < static_cast<size_t>(M); ++m) {
        if (picture_of_text[m] == n) continue;
        const float score = Dot(images.data() + n * dim, texts.data() + static_cast<int64_t>(m) * dim, dim);
        rank += score < best[static_cast<size_t>(n)] ? 0 : 1;
        others[m] += score < own[m] ? 0 : 1;
      }
    }
    const std::lock_guard lock(mutex);
    for (size_t m = 0; m < others.size(); ++m) text_ranks[m] += others[m];
  });
  return {.images = N,
          .texts = M,
          .image_to_text = Summary(std::move(image_ranks)),
          .text_to_image = Summary(std::move(text_ranks))};
}

ClassificationReport MeasureKnn(const LabelledVectors& train, const LabelledVectors& test, const KnnOptions& options) {
  CheckVectors(train, options.dim, options.classes, "knn");
  CheckVectors(test, options.dim, options.classes, "knn");
  Require(options.k >= 1 && options.temperature > 0, "[knn] expected k of 1 or more and a temperature above 0");
  const auto N = static_cast<int64_t>(train.labels.size()), M = static_cast<int64_t>(test.labels.size());
  const int64_t k = std::min(options.k, N);
  std::vector<float> votes(static_cast<size_t>(M * options.classes));
  base::ParallelFor(M, 8, [&](int64_t begin, int64_t end) {
    std::vector<std::pair<float, int64_t>> found(static_cast<size_t>(N));
    for (int64_t m = begin; m < end; ++m) {
      for (int64_t n = 0; n < N; ++n) {
        found[static_cast<size_t>(n)] = {
            -Dot(test.values.data() + m * options.dim, train.values.data() + n * options.dim, options.dim), n};
      }
      std::partial_sort(found.begin(), found.begin() + k, found.end());
      const float best = -found[0].first;
      for (int64_t i = 0; i < k; ++i) {
        const auto [distance, n] = found[static_cast<size_t>(i)];
        votes[static_cast<size_t>(m * options.classes + train.labels[static_cast<size_t>(n)])] +=
            static_cast<float>(std::exp((-distance - best) / options.temperature));
      }
    }
  });
  return MeasureClassification(votes, test.labels, options.classes);
}

}  // namespace fovea
