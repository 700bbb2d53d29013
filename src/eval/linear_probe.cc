// The linear probe: multinomial logistic regression on frozen vectors, by L-BFGS (Nocedal 1980) in double precision
// with a backtracking line search. The problem is convex, so any minimiser gives the same answer; this one needs no
// step size.
#include <algorithm>
#include <cmath>
#include <deque>

#include "base/error.h"
#include "base/parallel.h"
#include "fovea/eval.h"

namespace fovea {
namespace {

using Vector = std::vector<double>;

double Dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// y += a x, which the compiler turns into vector instructions, as it cannot a sum.
void AddScaled(const double* x, double a, int64_t size, double* y) {
  for (int64_t i = 0; i < size; ++i) y[i] += a * x[i];
}

struct Problem {
  const LabelledVectors& data;
  const LinearProbeOptions& options;

  // weights [D+1,V], the last row the biases. Result [N,V].
  Vector Scores(const Vector& weights, const LabelledVectors& vectors) const {
    const int64_t V = options.classes, D = options.dim;
    const auto N = static_cast<int64_t>(vectors.labels.size());
    constexpr int64_t kRows = 8;  // share each row of weights while it is in the cache
    Vector scores(static_cast<size_t>(N * V));
    base::ParallelFor(N, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t first = begin; first < end; first += kRows) {
        const int64_t last = std::min(first + kRows, end);
        for (int64_t n = first; n < last; ++n) std::copy_n(weights.data() + D * V, V, scores.data() + n * V);
        for (int64_t d = 0; d < D; ++d) {
          for (int64_t n = first; n < last; ++n)
            AddScaled(weights.data() + d * V, vectors.values[static_cast<size_t>(n * D + d)], V, scores.data() + n * V);
        }
      }
    });
    return scores;
  }

  // `scores` become the gradient of the losses by them; returns the sum of the losses.
  double LossOfScores(Vector& scores) const {
    const int64_t V = options.classes;
    double loss = 0;
    for (size_t n = 0; n < data.labels.size(); ++n) {
      double* row = scores.data() + static_cast<int64_t>(n) * V;
      const double highest = *std::max_element(row, row + V), own = row[data.labels[n]];
      double sum = 0;
      for (int64_t v = 0; v < V; ++v) sum += row[v] = std::exp(row[v] - highest);
      for (int64_t v = 0; v < V; ++v) row[v] /= sum;
      row[data.labels[n]] -= 1;
      loss += highest + std::log(sum) - own;
    }
    return loss;
  }

  // Sum of the losses plus penalty (biases are free), and its gradient.
  double Loss(const Vector& weights, Vector& gradient) const {
    const int64_t V = options.classes, D = options.dim;
    const auto N = static_cast<int64_t>(data.labels.size());
    constexpr int64_t kRows = 8;
    Vector scores = Scores(weights, data);
    double loss = LossOfScores(scores);
    base::ParallelFor(D + 1, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t first = begin; first < end; first += kRows) {
        const int64_t last = std::min(first + kRows, end);
        for (int64_t d = first; d < last; ++d) {
          const double penalty = d < D ? options.penalty : 0;
          for (int64_t i = d * V; i < (d + 1) * V; ++i)
            gradient[static_cast<size_t>(i)] = penalty * weights[static_cast<size_t>(i)];
        }
        for (int64_t n = 0; n < N; ++n) {
          for (int64_t d = first; d < last; ++d)
            AddScaled(scores.data() + n * V, d < D ? data.values[static_cast<size_t>(n * D + d)] : 1, V,
                      gradient.data() + d * V);
        }
      }
    });
    for (int64_t i = 0; i < D * V; ++i) loss += options.penalty / 2 * std::pow(weights[static_cast<size_t>(i)], 2);
    return loss;
  }
};

struct Pair {
  Vector step, change;
  double curvature;
};

// The gradient times an approximation of the inverse Hessian (two-loop recursion).
Vector Direction(const Vector& gradient, const std::deque<Pair>& memory) {
  Vector q = gradient;
  Vector alphas(memory.size());
  for (size_t i = memory.size(); i-- > 0;) {
    alphas[i] = Dot(memory[i].step, q) / memory[i].curvature;
    for (size_t j = 0; j < q.size(); ++j) q[j] -= alphas[i] * memory[i].change[j];
  }
  if (!memory.empty()) {
    const double scale = memory.back().curvature / Dot(memory.back().change, memory.back().change);
    for (double& value : q) value *= scale;
  }
  for (size_t i = 0; i < memory.size(); ++i) {
    const double beta = Dot(memory[i].change, q) / memory[i].curvature;
    for (size_t j = 0; j < q.size(); ++j) q[j] += (alphas[i] - beta) * memory[i].step[j];
  }
  return q;
}

Vector Minimise(const Problem& problem) {
  constexpr size_t kMemory = 10;
  constexpr double kEnough = 1e-5;  // gradient of the mean loss; scikit-learn stops at 1e-4
  const auto size = static_cast<size_t>(problem.options.classes * (problem.options.dim + 1));
  Vector weights(size), gradient(size), next(size), next_gradient(size);
  double loss = problem.Loss(weights, gradient);
  std::deque<Pair> memory;
  for (int64_t iteration = 0; iteration < problem.options.iterations; ++iteration) {
    const double norm = std::sqrt(Dot(gradient, gradient));
    if (norm < kEnough * static_cast<double>(problem.data.labels.size())) break;
    const Vector direction = Direction(gradient, memory);
    const double slope = Dot(gradient, direction);
    double rate = memory.empty() ? 1.0 / norm : 1.0;
    bool is_lower = false;
    for (int attempt = 0; attempt < 30 && !is_lower; ++attempt, rate /= 2) {
      for (size_t i = 0; i < size; ++i) next[i] = weights[i] - rate * direction[i];
      const double next_loss = problem.Loss(next, next_gradient);
      if (next_loss > loss - 1e-4 * rate * slope) continue;
      is_lower = true;
      Pair pair{.step = Vector(size), .change = Vector(size), .curvature = 0};
      for (size_t i = 0; i < size; ++i) {
        pair.step[i] = next[i] - weights[i];
        pair.change[i] = next_gradient[i] - gradient[i];
      }
      pair.curvature = Dot(pair.step, pair.change);
      if (pair.curvature > 1e-12) memory.push_back(std::move(pair));
      if (memory.size() > kMemory) memory.pop_front();
      weights.swap(next);
      gradient.swap(next_gradient);
      loss = next_loss;
    }
    if (!is_lower) break;
  }
  return weights;
}

}  // namespace

ClassificationReport MeasureLinearProbe(const LabelledVectors& train, const LabelledVectors& test,
                                        const LinearProbeOptions& options) {
  for (const LabelledVectors* part : {&train, &test}) {
    Require(options.dim >= 1 && options.classes >= 1 && !part->labels.empty() &&
                part->values.size() == part->labels.size() * static_cast<size_t>(options.dim),
            "[linear_probe] expected values [N,", options.dim, "] and labels [N] with N above 0, got ",
            part->values.size(), " values and ", part->labels.size(), " labels");
    for (const int64_t label : part->labels)
      Require(label >= 0 && label < options.classes, "[linear_probe] expected labels in [0,", options.classes,
              "), got ", label);
  }
  Require(options.penalty >= 0 && options.iterations >= 1,
          "[linear_probe] expected a penalty of 0 or more and at least one iteration");
  const Problem problem{train, options};
  const Vector scores = problem.Scores(Minimise(problem), test);
  return MeasureClassification(std::vector<float>(scores.begin(), scores.end()), test.labels, options.classes);
}

}  // namespace fovea
