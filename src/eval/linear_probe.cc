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

struct Problem {
  const LabelledVectors& data;
  const LinearProbeOptions& options;

  // weights [V,D+1], the last column the bias. Result [N,V].
  Vector Scores(const Vector& weights, const LabelledVectors& vectors) const {
    const int64_t V = options.classes, D = options.dim;
    const auto N = static_cast<int64_t>(vectors.labels.size());
    Vector scores(static_cast<size_t>(N * V));
    base::ParallelFor(N, 8, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const float* x = vectors.values.data() + n * D;
        for (int64_t v = 0; v < V; ++v) {
          const double* w = weights.data() + v * (D + 1);
          double sum = w[D];
          for (int64_t d = 0; d < D; ++d) sum += w[d] * x[d];
          scores[static_cast<size_t>(n * V + v)] = sum;
        }
      }
    });
    return scores;
  }

  // Sum of the losses plus penalty (biases are free), and its gradient.
  double Loss(const Vector& weights, Vector& gradient) const {
    const int64_t V = options.classes, D = options.dim;
    const auto N = static_cast<int64_t>(data.labels.size());
    Vector scores = Scores(weights, data);
    double loss = 0;
    for (int64_t n = 0; n < N; ++n) {
      double* row = scores.data() + n * V;
      const auto label = data.labels[static_cast<size_t>(n)];
      const double highest = *std::max_element(row, row + V), own = row[label];
      double sum = 0;
      for (int64_t v = 0; v < V; ++v) sum += row[v] = std::exp(row[v] - highest);
      for (int64_t v = 0; v < V; ++v) row[v] /= sum;
      row[label] -= 1;
      loss += highest + std::log(sum) - own;
    }
    base::ParallelFor(V, 1, [&](int64_t begin, int64_t end) {
      for (int64_t v = begin; v < end; ++v) {
        double* g = gradient.data() + v * (D + 1);
        for (int64_t d = 0; d < D; ++d) g[d] = options.penalty * weights[static_cast<size_t>(v * (D + 1) + d)];
        g[D] = 0;
        for (int64_t n = 0; n < N; ++n) {
          const double r = scores[static_cast<size_t>(n * V + v)];
          const float* x = data.values.data() + n * D;
          for (int64_t d = 0; d < D; ++d) g[d] += r * x[d];
          g[D] += r;
        }
      }
    });
    for (int64_t v = 0; v < V; ++v) {
      for (int64_t d = 0; d < D; ++d)
        loss += options.penalty / 2 * std::pow(weights[static_cast<size_t>(v * (D + 1) + d)], 2);
    }
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
  const auto size = static_cast<size_t>(problem.options.classes * (problem.options.dim + 1));
  Vector weights(size), gradient(size), next(size), next_gradient(size);
  double loss = problem.Loss(weights, gradient);
  std::deque<Pair> memory;
  for (int64_t iteration = 0; iteration < problem.options.iterations; ++iteration) {
    const double norm = std::sqrt(Dot(gradient, gradient));
    if (norm < 1e-5) break;
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
